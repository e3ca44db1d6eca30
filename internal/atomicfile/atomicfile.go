// Package atomicfile replaces files so that a reader, and a machine that
// loses power, sees either the old content or the new.
package atomicfile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// Write makes data the content of the file at path, with permissions perm
// whatever the umask is. It writes a temporary file next to it, whose name
// starts with a dot, syncs it, renames it over path, and syncs the directory.
// If it fails before the rename, path is as it was and nothing is left behind.
func Write(path string, data []byte, perm fs.FileMode) error {
	dir := filepath.Dir(path)
	file, err := os.CreateTemp(dir, "."+filepath.Base(path)+tempMark+"*")
	if err != nil {
		return err
	}
	err = errors.Join(fill(file, data, perm), file.Close())
	if err == nil {
		err = os.Rename(file.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(file.Name()))
	}
	return SyncDir(dir)
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
	if err := file.Chmod(perm); err != nil {
		return err
	}
	return file.Sync()
}

// SyncDir makes the entries of a directory durable: renames and removals.
func SyncDir(dir string) error {
	file, err := os.OpenFile(dir, os.O_RDONLY|syscall.O_DIRECTORY, 0)
	if err != nil {
		return err
	}
	return errors.Join(file.Sync(), file.Close())
}
