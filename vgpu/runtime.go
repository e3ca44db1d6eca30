package vgpu

import (
	"os"
	"path/filepath"
	"strconv"

	"github.com/vgpukit/vgpukit/internal/statedir"
)

// runtimeDirs are where notes of this boot may be, the best first: what the machine forgets
// when it is switched off, what it forgets when the user has logged out, and what it may keep.
// A state directory has one user, whose programs find the same one.
func runtimeDirs() []string {
	dirs := []string{"/run/vgpukit"}
	if dir := os.Getenv("XDG_RUNTIME_DIR"); filepath.IsAbs(dir) {
		dirs = append(dirs, filepath.Join(dir, "vgpukit"))
	}
	return append(dirs, filepath.Join(os.TempDir(), "vgpukit-"+strconv.Itoa(os.Geteuid())))
}

// openNotes opens the notes that belong to a state directory: below runtime, or, if that is
// empty, below the first of the [runtimeDirs] that this user can use.
func openNotes(runtime, state string) (*statedir.Dir, error) {
	if runtime != "" {
		return openNotesIn([]string{runtime}, state)
	}
	return openNotesIn(runtimeDirs(), state)
}

// openNotesIn opens the notes below the first directory that can be used; if none can, the error
// tells of the last.
func openNotesIn(dirs []string, state string) (notes *statedir.Dir, err error) {
	for _, dir := range dirs {
		var path string
		if path, err = statedir.NotesPath(dir, state); err != nil {
			return nil, err
		}
		if notes, err = statedir.Open(path, numbersDir, looksDir); err == nil {
			return notes, nil
		}
	}
	return nil, err
}
