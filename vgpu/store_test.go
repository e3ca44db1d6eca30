package vgpu

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/google/uuid"
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
	require.NoError(t, os.WriteFile(r.m.store.tasks.Path(uuid.NewString()), []byte("{"), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(r.dir, vmsDir, "README"), []byte("hello"), 0o600))
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
	path := r.m.store.tasks.Path(documentUUID("vm").String())
	temp := filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".tmp123")
	require.NoError(t, os.WriteFile(temp, []byte("half"), 0o600))
	unlock, err := r.m.store.dir.Lock(t.Context(), lockOfVM, documentUUID("vm").String(), "test")
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

// TestOddFilesInState: files of any name and kind in the state directory neither stop an
// operation nor Reconcile: it sets aside what stands among the entries of VMs, and the
// second time there is nothing to do.
func TestOddFilesInState(t *testing.T) {
	r := newRig(t, "l40s,vfs=3")
	r.provisionVM("NVIDIA L40S-4Q", Reserved)
	places := []string{vmsDir, ownersDir, "locks", "damaged", ""}
	for _, place := range places {
		for name, put := range map[string]func(path string) error{
			".tmp":         func(path string) error { return os.WriteFile(path, nil, 0o600) },
			".x.json.tmp1": func(path string) error { return os.MkdirAll(filepath.Join(path, "below"), 0o700) },
			"fifo.json":    func(path string) error { return syscall.Mkfifo(path, 0o666) },
			"loop.json":    func(path string) error { return os.Symlink(path, path) },
			"a\nb.json":    func(path string) error { return os.WriteFile(path, []byte("{}"), 0o600) },
			"dir":          func(path string) error { return os.Mkdir(path, 0o700) },
		} {
			require.NoError(t, put(filepath.Join(r.dir, place, name)))
		}
	}
	endsSoon(t, func() {
		r.m = r.manager(Observer{})
		_, err := r.m.Start(t.Context(), "vm", StartOptions{})
		assert.NoError(t, err)
		_, err = r.m.List(t.Context())
		assert.NoError(t, err)
		report := r.settled()
		assert.Len(t, report.Actions, 2*6)
		for _, a := range report.Actions {
			assert.Equal(t, ActionSetAside, a.Kind)
			assert.True(t, a.Done)
		}
		_, err = r.m.Start(t.Context(), "fifo", StartOptions{})
		assert.ErrorIs(t, err, ErrNotFound)
		assert.NoError(t, r.m.Teardown(t.Context(), "vm", TeardownOptions{Stop: quickStop}))
	})
	for _, place := range []string{"damaged", ""} {
		_, err := os.Lstat(filepath.Join(r.dir, place, "fifo.json"))
		assert.NoError(t, err, "it is nobody's business")
	}
}

// TestSharedState: a state directory that others may write is refused before anything in
// it is believed.
func TestSharedState(t *testing.T) {
	r := newRig(t, "mtty")
	require.NoError(t, os.Chmod(r.dir, 0o777))
	_, err := New(Config{Host: r.host, Hypervisor: r.hyper, StateDir: r.dir})
	require.ErrorIs(t, err, ErrPermission)
	assert.ErrorContains(t, err, r.dir)
	assert.Equal(t, "run `chmod go-w "+r.dir+"`, if you know that nobody else had his hands in it, or choose another state directory", Hint(err))
}

// TestUnwritableState: an operation is refused before anything is touched when its
// intent cannot be written.
func TestUnwritableState(t *testing.T) {
	r := newRig(t, "mtty")
	before := r.world()
	require.NoError(t, os.Rename(filepath.Join(r.dir, vmsDir), filepath.Join(r.dir, "away")))
	_, err := r.m.Provision(t.Context(), request("vm", "mtty-1", 1))
	require.ErrorIs(t, err, ErrUnavailable)
	var e *Error
	require.ErrorAs(t, err, &e)
	assert.Contains(t, e.Hint(), r.dir)
	require.NoError(t, os.Rename(filepath.Join(r.dir, "away"), filepath.Join(r.dir, vmsDir)))
	assert.Equal(t, before, r.world())
}
