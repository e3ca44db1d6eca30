package statedir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync/atomic"
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
	// FileSystem tells the type of the file system of a path, as statfs(2) does.
	FileSystem func(path string) (int64, error)

	path    string
	reading bool                        // it was opened for reading
	synced  *atomicfile.Files           // counts what Files of the operating system sync
	machine atomic.Pointer[Machine]     // this one, once it is known
	refusal atomic.Pointer[fault.Error] // why it must not be changed
	seen    atomic.Pointer[fs.FileInfo] // the file that says it is this machine's; nil: look again
}

// Open makes the directory with places for entries, where they are missing. It refuses
// one that others than root and this user may write, or exchange for another.
func Open(path string, places ...string) (*Dir, error) {
	d := newDir(path)
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
	l, err := openLane(d.lockPath(), theGate)
	if err != nil {
		return nil, d.explain(err)
	}
	defer l.close()
	if _, err := l.gone(); err != nil {
		return nil, d.explain(err)
	}
	return d, nil
}

// OpenForReading opens the directory for one who may not change it, or does not want to:
// nothing is made, and one that is not there has no entries. Open's trust is asked of it.
func OpenForReading(path string) (*Dir, error) {
	d := newDir(path)
	d.reading = true
	if err := d.trust(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return d, nil
}

func newDir(path string) *Dir {
	synced := new(atomicfile.Files)
	return &Dir{Files: osFiles{synced}, FileSystem: fileSystem, path: path, synced: synced}
}

// Path is where the directory is.
func (d *Dir) Path() string { return d.path }

// Syncs is how many files and directories were synced since the directory was opened.
func (d *Dir) Syncs() int64 { return d.synced.Syncs() }

// Writable is nil if the directory may be changed, or else says why not and what to do:
// it was opened for reading, or [Dir.Bind] found that it is not this machine's alone.
func (d *Dir) Writable() error {
	if d.reading {
		return &fault.Error{
			Op: "state directory", Object: d.path, Kind: fault.Permission, Meaning: "it was opened for reading only",
			Next: "run as the user who owns the state directory " + d.path + ", in an operation that may change it",
		}
	}
	if err := d.refusal.Load(); err != nil {
		return err
	}
	return nil
}

// change does a change, if the directory may be changed.
func (d *Dir) change(do func() error) error {
	if err := d.Writable(); err != nil {
		return err
	}
	return d.explain(do())
}

// list reads a place. One that is missing is empty for those who only read.
func (d *Dir) list(place string) ([]fs.DirEntry, error) {
	files, err := os.ReadDir(filepath.Join(d.path, place))
	if d.reading && errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return files, d.explain(err)
}

// SetAside moves a damaged entry away, so that it is out of the way and can be
// looked at, and returns where it is.
func (d *Dir) SetAside(e *Damaged) (string, error) {
	place := filepath.Base(filepath.Dir(e.Path))
	name := filepath.Base(e.Path)
	name = name[:min(len(name), longName)] // it gets longer, and must be a file's name all the same
	to := filepath.Join(d.path, damagedDir, fmt.Sprintf("%s-%s-%d", place, name, time.Now().UnixNano()))
	return to, d.change(func() error { return d.Files.Rename(e.Path, to) })
}

// Leftovers lists the temporary files of writers that died, in a place.
func (d *Dir) Leftovers(place string) ([]string, error) {
	entries, err := d.list(place)
	if err != nil {
		return nil, err
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
	case errors.As(err, new(*os.LinkError)) && (errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.ENOTSUP)):
		next = "choose a state directory on a file system that has hard links"
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
