package vgpu

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// holder is written into a lock file by whoever has the lock, for the error
// message of whoever waits for it. The lock itself is flock's: the kernel frees
// it when its owner dies.
type holder struct {
	PID       int       `json:"pid"`
	Operation string    `json:"operation"`
	Since     time.Time `json:"since"`
}

func (h holder) String() string {
	return fmt.Sprintf("process %d has been at %q since %s", h.PID, h.Operation, h.Since.Format(time.RFC3339))
}

// lockPoll bounds how long a freed lock may go unnoticed; flock has no wait with
// a deadline.
const (
	lockPollFirst = time.Millisecond
	lockPollMost  = 50 * time.Millisecond
)

// lock takes the lock of an object ("vm", "gpu") and waits for it until ctx
// ends. The returned func gives it back.
func (s store) lock(ctx context.Context, kind, name, operation string) (func(), error) {
	path := s.lockPath(kind, name)
	wait := lockPollFirst
	for {
		f, err := s.tryLock(path, operation)
		if err == nil {
			return func() { f.Close() }, nil // closing the last descriptor frees the lock
		}
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return nil, s.explain(err)
		}
		select {
		case <-ctx.Done():
			return nil, busy(path, kind, name, ctx.Err())
		case <-time.After(wait):
		}
		wait = min(2*wait, lockPollMost)
	}
}

// tryLock returns EWOULDBLOCK when somebody else has the lock.
func (s store) tryLock(path, operation string) (*os.File, error) {
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
	return f, nil
}

// lockFile locks f and makes sure that it is still the file at path: whoever
// forgets a VM removes its lock file too.
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

// dropLock removes a VM's lock file. The caller holds the lock; whoever waits
// for it opens a new file, so that this must be the last act under the lock.
func (s store) dropLock(vm string) {
	_ = os.Remove(s.lockPath("vm", vm)) // an empty file left behind does no harm
}

func (s store) lockPath(kind, name string) string {
	return filepath.Join(s.dir, locksDir, kind+"-"+fileName(name))
}

// busy says who has the lock.
func busy(path, kind, name string, why error) error {
	who := fmt.Errorf("another process has the lock %s: %w", path, why)
	var h holder
	if data, err := os.ReadFile(path); err == nil && json.Unmarshal(bytes.TrimSpace(data), &h) == nil && h.PID != 0 {
		who = fmt.Errorf("%v: %w", h, why)
	}
	return &Error{
		Op: "lock", Object: kind + " " + name, Kind: ErrBusy, Err: who,
		Next: "wait until it is done, or ask it to stop; the lock is freed when its process ends",
	}
}
