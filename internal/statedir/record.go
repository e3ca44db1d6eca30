package statedir

import (
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// recordFile is the log of record; what it held before its last rotation is in the old one.
const (
	recordFile    = "record.log"
	oldRecordFile = "record.log.1"
	mostOfRecord  = 8 << 20
)

// Record appends a line of JSON to the directory's log of record, record.log: who removed
// or moved what. Lines of several processes do not mix, though an empty one may be between
// them, and one that a full disk cut off stays so. It is not synced, and rotated
// when it is large. An error, of a full disk for one, is to be told; what is recorded
// has been done and has not failed.
func (d *Dir) Record(line any) error {
	data, err := json.Marshal(line)
	if err != nil {
		return err
	}
	return d.change(func() error { return d.appendRecord(append(data, '\n')) })
}

func (d *Dir) appendRecord(line []byte) error {
	path := filepath.Join(d.path, recordFile)
	fd, err := openFile(path, unix.O_RDWR|unix.O_APPEND|unix.O_CREAT)
	if err != nil {
		return err
	}
	file := os.NewFile(uintptr(fd), path)
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return &fs.PathError{Op: "append", Path: path, Err: errNotRegular}
	}
	if torn(file, info.Size()) {
		line = append([]byte{'\n'}, line...)
	}
	if _, err := file.Write(line); err != nil {
		return err
	}
	if info.Size() >= mostOfRecord {
		d.rotateRecord(path)
	}
	return nil
}

// torn tells whether a full disk, or a loss of power, has cut off the last line. That
// another process is just writing it looks the same: the line break is then one too many.
func torn(file *os.File, size int64) bool {
	if size == 0 {
		return false
	}
	last := make([]byte, 1)
	n, _ := file.ReadAt(last, size-1)
	return n == 1 && last[0] != '\n'
}

// rotateRecord does so unless somebody else is at it, or has been. Who has the file open
// still writes to it under its new name.
func (d *Dir) rotateRecord(path string) {
	unlock, ok := d.tryLock(lockKey("state", "record"), "rotate the log of record")
	if !ok {
		return
	}
	defer unlock()
	if info, err := os.Lstat(path); err == nil && info.Size() >= mostOfRecord {
		_ = os.Rename(path, filepath.Join(d.path, oldRecordFile)) // it only grows on
	}
}
