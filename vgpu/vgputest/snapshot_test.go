package vgputest_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vgpukit/vgpukit/domain"
)

// TestRevertTransient: a VM without a definition is not reverted to one, and runs on.
func TestRevertTransient(t *testing.T) {
	w := newWorld(t, "mtty")
	_, err := w.libvirt.Define(t.Context(), machineWith("a"))
	require.NoError(t, err)
	require.NoError(t, w.libvirt.Snapshot(t.Context(), "a", "s"))
	require.NoError(t, w.libvirt.Start(t.Context(), "a"))
	require.NoError(t, w.libvirt.Undefine(t.Context(), "a", domain.UndefineOptions{}))
	require.ErrorIs(t, w.libvirt.Revert(t.Context(), "a", "s"), domain.ErrState)
	info, err := w.libvirt.Info(t.Context(), "a")
	require.NoError(t, err)
	assert.Equal(t, domain.StateRunning, info.State)

	require.NoError(t, w.libvirt.Snapshot(t.Context(), "a", "running"))
	require.NoError(t, w.libvirt.Revert(t.Context(), "a", "running"))
	info, err = w.libvirt.Info(t.Context(), "a")
	require.NoError(t, err, "it is known, and has no definition still")
	assert.True(t, info.State.Active() && !info.Persistent)
	require.NoError(t, w.libvirt.Destroy(t.Context(), "a"))
	_, err = w.libvirt.Info(t.Context(), "a")
	require.ErrorIs(t, err, domain.ErrNotFound)
}

// TestSnapshotRefuses: a snapshot has a name that a file can have.
func TestSnapshotRefuses(t *testing.T) {
	w := newWorld(t, "mtty")
	_, err := w.libvirt.Define(t.Context(), machineWith("a"))
	require.NoError(t, err)
	for _, name := range []string{"", "a/b", ".a"} {
		require.ErrorIs(t, w.libvirt.Snapshot(t.Context(), "a", name), domain.ErrInvalid, name)
	}
}
