package vgpu

import (
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestRuntimeDirs: notes of this boot are in a directory that this user alone may use; what
// XDG_RUNTIME_DIR says counts only if it is a whole path.
func TestRuntimeDirs(t *testing.T) {
	t.Setenv("TMPDIR", "/temp")
	last := "/temp/vgpukit-" + strconv.Itoa(os.Geteuid())
	t.Setenv("XDG_RUNTIME_DIR", "/run/user/7")
	assert.Equal(t, []string{"/run/vgpukit", "/run/user/7/vgpukit", last}, runtimeDirs())
	for _, none := range []string{"", "relative"} {
		t.Setenv("XDG_RUNTIME_DIR", none)
		assert.Equal(t, []string{"/run/vgpukit", last}, runtimeDirs())
	}
}

// TestRuntimeDirGiven: the caller's own directory is the only one, made for this user alone; if
// it cannot be used, that is told.
func TestRuntimeDirGiven(t *testing.T) {
	dir := t.TempDir()
	notes, err := openNotes(filepath.Join(dir, "run"), filepath.Join(dir, "state"))
	require.NoError(t, err)
	assert.Equal(t, filepath.Join(dir, "run"), filepath.Dir(notes.Path()))
	info, err := os.Stat(notes.Path())
	require.NoError(t, err)
	assert.Equal(t, fs.ModeDir|0o700, info.Mode())

	file := filepath.Join(dir, "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	_, err = openNotes(file, filepath.Join(dir, "state"))
	require.ErrorIs(t, err, ErrUnavailable)
}

// TestRuntimeDirFound: the first directory that can be used has the notes; one that others may
// write cannot.
func TestRuntimeDirFound(t *testing.T) {
	dir := t.TempDir()
	file, shared, own := filepath.Join(dir, "file"), filepath.Join(dir, "shared"), filepath.Join(dir, "own")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	require.NoError(t, os.Mkdir(shared, 0o700))
	require.NoError(t, os.Chmod(shared, 0o777))
	notes, err := openNotesIn([]string{file, shared, own, filepath.Join(dir, "last")}, dir)
	require.NoError(t, err)
	assert.Equal(t, own, filepath.Dir(notes.Path()))
	_, err = openNotesIn([]string{file, shared}, dir)
	require.ErrorIs(t, err, ErrPermission)
}

// TestNotesOfAnotherBoot: they are gone, wherever they are kept.
func TestNotesOfAnotherBoot(t *testing.T) {
	r := newRig(t, "mtty")
	vm := r.provisionVM("mtty-1", Reserved)
	r.m = r.manager(Observer{})
	require.True(t, r.m.store.numbers.Has(vm.UUID.String()))
	r.sim.Reboot()
	r.m = r.manager(Observer{})
	assert.False(t, r.m.store.numbers.Has(vm.UUID.String()))
}
