package mdev_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vgpukit/vgpukit/mdev"
	"github.com/vgpukit/vgpukit/mdev/mdevtest"
)

// What a virtual function is, is known also to a process that has just begun,
// and asking for it again is no error.
func TestVFThatHasItsType(t *testing.T) {
	sim, host := simulated(t, "l40s,vfs=4")
	vf := inventory(t, host).GPUs[0].Parents[1].Name
	created, err := host.Create(t.Context(), mdev.CreateRequest{Type: "NVIDIA L40S-12Q", Parent: vf})
	require.NoError(t, err)
	assert.Equal(t, vf, created.ID)

	fresh, err := mdev.Open(mdev.Config{FS: sim})
	require.NoError(t, err)
	dev, err := fresh.Device(t.Context(), vf)
	require.NoError(t, err)
	assert.Equal(t, created.Device, dev)
	for _, name := range []string{"NVIDIA L40S-12Q", "1153", "nvidia-1153"} {
		fresh, err := mdev.Open(mdev.Config{FS: sim})
		require.NoError(t, err)
		again, err := fresh.Create(t.Context(), mdev.CreateRequest{Type: name, Parent: vf, Params: []mdev.Param{{Name: "vgpu_params", Value: "enable_uvm=1"}}})
		require.NoError(t, err, name)
		assert.True(t, again.Existed)
		assert.Equal(t, created.Device, again.Device)
	}
	_, err = host.Create(t.Context(), mdev.CreateRequest{Type: "NVIDIA L40S-2Q", Parent: vf})
	require.ErrorIs(t, err, mdev.ErrExists)
	assert.Contains(t, err.Error(), "1153 (NVIDIA L40S-12Q)")

	// Beside it, another size is known and does not fit.
	_, err = host.Create(t.Context(), mdev.CreateRequest{Type: "NVIDIA L40S-2Q"})
	require.ErrorIs(t, err, mdev.ErrNoCapacity)
	_, err = host.Create(t.Context(), mdev.CreateRequest{Type: "NVIDIA L40S-12Q", Parent: inventory(t, host).GPUs[0].Parents[0].Name, UUID: uuid.New()})
	require.ErrorIs(t, err, mdev.ErrInvalid, "a virtual function has no UUID")
}

// On older kernels a device gets its group only from a driver that may not be
// loaded: it is told, and undone.
func TestDeviceThatNeverGetsItsGroup(t *testing.T) {
	sim, host := simulated(t, "mtty")
	before := inventory(t, host)
	finish, err := sim.HalfMake("mtty", "mtty-2", "5b1d8c8e-0a51-4a52-9d3c-5a0c3d9d6a01")
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err = host.Create(ctx, mdev.CreateRequest{Type: "mtty-2", UUID: uuid.MustParse("5b1d8c8e-0a51-4a52-9d3c-5a0c3d9d6a01")})
	require.ErrorIs(t, err, context.DeadlineExceeded, "it is someone else's, and is left alone")
	finish()
	require.NoError(t, host.Remove(t.Context(), "5b1d8c8e-0a51-4a52-9d3c-5a0c3d9d6a01"))
	assert.Equal(t, before, inventory(t, host))
}

// A device that someone removes while it is being made is theirs to remove: the
// error says so.
func TestDeviceThatIsRemovedWhileItIsMade(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim, host := simulated(t, "mtty")
		const id = "5b1d8c8e-0a51-4a52-9d3c-5a0c3d9d6a01"
		removed := make(chan error, 1)
		undo := sim.Fail(mdevtest.Fault{Op: mdevtest.OpWrite, Path: "create", N: 1, After: true, Do: func(mdevtest.Access) error {
			release, err := sim.Use(id, "desk1", 4242)
			if err == nil {
				go func() { removed <- sim.WriteAttr("sys/bus/mdev/devices/"+id+"/remove", []byte("1\n")) }()
				for err == nil {
					_, err = sim.Stat("sys/bus/mdev/devices/" + id)
				}
				time.AfterFunc(time.Second, release)
			}
			return nil
		}})
		defer undo()
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		_, err := host.Create(ctx, mdev.CreateRequest{Type: "mtty-2", UUID: uuid.MustParse(id)})
		require.ErrorIs(t, err, mdev.ErrNotFound, "it is gone when the VM has ended")
		require.NoError(t, <-removed)
		_, err = host.Device(t.Context(), id)
		require.ErrorIs(t, err, mdev.ErrNotFound)
	})
}

// An exclusive request refuses what is there already, also if it is as asked, and
// does not write to it.
func TestExclusiveCreateTouchesNothingOfOthers(t *testing.T) {
	for _, c := range []struct{ board, typ string }{{"tesla-m60", "GRID M60-4Q"}, {"l40s,vfs=2", "NVIDIA L40S-4Q"}} {
		_, host := simulated(t, c.board)
		req := mdev.CreateRequest{Type: c.typ, Parent: inventory(t, host).GPUs[0].Parents[0].Name, Params: []mdev.Param{{Name: "vgpu_params", Value: "enable_uvm=1"}}}
		if c.board == "tesla-m60" {
			req.UUID = uuid.New()
		}
		_, err := host.Create(t.Context(), req)
		require.NoError(t, err)
		before := inventory(t, host)
		req.Exclusive, req.Params[0].Value = true, "enable_uvm=0"
		_, err = host.Create(t.Context(), req)
		require.ErrorIs(t, err, mdev.ErrExists)
		assert.Equal(t, before, inventory(t, host))
		req.Exclusive, req.Params[0].Value = false, "enable_uvm=1"
		again, err := host.Create(t.Context(), req)
		require.NoError(t, err)
		assert.True(t, again.Existed)
	}
}
