package mdev_test

import (
	"context"
	"errors"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vgpukit/vgpukit/mdev"
)

// failingSource knows nothing of one GPU.
type failingSource struct {
	mdev.Source
	of string
}

func (f failingSource) Facts(ctx context.Context, address string) (mdev.Facts, error) {
	if address == f.of {
		return mdev.Facts{}, errors.New("the GPU is lost")
	}
	return f.Source.Facts(ctx, address)
}

// What a source tells is in the inventory; where it fails, that is a problem of that GPU, which
// hides nothing, and what the driver's files say stays.
func TestFactsAreInTheInventory(t *testing.T) {
	sim, _ := simulated(t, "rtx-pro-6000,vfs=4,mig=1g.24gb+gfx:2", "l40s,vfs=2")
	gpus := sim.GPUs()
	host, err := mdev.Open(mdev.Config{FS: sim, Source: sim})
	require.NoError(t, err)
	inv := inventory(t, host)
	assert.Equal(t, "580.65.05", inv.GPUs[0].Facts.Driver)
	require.Len(t, inv.GPUs[0].MIG.Instances, 2)
	assert.True(t, inv.GPUs[0].MIG.SizesKnown())
	assert.Equal(t, "2 of 1g.24gb+gfx", inv.GPUs[0].MIG.Profiles())
	assert.Nil(t, inv.GPUs[1].Facts.MIG)

	host, err = mdev.Open(mdev.Config{FS: sim, Source: failingSource{sim, gpus[0]}})
	require.NoError(t, err)
	inv, err = host.Inventory(t.Context())
	require.NoError(t, err)
	require.Len(t, inv.AllProblems(), 1)
	assert.Contains(t, inv.AllProblems()[0].String(), "the GPU is lost")
	assert.Nil(t, inv.GPUs[0].Facts)
	require.Len(t, inv.GPUs[0].MIG.Instances, 2)
	assert.False(t, inv.GPUs[0].MIG.SizesKnown())
	assert.Equal(t, "2 of a size that is not known", inv.GPUs[0].MIG.Profiles())
	assert.NotNil(t, inv.GPUs[1].Facts)
	created, err := host.Create(t.Context(), mdev.CreateRequest{Type: "NVIDIA RTX Pro 6000 Blackwell DC-1-3Q"})
	require.NoError(t, err)
	assert.Equal(t, inv.GPUs[0].MIG.Instances[0].ID, *created.GPUInstance)
	inv, err = host.Inventory(t.Context())
	require.NoError(t, err)
	assert.Equal(t, []string{created.ID}, inv.GPUs[0].MIG.Instances[0].VGPUs, "what is taken of an instance is told")
}

// A source that does not answer is no longer waited for than anything else.
func TestSourceThatHangs(t *testing.T) {
	sim, _ := simulated(t, "l40s,vfs=2")
	host, err := mdev.Open(mdev.Config{FS: sim, Source: hangingSource{}})
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 0)
	defer cancel()
	_, err = host.Inventory(ctx)
	require.ErrorIs(t, err, context.DeadlineExceeded)
}

type hangingSource struct{}

func (hangingSource) Facts(ctx context.Context, _ string) (mdev.Facts, error) {
	<-ctx.Done()
	return mdev.Facts{}, ctx.Err()
}

// A type is one whatever driver its functions were registered under; other ids are what they are.
func TestSameType(t *testing.T) {
	for _, same := range [][2]string{{"nvidia-575", "vfio-pci-575"}, {"575", "nvidia-575"}, {"pci-575", "575"}, {"mtty-1", "mtty-1"}, {"", ""}} {
		assert.True(t, mdev.SameType(same[0], same[1]), same)
	}
	for _, other := range [][2]string{
		{"nvidia-575", "nvidia-576"},
		{"mtty-1", "nvidia-1"},
		{"mtty-1", "1"},
		{"i915-GVTg_V5_4", "i915-GVTg_V5_8"},
		{"nvidia-", "vfio-pci-"},
		{"mtgpu-2002", "nvidia-2002"},
		{"nvidia-0575", "nvidia-575"},
		{"", "nvidia-1"},
		{"-5", "5"},
	} {
		assert.False(t, mdev.SameType(other[0], other[1]), other)
	}
}

// Every spelling finds the type, and makes it under the one that the virtual function has.
func TestCreateInAnySpelling(t *testing.T) {
	_, host := simulated(t, "a40,vfs=4,vfio-pci-types=2")
	parents := inventory(t, host).GPUs[0].Parents
	for _, parent := range parents {
		for _, spelling := range []string{"575", "nvidia-575", "vfio-pci-575", "NVIDIA A40-24A"} {
			created, err := host.Create(t.Context(), mdev.CreateRequest{Type: spelling, Parent: parent.Name})
			require.NoError(t, err, "%s on %s", spelling, parent.Name)
			assert.True(t, mdev.SameType("nvidia-575", created.Type))
			again, err := host.Create(t.Context(), mdev.CreateRequest{Type: "vfio-pci-575", Parent: parent.Name, UUID: uuid.MustParse(created.ID)})
			require.NoError(t, err)
			assert.True(t, again.Existed)
			require.NoError(t, host.Remove(t.Context(), created.ID))
		}
	}
	assert.NotEqual(t, parents[0].Types[0].ID, parents[3].Types[0].ID, "they are spelled in two ways")
}
