package statedir

import (
	"context"
	"path/filepath"
	"strings"
	"sync"

	"github.com/vgpukit/vgpukit/internal/atomicfile"
	"github.com/vgpukit/vgpukit/internal/fault"
)

// lockFile is the file of all locks; see [lane].
const lockFile = "lock"

// Lock takes the lock of an object ("vm", "gpu", "vf") and waits for it until ctx
// ends; who comes first is served first. The returned func gives it back; calling that
// again does nothing. Another's lock is an error of the kind [fault.Busy] that says
// whose.
func (d *Dir) Lock(ctx context.Context, kind, name, operation string) (unlock func(), err error) {
	key := lockKey(kind, fileName(name))
	for {
		if err := d.Writable(); err != nil {
			return nil, err
		}
		l, err := openLane(d.lockPath(), key)
		if err != nil {
			return nil, d.explain(err)
		}
		if err := l.turn(ctx); err != nil {
			l.close()
			if err == ctx.Err() {
				return nil, d.busy(key, kind, name, err)
			}
			return nil, d.explain(err)
		}
		unlock, err := d.hold(l, key, operation)
		if unlock != nil || err != nil {
			return unlock, err
		}
	}
}

// TryLockOf takes the lock of the object whose entry, or temporary file, a path is,
// if it is free and nobody waits for it.
func (d *Dir) TryLockOf(kind, path, operation string) (unlock func(), ok bool) {
	if target, temp := atomicfile.Target(path); temp {
		path = target
	}
	return d.tryLock(lockKey(kind, strings.TrimSuffix(filepath.Base(path), filepath.Ext(path))), operation)
}

func (d *Dir) tryLock(key, operation string) (unlock func(), ok bool) {
	if d.Writable() != nil {
		return nil, false
	}
	l, err := openLane(d.lockPath(), key)
	if err != nil {
		return nil, false
	}
	shared, err := l.share()
	if err == nil && shared {
		shared, err = l.enter()
	}
	if err != nil || !shared {
		l.close()
		return nil, false
	}
	unlock, err = d.hold(l, key, operation)
	return unlock, err == nil && unlock != nil
}

// hold makes a lane that was entered a lock that is held, unless the directory is another
// machine's by now. It returns nil if the lock file was removed meanwhile.
func (d *Dir) hold(l *lane, key, operation string) (unlock func(), err error) {
	gone, err := l.gone()
	l.removed = gone
	if err != nil {
		err = d.explain(err)
	} else if !gone {
		err = d.still()
	}
	if err != nil || gone {
		l.close()
		return nil, err
	}
	withdraw := noteSoon(d.notePath(key), operation)
	return sync.OnceFunc(func() {
		withdraw()
		l.close()
		sameProcess.freed(l.lock)
	}), nil
}

func (d *Dir) lockPath() string { return filepath.Join(d.path, lockFile) }

func (d *Dir) notePath(key string) string { return filepath.Join(d.path, locksDir, key) }

// lockKey is a lock's name, and its note's.
func lockKey(kind, file string) string { return kind + "-" + file }

// busy says who has the lock.
func (d *Dir) busy(key, kind, name string, why error) error {
	object := name
	if kind != "vm" {
		object = strings.ToUpper(kind) + " " + name
	}
	e := &fault.Error{
		Op: "lock", Object: object, Kind: fault.Busy, Err: why, Meaning: "another process has the lock " + d.notePath(key),
		Next: "wait until it is done, or ask it to stop; the lock is freed when its process ends",
	}
	if h, ok := readNote(d.notePath(key)); ok {
		e.Meaning = h.String()
	}
	return e
}
