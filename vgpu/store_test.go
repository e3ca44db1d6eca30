package vgpu

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestDamagedEntryIsSetAside: Reconcile moves a damaged entry away, says so, and
// goes on with the others; the file is kept.
func TestDamagedEntryIsSetAside(t *testing.T) {
	r := newRig(t, "mtty")
	_, err := r.m.Provision(t.Context(), request("vm", "mtty-1", 1))
	require.NoError(t, err)
	before := r.world()
	require.NoError(t, os.WriteFile(r.m.store.intents.Path("broken"), []byte("{"), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(r.dir, claimsDir, "README"), []byte("hello"), 0o600))
	report, err := r.m.Reconcile(t.Context(), ReconcileOptions{})
	require.NoError(t, err)
	require.Len(t, report.Actions, 2)
	for _, a := range report.Actions {
		assert.Equal(t, ActionSetAside, a.Kind)
		assert.True(t, a.Done)
	}
	kept, err := os.ReadDir(filepath.Join(r.dir, "damaged"))
	require.NoError(t, err)
	assert.Len(t, kept, 2)
	for _, f := range kept {
		require.NoError(t, os.Remove(filepath.Join(r.dir, "damaged", f.Name())))
	}
	assert.Equal(t, before, r.world())
}

// TestTemporaryFilesAreSwept: what a killed writer left goes at Reconcile, unless
// somebody is at work on that VM.
func TestTemporaryFilesAreSwept(t *testing.T) {
	r := newRig(t, "mtty")
	path := r.m.store.intents.Path("vm")
	temp := filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".tmp123")
	require.NoError(t, os.WriteFile(temp, []byte("half"), 0o600))
	unlock, err := r.m.store.dir.Lock(t.Context(), lockOfVM, "vm", "test")
	require.NoError(t, err)
	report, err := r.m.Reconcile(t.Context(), ReconcileOptions{})
	require.NoError(t, err)
	require.Len(t, report.Actions, 1)
	assert.Equal(t, ReportBusy, report.Actions[0].Kind)
	assert.FileExists(t, temp)
	unlock()
	_, err = r.m.Reconcile(t.Context(), ReconcileOptions{})
	require.NoError(t, err)
	assert.NoFileExists(t, temp)
}

// TestUnwritableState: an operation is refused before anything is touched when its
// intent cannot be written.
func TestUnwritableState(t *testing.T) {
	r := newRig(t, "mtty")
	before := r.world()
	require.NoError(t, os.Rename(filepath.Join(r.dir, journalDir), filepath.Join(r.dir, "away")))
	_, err := r.m.Provision(t.Context(), request("vm", "mtty-1", 1))
	require.ErrorIs(t, err, ErrUnavailable)
	var e *Error
	require.ErrorAs(t, err, &e)
	assert.Contains(t, e.Hint(), r.dir)
	require.NoError(t, os.Rename(filepath.Join(r.dir, "away"), filepath.Join(r.dir, journalDir)))
	assert.Equal(t, before, r.world())
}
