package mdev_test

import (
	"syscall"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vgpukit/vgpukit/mdev"
	"github.com/vgpukit/vgpukit/mdev/mdevtest"
)

// A virtual function lists only what fits beside what its GPU runs. A name of its
// board that no list has may be a type without room, and the error says so; a
// name that cannot be one is a typo.
func TestTypeThatIsNotListedNow(t *testing.T) {
	const (
		unclear = "already runs 1 of \"NVIDIA L40S-1Q\": it has no room beside that, or there is no such type"
		typo    = "no parent offers such a type"
	)
	for _, test := range []struct {
		typ  string
		kind error
		text string
		next string
	}{
		{"NVIDIA L40S-2Q", mdev.ErrNoCapacity, unclear, "remove a vGPU"},
		{"NVIDIA L40S-48A", mdev.ErrNoCapacity, unclear, "remove a vGPU"},
		{"1148", mdev.ErrNoCapacity, unclear, "remove a vGPU"},
		{"nvidia-1148", mdev.ErrNoCapacity, unclear, "remove a vGPU"},
		{"NVIDIA L40S-1q", mdev.ErrNotFound, typo, "did you mean NVIDIA L40S-1Q?"},
		{"NVIDIA L40S-96Q", mdev.ErrNotFound, typo, "did you mean NVIDIA L40S-1Q?"}, // it has 48 GiB
		{"NVIDIA L40-1Q", mdev.ErrNotFound, typo, "did you mean NVIDIA L40S-1Q?"},
		{"L40S-2Q", mdev.ErrNotFound, typo, ""},
		{"mtty-2", mdev.ErrNotFound, typo, ""},
	} {
		sim, host := simulated(t, "l40s,vfs=4")
		running, err := host.Create(t.Context(), mdev.CreateRequest{Type: "NVIDIA L40S-1Q"})
		require.NoError(t, err)
		for _, parent := range []string{"", "0000:41:00.6"} {
			fresh, err := mdev.Open(mdev.Config{FS: sim}) // it has seen no whole list
			require.NoError(t, err)
			inv := inventory(t, fresh)
			_, err = fresh.Create(t.Context(), mdev.CreateRequest{Type: test.typ, Parent: parent})
			require.ErrorIs(t, err, test.kind, "%s: %v", test.typ, err)
			if parent == "" {
				assert.Contains(t, err.Error(), test.text, test.typ)
			}
			assert.Contains(t, err.(*mdev.Error).Hint(), test.next, test.typ)
			assert.Equal(t, test.kind == mdev.ErrNoCapacity, inv.MayOffer(test.typ), "%s: the inventory says the same", test.typ)
		}
		require.NoError(t, host.Remove(t.Context(), running.ID))
	}
}

// What was seen in a list before, or is listed whole by a GPU of the same board,
// is known for sure.
func TestTypeThatIsKnownThoughNotListed(t *testing.T) {
	sim, host := simulated(t, "l40s,vfs=2", "l40s,vfs=2")
	inventory(t, host)
	for _, gpu := range sim.GPUs() {
		_, err := host.Create(t.Context(), mdev.CreateRequest{Type: "NVIDIA L40S-1Q", Parent: gpu[:len(gpu)-1] + "4"})
		require.NoError(t, err)
	}
	for _, typ := range []string{"NVIDIA L40S-2Q", "1148", "nvidia-1148"} {
		_, err := host.Create(t.Context(), mdev.CreateRequest{Type: typ})
		require.ErrorIs(t, err, mdev.ErrNoCapacity)
		assert.Contains(t, err.Error(), "cannot be made at the moment", typ)
		assert.NotContains(t, err.Error(), "no such type", typ)
	}
	require.NoError(t, host.Remove(t.Context(), "0000:41:00.4"))
	fresh, err := mdev.Open(mdev.Config{FS: sim})
	require.NoError(t, err)
	for _, typ := range []string{"NVIDIA L40S-5Q", "1299"} {
		_, err = fresh.Create(t.Context(), mdev.CreateRequest{Type: typ})
		require.ErrorIs(t, err, mdev.ErrNotFound, "%s: an idle GPU of this board lists all its types", typ)
		assert.False(t, inventory(t, fresh).MayOffer(typ))
	}
	assert.True(t, inventory(t, fresh).MayOffer("NVIDIA L40S-2Q"), "it is listed")
}

// A GPU that is full, or in another MIG mode, lists nothing of what is asked for.
func TestTypeOfAFullGPU(t *testing.T) {
	sim, host := simulated(t, "l40s,vfs=2")
	_, err := host.Create(t.Context(), mdev.CreateRequest{Type: "NVIDIA L40S-48Q"})
	require.NoError(t, err)
	fresh, err := mdev.Open(mdev.Config{FS: sim})
	require.NoError(t, err)
	for _, typ := range []string{"NVIDIA L40S-2Q", "1156"} {
		_, err = fresh.Create(t.Context(), mdev.CreateRequest{Type: typ})
		require.ErrorIs(t, err, mdev.ErrNoCapacity)
		assert.Contains(t, err.Error(), "already runs 1 of type 1156")
	}

	_, host = simulated(t, "a100,vendor-vfio,mig,instance=3g.20gb")
	_, err = host.Create(t.Context(), mdev.CreateRequest{Type: "NVIDIA A100-20C"})
	require.ErrorIs(t, err, mdev.ErrNoCapacity)
	assert.Contains(t, err.Error(), "is in MIG mode")
	_, host = simulated(t, "a100,vendor-vfio")
	_, err = host.Create(t.Context(), mdev.CreateRequest{Type: "NVIDIA A100-3-20C"})
	require.ErrorIs(t, err, mdev.ErrNoCapacity)
	assert.Contains(t, err.Error(), "is not in MIG mode")
}

// A request with a UUID says why the virtual functions that have the type are no
// help, and GPUs without virtual functions are not passed over in silence.
func TestTypeThatOnlyVirtualFunctionsHave(t *testing.T) {
	_, host := simulated(t, "l40s,vfs=2", "tesla-m60")
	_, err := host.Create(t.Context(), mdev.CreateRequest{Type: "NVIDIA L40S-2Q", UUID: uuid.New()})
	require.ErrorIs(t, err, mdev.ErrInvalid)
	assert.Contains(t, err.Error(), "has no UUID")
	assert.Contains(t, err.(*mdev.Error).Hint(), "leave the UUID out")
	_, err = host.Create(t.Context(), mdev.CreateRequest{Type: "GRID M60-9Q", UUID: uuid.New()})
	require.ErrorIs(t, err, mdev.ErrNotFound)
	assert.Contains(t, err.(*mdev.Error).Hint(), "did you mean GRID M60-")

	_, host = simulated(t, "l40s,vfs=0", "tesla-m60")
	_, err = host.Create(t.Context(), mdev.CreateRequest{Type: "NVIDIA L40S-2Q"})
	require.ErrorIs(t, err, mdev.ErrNotFound)
	assert.Contains(t, err.Error(), "0000:41:00.0: its virtual functions are not enabled")
}

// A type that has no room names what the GPUs run.
func TestNoRoomNamesWhatRuns(t *testing.T) {
	_, host := simulated(t, "tesla-m60", "tesla-m60", "tesla-m60")
	for _, gpu := range inventory(t, host).GPUs {
		_, err := host.Create(t.Context(), mdev.CreateRequest{Type: "GRID M60-2Q", Parent: gpu.Name})
		require.NoError(t, err)
	}
	_, err := host.Create(t.Context(), mdev.CreateRequest{Type: "GRID M60-4Q"})
	require.ErrorIs(t, err, mdev.ErrNoCapacity)
	assert.Contains(t, err.Error(), `GPU 0000:05:00.0 already runs 1 of "GRID M60-2Q"; GPU 0000:06:00.0 already runs`)
	assert.Contains(t, err.Error(), "3 more are like that")
}

// Types that cannot be read are not taken for none.
func TestUnreadableTypesAreNotNone(t *testing.T) {
	sim, host := simulated(t, "tesla-m60")
	sim.Fail(mdevtest.Fault{Op: mdevtest.OpReadDir, Path: "mdev_supported_types", Err: syscall.EACCES})
	for _, parent := range []string{"", "0000:05:00.0"} {
		_, err := host.Create(t.Context(), mdev.CreateRequest{Type: "GRID M60-2Q", Parent: parent})
		require.ErrorIs(t, err, mdev.ErrPermission)
		require.NotErrorIs(t, err, mdev.ErrNotFound)
	}
}

// A physical function's name is answered with one that will do.
func TestPhysicalFunctionIsNoParent(t *testing.T) {
	for vfs, next := range map[string]string{"vfs=2": "such as 0000:41:00.4", "vfs=0": "sriov-manage -e 0000:41:00.0"} {
		_, host := simulated(t, "l40s,"+vfs, "mtty")
		_, err := host.Create(t.Context(), mdev.CreateRequest{Type: "NVIDIA L40S-2Q", Parent: "0000:41:00.0"})
		require.ErrorIs(t, err, mdev.ErrNotFound)
		assert.Contains(t, err.Error(), "physical function")
		assert.Contains(t, err.(*mdev.Error).Hint(), next)
	}
}
