package mdev_test

import (
	"context"
	"path"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vgpukit/vgpukit/mdev"
	"github.com/vgpukit/vgpukit/mdev/mdevtest"
)

// used makes a device that a VM has had open: its driver still cleans up.
func used(t *testing.T, sim *mdevtest.Host, host *mdev.Host) mdev.Created {
	t.Helper()
	created, err := host.Create(t.Context(), mdev.CreateRequest{Type: inventory(t, host).GPUs[0].Capacity[0].Type})
	require.NoError(t, err)
	release, err := sim.Use(created.ID, "desk1", 4242)
	require.NoError(t, err)
	release()
	return created
}

// removeWithin removes within a time that the clock of the test's bubble measures.
func removeWithin(t *testing.T, host *mdev.Host, id string, patience time.Duration) error {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	return host.Remove(ctx, id)
}

// A driver that cleans up for longer than the caller's patience is an error that
// says so and that a caller can retry; the retry waits for what is left.
func TestCleanUpThatOutlastsThePatience(t *testing.T) {
	for _, test := range []struct {
		spec string
		old  bool
	}{{"l40s,vfs=1,clean-up=1m", false}, {"tesla-m60,clean-up=1m", true}, {"tesla-m60,clean-up=1m", false}} {
		synctest.Test(t, func(t *testing.T) {
			sim, host := simulated(t, test.spec)
			if test.old {
				sim.SetKernel(5, 4)
			}
			before := inventory(t, host)
			created := used(t, sim, host)
			for range 2 { // a newer kernel goes on, and the second time has a ghost
				err := removeWithin(t, host, created.ID, 10*time.Second)
				require.ErrorIs(t, err, mdev.ErrInUse)
				require.ErrorIs(t, err, context.DeadlineExceeded)
				assert.Contains(t, err.Error(), "still cleaning up", "%s: nobody has it open", test.spec)
				assert.Contains(t, err.(*mdev.Error).Hint(), "retry")
			}
			start := time.Now()
			require.NoError(t, removeWithin(t, host, created.ID, time.Minute))
			assert.InDelta(t, 40, time.Since(start).Seconds(), 1)
			assert.Equal(t, before, inventory(t, host))
		})
	}
}

// A write that the kernel does not finish because of a VM names the VM.
func TestBlockedRemovalNamesItsHolder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim, host := simulated(t, "mtty")
		created, err := host.Create(t.Context(), mdev.CreateRequest{Type: "mtty-2"})
		require.NoError(t, err)
		release, err := sim.Use(created.ID, "desk1", 4242)
		require.NoError(t, err)
		// A container without /dev/vfio, whose /proc shows the VM a little later.
		sim.Fail(mdevtest.Fault{Op: mdevtest.OpOpen, Err: syscall.ENOENT})
		sim.Fail(mdevtest.Fault{Op: mdevtest.OpReadDir, Path: "proc", N: 1})
		err = removeWithin(t, host, created.ID, time.Second)
		require.ErrorIs(t, err, mdev.ErrInUse)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		assert.Contains(t, err.Error(), `in use by VM "desk1" (pid 4242)`)
		assert.Contains(t, err.(*mdev.Error).Hint(), "stop VM desk1")
		release()
	})
}

// lateCount shows the count of a type's free instances as it was for a while
// after a removal.
type lateCount struct {
	*mdevtest.Host
	stale []byte
	until time.Time
}

func (l *lateCount) ReadFile(name string) ([]byte, error) {
	if path.Base(name) == "available_instances" && time.Now().Before(l.until) {
		return l.stale, nil
	}
	return l.Host.ReadFile(name)
}

// Remove does not return before the instance is back, and says so when it is not
// back in time.
func TestRemoveWaitsForTheInstance(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim, _ := simulated(t, "mtty")
		files := &lateCount{Host: sim, stale: []byte("11\n")}
		host, err := mdev.Open(mdev.Config{FS: files})
		require.NoError(t, err)
		for _, patience := range []time.Duration{time.Minute, 3 * time.Second} {
			created, err := host.Create(t.Context(), mdev.CreateRequest{Type: "mtty-2"})
			require.NoError(t, err)
			start := time.Now()
			files.until = start.Add(20 * time.Second)
			err = removeWithin(t, host, created.ID, patience)
			if patience == time.Minute {
				require.NoError(t, err)
				assert.InDelta(t, 20, time.Since(start).Seconds(), 1)
				continue
			}
			require.ErrorIs(t, err, context.DeadlineExceeded)
			assert.Contains(t, err.Error(), "mtty does not count its instance as free")
			_, err = host.Device(t.Context(), created.ID)
			require.ErrorIs(t, err, mdev.ErrNotFound)
		}
	})
}

// What cannot be counted is not waited for: an unreadable count, and one that
// another's new device changes.
func TestRemoveWaitsForNoCountThatTellsNothing(t *testing.T) {
	for name, fault := range map[string]func(*mdevtest.Host) mdevtest.Fault{
		"unreadable": func(*mdevtest.Host) mdevtest.Fault {
			return mdevtest.Fault{Op: mdevtest.OpRead, Path: "available_instances"}
		},
		"another size": func(sim *mdevtest.Host) mdevtest.Fault {
			return mdevtest.Fault{Op: mdevtest.OpWrite, Path: "remove", After: true, Do: func(mdevtest.Access) error {
				return sim.WriteAttr("sys/class/mdev_bus/0000:41:00.5/mdev_supported_types/nvidia-560/create", []byte("5b1d8c8e-0a51-4a52-9d3c-5a0c3d9d6a01"))
			}}
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			sim, host := simulated(t, "a40,vfs=2")
			created, err := host.Create(t.Context(), mdev.CreateRequest{Type: "NVIDIA A40-2Q", Parent: "0000:41:00.4"})
			require.NoError(t, err)
			sim.Fail(fault(sim))
			start := time.Now()
			require.NoError(t, host.Remove(t.Context(), created.ID), name)
			assert.Less(t, time.Since(start), time.Second, name)
		})
	}
}
