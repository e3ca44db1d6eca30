package mdev_test

import (
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vgpukit/vgpukit/mdev"
)

func TestWatch(t *testing.T) {
	sim, host := simulated(t, "tesla-m60", "l40s,vfs=2")
	changes, err := host.Watch(t.Context())
	require.NoError(t, err)
	first := <-changes
	require.Equal(t, mdev.ChangeScanned, first.Kind)
	require.Equal(t, inventory(t, host), first.Inventory)

	created, err := host.Create(t.Context(), mdev.CreateRequest{Type: "GRID M60-2Q"})
	require.NoError(t, err)
	change := <-changes
	require.Equal(t, mdev.ChangeDeviceAdded, change.Kind)
	assert.Equal(t, created.Device, *change.Device)
	require.NoError(t, host.Remove(t.Context(), created.ID))
	change = <-changes
	require.Equal(t, mdev.ChangeDeviceRemoved, change.Kind)
	assert.Equal(t, created.ID, change.Device.ID)

	// A virtual function that is given a type sends no event.
	vf, err := host.Create(t.Context(), mdev.CreateRequest{Type: "NVIDIA L40S-2Q"})
	require.NoError(t, err)
	change = <-changes
	require.Equal(t, mdev.ChangeDeviceAdded, change.Kind)
	assert.Equal(t, vf.ID, change.Device.ID)

	// Lost events: a scan, and what was missed.
	sim.LoseUevents()
	created, err = host.Create(t.Context(), mdev.CreateRequest{Type: "GRID M60-2Q"})
	require.NoError(t, err)
	kinds := map[mdev.ChangeKind]int{}
	for kinds[mdev.ChangeDeviceAdded] == 0 || kinds[mdev.ChangeScanned] == 0 {
		change := <-changes
		kinds[change.Kind]++
		if change.Device != nil {
			assert.Equal(t, created.ID, change.Device.ID)
		}
	}
	require.NoError(t, sim.Unplug("0000:06:00.0"))
	for change = range changes {
		if change.Kind == mdev.ChangeParentRemoved {
			break
		}
	}
	assert.Equal(t, "0000:06:00.0", change.Parent)
}

// On a root that is not the machine's there are no events, and it is said.
func TestWatchElsewhereIsRefused(t *testing.T) {
	host, err := mdev.Open(mdev.Config{Root: t.TempDir()})
	require.NoError(t, err)
	_, err = host.Watch(t.Context())
	require.ErrorIs(t, err, mdev.ErrUnsupported)
}

func TestProbeOfASimulatedDeviceIsRefused(t *testing.T) {
	_, host := simulated(t, "mtty")
	created, err := host.Create(t.Context(), mdev.CreateRequest{Type: "mtty-2"})
	require.NoError(t, err)
	_, err = host.Probe(t.Context(), created.ID)
	require.ErrorIs(t, err, mdev.ErrUnsupported)
	_, err = host.Probe(t.Context(), uuid.NewString())
	require.ErrorIs(t, err, mdev.ErrNotFound)
}
