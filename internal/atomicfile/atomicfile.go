// Package atomicfile makes and replaces files so that a reader sees either the old
// content or the new, and so does a machine that loses power, where that is asked for.
package atomicfile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
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
	if err := place(path, data, perm, f.sync, os.Rename); err != nil {
		return err
	}
	return f.SyncDir(filepath.Dir(path))
}

// Put is Write without a sync, for what need not outlive a loss of power: after one the
// file may be the old, the new, absent, or empty.
func (f *Files) Put(path string, data []byte, perm fs.FileMode) error {
	return place(path, data, perm, nil, os.Rename)
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
	file, err := os.OpenFile(dir, os.O_RDONLY|syscall.O_DIRECTORY, 0)
	if err != nil {
		return err
	}
	return errors.Join(f.sync(file), file.Close())
}

func (f *Files) sync(file *os.File) error {
	f.syncs.Add(1)
	return file.Sync()
}

// place fills a temporary file next to path and puts it there.
func place(path string, data []byte, perm fs.FileMode, sync func(*os.File) error, put func(temp, path string) error) error {
	file, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+tempMark+"*")
	if err != nil {
		return err
	}
	err = fill(file, data, perm)
	if err == nil && sync != nil {
		err = sync(file)
	}
	err = errors.Join(err, file.Close())
	if err == nil {
		err = put(file.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(file.Name()))
	}
	return nil
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

func fill(file *os.File, data []byte, perm fs.FileMode) error {
	if _, err := file.Write(data); err != nil {
		return err
	}
	return file.Chmod(perm)
}
