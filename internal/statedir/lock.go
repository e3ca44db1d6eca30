package statedir

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/vgpukit/vgpukit/internal/atomicfile"
	"github.com/vgpukit/vgpukit/internal/fault"
)

// holder is written into a lock file by the process that has the lock, for the
// error message of those that wait for it. The lock itself is flock's: the kernel frees
// it when its owner dies.
type holder struct {
	PID       int       `json:"pid"`
	Operation string    `json:"operation"`
	Since     time.Time `json:"since"`
}

func (h holder) String() string {
	return fmt.Sprintf("process %d has been at %q since %s", h.PID, h.Operation, h.Since.Format(time.RFC3339))
}

// How long a freed lock may go unnoticed; flock has no wait with a deadline.
const (
	pollFirst = time.Millisecond
	// PollMost is the longest.
	PollMost = 50 * time.Millisecond
)

// Lock takes the lock of an object ("vm", "gpu", "vf") and waits for it until ctx
// ends. The returned func gives it back. Another's lock is an error of the kind
// [fault.Busy] that says whose.
func (d *Dir) Lock(ctx context.Context, kind, name, operation string) (unlock func(), err error) {
	path := d.lockPath(kind, name)
	wait := pollFirst
	for {
		unlock, err := d.tryLock(path, operation)
		if err == nil || !errors.Is(err, unix.EWOULDBLOCK) {
			return unlock, d.explain(err)
		}
		select {
		case <-ctx.Done():
			return nil, busy(path, kind, name, ctx.Err())
		case <-time.After(wait):
		}
		wait = min(2*wait, PollMost)
	}
}

// TryLockOf takes the lock of the object whose entry, or temporary file, a path is,
// if it is free.
func (d *Dir) TryLockOf(kind, path, operation string) (unlock func(), ok bool) {
	if atomicfile.IsTemp(filepath.Base(path)) {
		path = atomicfile.Target(path)
	}
	lock := filepath.Join(d.path, locksDir, kind+"-"+strings.TrimSuffix(filepath.Base(path), ".json"))
	unlock, err := d.tryLock(lock, operation)
	return unlock, err == nil
}

// tryLock returns EWOULDBLOCK when another has the lock.
func (d *Dir) tryLock(path, operation string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := lockFile(f, path); err != nil {
		f.Close()
		return nil, err
	}
	line, err := json.Marshal(holder{PID: os.Getpid(), Operation: operation, Since: time.Now().UTC().Truncate(time.Second)})
	if err == nil {
		// The note is a courtesy: a full disk must not keep anybody from working.
		_ = f.Truncate(0)
		_, _ = f.WriteAt(append(line, '\n'), 0)
	}
	return func() { f.Close() }, nil // closing the last descriptor frees the lock
}

// lockFile locks f and makes sure that it is still the file at path: with
// an object its lock file is removed too.
func lockFile(f *os.File, path string) error {
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return err
	}
	locked, err := f.Stat()
	if err != nil {
		return err
	}
	current, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && !os.SameFile(locked, current) {
		return unix.EWOULDBLOCK
	}
	return err
}

// DropLock removes an object's lock file. The caller holds the lock; a process
// that waits for it opens a new file, so that this must be the last act under the lock.
func (d *Dir) DropLock(kind, name string) {
	_ = os.Remove(d.lockPath(kind, name)) // an empty file left behind does no harm
}

func (d *Dir) lockPath(kind, name string) string {
	return filepath.Join(d.path, locksDir, kind+"-"+fileName(name))
}

// busy says who has the lock.
func busy(path, kind, name string, why error) error {
	object := name
	if kind != "vm" {
		object = strings.ToUpper(kind) + " " + name
	}
	e := &fault.Error{
		Op: "lock", Object: object, Kind: fault.Busy, Err: why, Meaning: "another process has the lock " + path,
		Next: "wait until it is done, or ask it to stop; the lock is freed when its process ends",
	}
	var h holder
	if data, err := os.ReadFile(path); err == nil && json.Unmarshal(bytes.TrimSpace(data), &h) == nil && h.PID != 0 {
		e.Meaning = h.String()
	}
	return e
}
