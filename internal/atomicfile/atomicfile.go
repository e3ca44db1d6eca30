// Package atomicfile makes and replaces files so that a reader sees either the old
// content or the new, and so does a machine that loses power, where that is asked for.
package atomicfile

import (
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// Write makes data the content of the file at path: see [Files.Write].
func Write(path string, data []byte, perm fs.FileMode) error {
	return new(Files).Write(path, data, perm)
}

// Files writes files and counts its syncs. The zero value is ready, and safe for
// concurrent use.
type Files struct{ syncs atomic.Int64 }

// Syncs is how many files and directories were synced.
func (f *Files) Syncs() int64 { return f.syncs.Load() }

// Write makes data the content of the file at path, with permissions perm
// whatever the umask is. It writes a temporary file next to it, whose name
// starts with a dot, syncs it, renames it over path, and syncs the directory.
// If it fails before the rename, path is as it was and nothing is left behind.
func (f *Files) Write(path string, data []byte, perm fs.FileMode) error {
	if err := place(path, data, perm, f.sync, rename); err != nil {
		return err
	}
	return f.SyncDir(filepath.Dir(path))
}

// Put is Write without a sync, for what need not outlive a loss of power: after one the
// file may be the old, the new, absent, or empty.
func (f *Files) Put(path string, data []byte, perm fs.FileMode) error {
	return place(path, data, perm, nil, rename)
}

// Create is Put for a path at which nothing stands: whatever does is left alone, and
// the error is [fs.ErrExist]. Of several that create one path at once, one does.
func (f *Files) Create(path string, data []byte, perm fs.FileMode) error {
	return place(path, data, perm, nil, func(temp, path string) error {
		if err := os.Link(temp, path); err != nil {
			return err
		}
		_ = os.Remove(temp) // it is only another name by now, and taken away as a leftover
		return nil
	})
}

// SyncDir makes the entries of a directory durable: renames and removals.
func (f *Files) SyncDir(dir string) error {
	fd, err := open(dir, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return err
	}
	return errors.Join(f.sync(fd, dir), unix.Close(fd))
}

func (f *Files) sync(fd int, path string) error {
	f.syncs.Add(1)
	return failed("sync", path, again(func() error { return unix.Fsync(fd) }))
}

// place fills a temporary file next to path and puts it there.
func place(path string, data []byte, perm fs.FileMode, sync func(fd int, path string) error, put func(temp, path string) error) error {
	fd, temp, err := create(path)
	if err != nil {
		return err
	}
	err = fill(fd, temp, data, perm)
	if err == nil && sync != nil {
		err = sync(fd, temp)
	}
	err = errors.Join(err, failed("close", temp, unix.Close(fd)))
	if err == nil {
		err = put(temp, path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(temp))
	}
	return nil
}

// create makes the temporary file for path. It is open for the system's calls only: an
// [os.File] would ask the kernel four times more whether it can be waited for.
func create(path string) (fd int, temp string, err error) {
	for {
		temp = filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+tempMark+strconv.FormatUint(uint64(rand.Uint32()), 10))
		fd, err = open(temp, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL, 0o600)
		if !errors.Is(err, fs.ErrExist) {
			return fd, temp, err
		}
	}
}

func fill(fd int, path string, data []byte, perm fs.FileMode) error {
	for len(data) > 0 {
		var n int
		err := again(func() (err error) { n, err = unix.Write(fd, data); return err })
		if err != nil {
			return failed("write", path, err)
		}
		data = data[n:]
	}
	return failed("chmod", path, again(func() error { return unix.Fchmod(fd, uint32(perm.Perm())) }))
}

func rename(from, to string) error {
	if err := again(func() error { return unix.Rename(from, to) }); err != nil {
		return &os.LinkError{Op: "rename", Old: from, New: to, Err: err}
	}
	return nil
}

func open(path string, flags int, perm uint32) (fd int, err error) {
	err = again(func() (err error) { fd, err = unix.Open(path, flags|unix.O_CLOEXEC, perm); return err })
	return fd, failed("open", path, err)
}

// again repeats a call that a signal kept from being done.
func again(call func() error) error {
	for {
		if err := call(); err != unix.EINTR {
			return err
		}
	}
}

func failed(op, path string, err error) error {
	if err == nil {
		return nil
	}
	return &fs.PathError{Op: op, Path: path, Err: err}
}

// tempMark is in the name of every temporary file, between the target's name
// and a random number.
const tempMark = ".tmp"

// Target returns the path that a temporary file of Write was to replace, which a
// writer that was killed leaves behind. ok is false for any other path.
func Target(path string) (target string, ok bool) {
	dir, name := filepath.Split(path)
	name, hidden := strings.CutPrefix(name, ".")
	mark := strings.LastIndex(name, tempMark)
	if !hidden || mark <= 0 {
		return "", false
	}
	if number := name[mark+len(tempMark):]; number == "" || strings.Trim(number, "0123456789") != "" {
		return "", false
	}
	return dir + name[:mark], true
}
