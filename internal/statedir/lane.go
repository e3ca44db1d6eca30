package statedir

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"io/fs"

	"golang.org/x/sys/unix"
)

// Each lock has a lane of bytes in the lock file, at a place by its name's checksum.
// The lane's first byte is the door: whoever has locked it has the lock. The others are
// tickets: whoever waits has locked one, behind all that were taken before. The
// kernel frees both when their owner dies.
//
// These are locks of an open file, so that goroutines exclude each other as processes
// do. The file stays empty: it lends only the numbers of its bytes.
const (
	laneBits    = 23
	laneSize    = 1 << laneBits
	door        = 0
	firstTicket = 1
)

// theGate is the lane whose door all who have or want a lock have locked together, and who
// changes whose directory it is has alone. No lock's name is empty.
const theGate = ""

// lane is a lock as one caller has it open.
type lane struct {
	fd       int
	path     string // of the lock file
	lock     string // which it is, for those of this process
	start    int64  // in the file
	ticket   int64  // 0: none
	readOnly bool   // the file system is: there are no tickets
	removed  bool   // the lock file was
	lender   *gate  // fd is its, and so the same file; nil: nobody's
	gate     *gate  // nil: not gone through yet
}

// laneOf is where a lock's lane begins.
func laneOf(key string) int64 {
	sum := sha256.Sum256([]byte(key))
	return int64(binary.BigEndian.Uint64(sum[:])>>(laneBits+1)) << laneBits
}

func openLane(path, key string) (*lane, error) {
	if fd, lender := idleFile(path); lender != nil {
		l := newLane(path, key)
		l.fd, l.lender = fd, lender
		return l, nil
	}
	return openNewLane(path, key)
}

// openNewLane opens the lock file for a lane.
func openNewLane(path, key string) (*lane, error) {
	l := newLane(path, key)
	var err error
	l.fd, err = openFile(path, unix.O_RDWR|unix.O_CREAT)
	if errors.Is(err, unix.EROFS) {
		l.readOnly = true
		l.fd, err = openFile(path, unix.O_RDONLY)
	}
	return l, err
}

func newLane(path, key string) *lane {
	return &lane{path: path, lock: path + " " + key, start: laneOf(key)}
}

// close gives back whatever the caller has of the lane. A child that is just being
// started may have the file open a moment longer, so that closing alone would not do.
func (l *lane) close() {
	_, err := l.fcntl(unix.F_OFD_SETLK, unix.F_UNLCK, 0, laneSize)
	if err != nil || l.removed || l.readOnly || l.gate == nil || !l.gate.keep(l.fd) {
		_ = unix.Close(l.fd)
	}
	if l.gate != nil {
		l.gate.leave()
	}
}

// gone tells whether the lock file was removed from under the caller, so that others
// do not see his locks.
func (l *lane) gone() (bool, error) {
	if l.gate != nil && l.gate == l.lender {
		return l.gate.gone()
	}
	var stat unix.Stat_t
	if err := unix.Fstat(l.fd, &stat); err != nil {
		return false, err
	}
	if stat.Mode&unix.S_IFMT != unix.S_IFREG {
		return false, &fs.PathError{Op: "open", Path: lockFile, Err: errNotRegular}
	}
	if stat.Nlink > 0 && l.gate != nil {
		return l.gate.gone()
	}
	return stat.Nlink == 0, nil
}

// share goes through the gate together with others, unless somebody has it alone.
func (l *lane) share() (ok bool, err error) {
	l.gate, err = shareGate(l.path)
	return l.gate != nil, err
}

// turn goes through the gate and takes the lock when it is free and this one's turn, unless
// ctx ends before.
func (l *lane) turn(ctx context.Context) error {
	if err := until(ctx, l.share); err != nil {
		return err
	}
	entered, err := l.enter()
	if err != nil || entered {
		return err
	}
	return l.wait(ctx)
}

// enter takes the lock if nobody has it and nobody waits for it.
func (l *lane) enter() (bool, error) {
	if _, waits, err := l.held(firstTicket, laneSize); err != nil || waits {
		return false, err
	}
	return l.pass()
}

// pass takes the lock if nobody has it.
func (l *lane) pass() (bool, error) {
	if !l.readOnly {
		return l.take(unix.F_WRLCK, door)
	}
	// Only a shared lock can be had: of two that have it neither has found itself alone.
	ok, err := l.take(unix.F_RDLCK, door)
	if err != nil || !ok {
		return false, err
	}
	_, other, err := l.held(door, firstTicket)
	if err == nil && !other {
		return true, nil
	}
	_, undo := l.fcntl(unix.F_OFD_SETLK, unix.F_UNLCK, door, 1)
	return false, errors.Join(err, undo)
}

// queue takes a ticket behind all others, of which one is known. When the last one is out,
// none is had until they begin anew.
func (l *lane) queue(known int64) error {
	if l.ticket > 0 || l.readOnly {
		return nil
	}
	for n := known + firstTicket; n < laneSize; n++ {
		for {
			other, any, err := l.held(n, laneSize)
			if err != nil {
				return err
			}
			if !any {
				break
			}
			n = other + 1
		}
		if n >= laneSize {
			return nil
		}
		ok, err := l.take(unix.F_WRLCK, n)
		if err != nil {
			return err
		}
		if ok {
			l.ticket = n
			return nil
		}
	}
	return nil
}

// held tells of the bytes from one to before another whether somebody else has locked
// any of them, and the first that was locked. Bytes side by side that one has locked, such as
// the door and the first ticket, are one lock to the kernel, which may begin before.
func (l *lane) held(from, to int64) (at int64, ok bool, err error) {
	if from >= to {
		return 0, false, nil
	}
	lock, err := l.fcntl(unix.F_OFD_GETLK, unix.F_WRLCK, from, to-from)
	return max(lock.Start-l.start, from), lock.Type != unix.F_UNLCK, err
}

// take locks a byte, if it is free.
func (l *lane) take(kind int16, at int64) (bool, error) {
	_, err := l.fcntl(unix.F_OFD_SETLK, kind, at, 1)
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES) {
		return false, nil
	}
	return err == nil, err
}

func (l *lane) fcntl(cmd int, kind int16, at, size int64) (unix.Flock_t, error) {
	lock := unix.Flock_t{Type: kind, Whence: unix.SEEK_SET, Start: l.start + at, Len: size}
	for {
		err := unix.FcntlFlock(uintptr(l.fd), cmd, &lock)
		if !errors.Is(err, unix.EINTR) {
			return lock, err
		}
	}
}
