package mdev_test

import (
	"context"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vgpukit/vgpukit/mdev"
	"github.com/vgpukit/vgpukit/mdev/mdevtest"
)

// Boards whose devices are mediated ones, and those of each framework.
var (
	mediated = []string{"mtty", "tesla-m60", "a40,vfs=2"}
	each     = append([]string{"l40s,vfs=2"}, mediated...)
)

// withoutGroups has a device of each of these boards on a kernel without VFIO groups.
func withoutGroups(t *testing.T, specs []string, do func(t *testing.T, sim *mdevtest.Host, host *mdev.Host, dev mdev.Device)) {
	for _, spec := range specs {
		t.Run(spec, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sim, host := simulated(t, spec)
				sim.SetVFIOGroups(false)
				sim.Reboot()
				inv := inventory(t, host)
				created, err := host.Create(t.Context(), mdev.CreateRequest{Type: inv.GPUs[0].Capacity[0].Type})
				require.NoError(t, err)
				do(t, sim, host, created.Device)
			})
		})
	}
}

// noRemoval fails the test when anybody writes what removes a device.
func noRemoval(t *testing.T, sim *mdevtest.Host) (undo func()) {
	return sim.Fail(mdevtest.Fault{Op: mdevtest.OpWrite, Do: func(a mdevtest.Access) error {
		t.Errorf("%q was written to %s", a.Data, a.Name)
		return nil
	}})
}

// Without groups a device is ready by its own node; it is removed while nobody has it, and
// leaves nothing.
func TestDevicesWithoutGroups(t *testing.T) {
	withoutGroups(t, each, func(t *testing.T, sim *mdevtest.Host, host *mdev.Host, dev mdev.Device) {
		assert.Equal(t, mdev.StateReady, dev.State)
		assert.Empty(t, dev.Problems)
		assert.Empty(t, dev.VFIONode)
		assert.Contains(t, dev.VFIOCdev, "/dev/vfio/devices/vfio")
		_, err := sim.Stat("dev/vfio/0")
		require.ErrorIs(t, err, syscall.ENOENT)
		require.NoError(t, host.Remove(t.Context(), dev.ID))
		assert.Empty(t, sim.Devices())
	})
}

// A device in use is refused at once, with the VM's name, and nothing is written. That
// holds without a look at the processes too.
func TestRemoveWithoutGroupsRefusesADeviceInUse(t *testing.T) {
	withoutGroups(t, each, func(t *testing.T, sim *mdevtest.Host, host *mdev.Host, dev mdev.Device) {
		release, err := sim.Use(dev.ID, "win10", 4711)
		require.NoError(t, err)
		undo := noRemoval(t, sim)
		start := time.Now()
		err = host.Remove(t.Context(), dev.ID)
		require.ErrorIs(t, err, mdev.ErrInUse)
		assert.Contains(t, err.Error(), `VM "win10" (pid 4711)`)
		assert.Zero(t, time.Since(start))
		seen, err := host.Device(t.Context(), dev.ID)
		require.NoError(t, err)
		assert.Equal(t, "win10", seen.Holder.VM)

		unseen := sim.Fail(mdevtest.Fault{Path: "proc", Err: syscall.EACCES})
		err = host.Remove(t.Context(), dev.ID)
		require.ErrorIs(t, err, mdev.ErrInUse)
		require.ErrorIs(t, err, syscall.EINVAL, "as the device itself says")
		unseen()

		bare, err := mdev.Open(mdev.Config{FS: struct{ mdev.FS }{sim}})
		require.NoError(t, err)
		require.ErrorIs(t, bare.Remove(t.Context(), dev.ID), mdev.ErrInUse, "an FS that cannot ask the device looks at the processes")
		undo()
		release()
		require.NoError(t, host.Remove(t.Context(), dev.ID))
	})
}

// A VM that opens the device in the moment between the look and the write is named.
func TestRemoveWithoutGroupsCanLoseARace(t *testing.T) {
	withoutGroups(t, each, func(t *testing.T, sim *mdevtest.Host, host *mdev.Host, dev mdev.Device) {
		var release func()
		sim.Fail(mdevtest.Fault{Op: mdevtest.OpWrite, N: 1, Do: func(mdevtest.Access) error {
			var err error
			release, err = sim.Use(dev.ID, "win10", 4711)
			assert.NoError(t, err)
			return nil
		}})
		ctx, cancel := context.WithTimeout(t.Context(), allowed)
		defer cancel()
		err := host.Remove(ctx, dev.ID)
		require.ErrorIs(t, err, mdev.ErrInUse)
		assert.Contains(t, err.Error(), `VM "win10" (pid 4711)`)
		release()
		synctest.Wait()
		if dev.Framework == mdev.FrameworkVendorVFIO {
			require.NoError(t, host.Remove(t.Context(), dev.ID), "its driver refused")
		}
		assert.Empty(t, sim.Devices(), "the kernel has finished the removal")
	})
}

// Whoever only has a device's node open is no VM, and is waited for.
func TestRemoveWithoutGroupsWaitsForAnOpenNode(t *testing.T) {
	withoutGroups(t, mediated, func(t *testing.T, sim *mdevtest.Host, host *mdev.Host, dev mdev.Device) {
		node, err := sim.OpenNode(dev.VFIOCdev[1:])
		require.NoError(t, err)
		start := time.Now()
		time.AfterFunc(time.Second, func() { _ = node.Close() })
		require.NoError(t, host.Remove(t.Context(), dev.ID))
		assert.GreaterOrEqual(t, time.Since(start), time.Second)
		assert.Empty(t, sim.Devices())
	})
}

// Groups come back with a kernel that has them.
func TestGroupsComeBack(t *testing.T) {
	withoutGroups(t, each, func(t *testing.T, sim *mdevtest.Host, host *mdev.Host, dev mdev.Device) {
		_, ok := sim.Group(dev.ID)
		assert.False(t, ok)
		sim.SetVFIOGroups(true)
		sim.Reboot()
		created, err := host.Create(t.Context(), mdev.CreateRequest{Type: dev.Type})
		require.NoError(t, err)
		assert.NotEmpty(t, created.VFIONode)
		assert.Empty(t, created.VFIOCdev)
		require.NoError(t, host.Remove(t.Context(), created.ID))
	})
}
