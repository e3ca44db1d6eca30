package statedir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/vgpukit/vgpukit/internal/atomicfile"
	"github.com/vgpukit/vgpukit/internal/fault"
)

const (
	damagedDir = "damaged" // entries that could not be read, set aside
	locksDir   = "locks"
)

// Dir is the directory, of mode 0700; its files have 0600. No link in it is followed, and
// nothing in it that is no regular file is opened for long. It is safe for concurrent
// use as long as an entry is changed under its lock.
type Dir struct {
	// Files does the changes of entries.
	Files Files

	path string
}

// Files changes files so that a loss of power leaves the old or the new.
type Files interface {
	Write(path string, data []byte) error
	Rename(from, to string) error
	Remove(path string) error
}

// Open makes the directory with places for entries, where they are missing. It refuses
// one that others than root and this user may write, or exchange for another.
func Open(path string, places ...string) (*Dir, error) {
	d := &Dir{Files: osFiles{}, path: path}
	if err := d.trust(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for _, place := range append(places, damagedDir, locksDir) {
		place = filepath.Join(path, place)
		if err := os.MkdirAll(place, 0o700); err != nil {
			return nil, d.explain(err)
		}
		if err := d.trust(place); err != nil {
			return nil, err
		}
	}
	// A lock must be had when there is no room for its file any more.
	l, err := openLane(d.lockPath(), "")
	if err != nil {
		return nil, d.explain(err)
	}
	defer l.close()
	if _, err := l.gone(); err != nil {
		return nil, d.explain(err)
	}
	return d, nil
}

// Path is where the directory is.
func (d *Dir) Path() string { return d.path }

// osFiles are the operating system's.
type osFiles struct{}

func (osFiles) Write(path string, data []byte) error { return atomicfile.Write(path, data, 0o600) }

func (osFiles) Rename(from, to string) error {
	if err := os.Rename(from, to); err != nil {
		return err
	}
	return errors.Join(atomicfile.SyncDir(filepath.Dir(to)), atomicfile.SyncDir(filepath.Dir(from)))
}

// Remove does not sync the directory: see [Dir.remove].
func (osFiles) Remove(path string) error { return os.Remove(path) }

// remove removes files; those that are not there are no error. The directories are
// synced last: whichever removals a loss of power undoes are done again by the
// next clean-up.
func (d *Dir) remove(paths ...string) error {
	var removed []string
	for _, path := range paths {
		if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err := d.Files.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return d.explain(err)
		}
		removed = append(removed, filepath.Dir(path))
	}
	var failures []error
	for _, dir := range removed {
		failures = append(failures, atomicfile.SyncDir(dir))
	}
	return d.explain(fault.Join(failures...))
}

// SetAside moves a damaged entry away, so that it is out of the way and can be
// looked at, and returns where it is.
func (d *Dir) SetAside(e *Damaged) (string, error) {
	place := filepath.Base(filepath.Dir(e.Path))
	name := filepath.Base(e.Path)
	name = name[:min(len(name), longName)] // it gets longer, and must be a file's name all the same
	to := filepath.Join(d.path, damagedDir, fmt.Sprintf("%s-%s-%d", place, name, time.Now().UnixNano()))
	return to, d.explain(d.Files.Rename(e.Path, to))
}

// Leftovers lists the temporary files of writers that died, in a place.
func (d *Dir) Leftovers(place string) ([]string, error) {
	entries, err := os.ReadDir(filepath.Join(d.path, place))
	if err != nil {
		return nil, d.explain(err)
	}
	var paths []string
	for _, entry := range entries {
		if isTemp(entry) {
			paths = append(paths, filepath.Join(d.path, place, entry.Name()))
		}
	}
	return paths, nil
}

// isTemp tells of what is in a place whether it is a temporary file of a writer.
func isTemp(entry fs.DirEntry) bool {
	_, ok := atomicfile.Target(entry.Name())
	return ok && entry.Type().IsRegular()
}

// Damaged is an entry that is not whole.
type Damaged struct {
	Path string
	Err  error // why
}

func (e *Damaged) Error() string { return e.Path + ": " + e.Err.Error() }
func (e *Damaged) Unwrap() error { return e.Err }

// explain adds to an error of the directory what to do about it.
func (d *Dir) explain(err error) error {
	if err == nil {
		return nil
	}
	next := "see that the state directory " + d.path + " can be written by this user"
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		next = "make room on the file system of the state directory " + d.path
	case errors.Is(err, syscall.EROFS):
		next = "the state directory " + d.path + " is on a read-only file system: choose another, or mount it writable"
	case errors.Is(err, errNotRegular):
		next = "move away what is not this program's in the state directory " + d.path
	case errors.Is(err, fs.ErrPermission):
		next = "run as the user who owns the state directory " + d.path + ", or choose another"
	}
	return &fault.Error{Op: "state directory", Kind: fault.Unavailable, Err: err, Next: next}
}

// Unwritable tells of an error that a file of the directory could not be written for want
// of space or because of its disk. What only frees things can do without.
func Unwritable(err error) bool {
	for _, errno := range []error{syscall.ENOSPC, syscall.EDQUOT, syscall.EROFS, syscall.EIO} {
		if errors.Is(err, errno) {
			return true
		}
	}
	return false
}
