package statedir

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/vgpukit/vgpukit/internal/atomicfile"
)

// Files changes files so that whoever reads them sees the old or the new.
type Files interface {
	// Write makes or replaces a file; so that a loss of power leaves the old or the new,
	// it syncs the file and its directory.
	Write(path string, data []byte) error
	// Put makes or replaces a file, without a sync.
	Put(path string, data []byte) error
	// Create makes a file where nothing stands, without a sync; else it is [fs.ErrExist].
	Create(path string, data []byte) error
	// Rename syncs the directories.
	Rename(from, to string) error
	// Remove does not sync.
	Remove(path string) error
}

// osFiles are the operating system's.
type osFiles struct{ *atomicfile.Files }

func (f osFiles) Write(path string, data []byte) error { return f.Files.Write(path, data, 0o600) }

func (f osFiles) Put(path string, data []byte) error { return f.Files.Put(path, data, 0o600) }

func (f osFiles) Create(path string, data []byte) error { return f.Files.Create(path, data, 0o600) }

func (f osFiles) Rename(from, to string) error {
	if err := os.Rename(from, to); err != nil {
		return err
	}
	err := f.SyncDir(filepath.Dir(to))
	if filepath.Dir(from) == filepath.Dir(to) {
		return err
	}
	return errors.Join(err, f.SyncDir(filepath.Dir(from)))
}

func (osFiles) Remove(path string) error { return os.Remove(path) }

// unlink removes files; those that are not there are no error. It returns the
// directories that had any.
func (d *Dir) unlink(paths ...string) (dirs []string, err error) {
	for _, path := range paths {
		if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err := d.Files.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return dirs, err
		}
		if dir := filepath.Dir(path); !slices.Contains(dirs, dir) {
			dirs = append(dirs, dir)
		}
	}
	return dirs, nil
}

// remove removes files and syncs. The directories are synced last: whichever removals a
// loss of power undoes are done again by the next clean-up.
func (d *Dir) remove(paths ...string) error {
	dirs, err := d.unlink(paths...)
	if err != nil {
		return err
	}
	var failures []error
	for _, dir := range dirs {
		failures = append(failures, d.synced.SyncDir(dir))
	}
	return errors.Join(failures...)
}
