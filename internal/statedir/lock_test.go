package statedir

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/vgpukit/vgpukit/internal/fault"
)

// tooLong is when a test fails instead of waiting on.
const tooLong = time.Minute

func open(t *testing.T) *Dir {
	t.Helper()
	s, err := Open(t.TempDir(), "samples")
	require.NoError(t, err)
	return s
}

func lock(t *testing.T, s *Dir) func() {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), tooLong)
	defer cancel()
	unlock, err := s.Lock(ctx, "vm", "vm", "test")
	require.NoError(t, err)
	return unlock
}

// TestDeadOwnerBlocksNobody: a lock is refused with its owner's name at the
// deadline, and free as soon as its owner was killed; what he noted is swept.
func TestDeadOwnerBlocksNobody(t *testing.T) {
	s := open(t)
	other := play(t, s, "hold", nil)
	other.locked(t)
	noted(t, s.notePath("vm-vm"))

	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err := s.Lock(ctx, "vm", "vm", "stop vm")
	require.ErrorIs(t, err, fault.Busy)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	assert.ErrorContains(t, err, "process "+strconv.Itoa(other.Process.Pid)+" has been at \"start vm\"")
	_, ok := s.TryLockOf("vm", "x/vm.json", "test")
	assert.False(t, ok)
	s.SweepNotes()
	noted(t, s.notePath("vm-vm"))
	other.kill()
	s.SweepNotes()
	idle(t, s)
	lock(t, s)()
	unlock, ok := s.TryLockOf("vm", "x/vm.json", "test")
	require.True(t, ok)
	unlock()
	idle(t, s)
}

// TestLockExcludes: one at a time has a lock, also while others remove its file.
func TestLockExcludes(t *testing.T) {
	s := open(t)
	var inside, most atomic.Int32
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for i := range 50 {
				unlock, err := s.Lock(t.Context(), "vm", "vm", "test")
				if !assert.NoError(t, err) {
					return
				}
				if n := inside.Add(1); n > most.Load() {
					most.Store(n)
				}
				inside.Add(-1)
				if i%5 == 0 {
					_ = os.Remove(s.lockPath()) // the next one may have the lock from here on
				}
				unlock()
			}
		})
	}
	group.Wait()
	assert.Equal(t, int32(1), most.Load())
	left, err := filepath.Glob(filepath.Join(s.Path(), locksDir, "*"))
	require.NoError(t, err)
	assert.Empty(t, left)
}

// TestLocksAreApart: the locks of different objects, and of one name in different kinds,
// do not wait for each other; those of one object do through any Dir.
func TestLocksAreApart(t *testing.T) {
	s := open(t)
	again, err := Open(s.Path())
	require.NoError(t, err)
	for _, key := range [][2]string{{"vm", "vm"}, {"uuid", "vm"}, {"gpu", "vm"}, {"vf", "vm"}, {"vm", "vm2"}, {"vm", "VM"}} {
		unlock, err := s.Lock(t.Context(), key[0], key[1], "test")
		require.NoError(t, err)
		defer unlock()
		_, ok := again.TryLockOf(key[0], "x/"+key[1]+".json", "test")
		assert.False(t, ok, key)
	}
}

// TestUnlockTwice: giving a lock back again does not give away another's.
func TestUnlockTwice(t *testing.T) {
	s := open(t)
	unlock := lock(t, s)
	unlock()
	defer lock(t, s)()
	unlock()
	_, ok := s.TryLockOf("vm", "x/vm.json", "test")
	assert.False(t, ok)
	noted(t, s.notePath("vm-vm"))
}

// TestContextEndsWait: a wait ends with its context and leaves no place in the queue; a
// lock that is free is had even so.
func TestContextEndsWait(t *testing.T) {
	s := open(t)
	unlock := lock(t, s)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() {
		_, err := s.Lock(ctx, "vm", "vm", "test")
		ended <- err
	}()
	queued(t, s, "vm", 1)
	cancel()
	err := <-ended
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorIs(t, err, fault.Busy)
	assert.Zero(t, tickets(t, s, "vm"))
	unlock()
	unlock, err = s.Lock(ctx, "vm", "vm", "test")
	require.NoError(t, err)
	unlock()
	idle(t, s)
}

// TestReadOnlyLock: on a file system that is read-only a lock excludes as well, also
// those who opened its file before.
func TestReadOnlyLock(t *testing.T) {
	s := open(t)
	key := lockKey("vm", "vm")
	readOnly := func() *lane {
		l, err := openLane(s.lockPath(), key)
		require.NoError(t, err)
		require.NoError(t, unix.Close(l.fd))
		l.fd, err = openFile(s.lockPath(), unix.O_RDONLY)
		require.NoError(t, err)
		l.readOnly = true
		return l
	}
	unlock := lock(t, s)
	l := readOnly()
	entered, err := l.enter()
	require.NoError(t, err)
	assert.False(t, entered, "one who may write has it")
	unlock()
	entered, err = l.enter()
	require.NoError(t, err)
	assert.True(t, entered)
	_, ok := s.TryLockOf("vm", "x/vm.json", "test")
	assert.False(t, ok, "one who may not write has it")
	l.close()

	var inside atomic.Int32
	var group sync.WaitGroup
	for range 6 {
		l := readOnly()
		group.Go(func() {
			defer l.close()
			for range 10 {
				if !assert.NoError(t, l.wait(t.Context())) {
					return
				}
				assert.Equal(t, int32(1), inside.Add(1))
				inside.Add(-1)
				_, err := l.fcntl(unix.F_OFD_SETLK, unix.F_UNLCK, door, 1)
				assert.NoError(t, err)
			}
		})
	}
	group.Wait()
}

// TestLockThroughNothing: a link, a FIFO or a directory where a lock or its note has its
// file is neither followed nor emptied, and holds nobody up.
func TestLockThroughNothing(t *testing.T) {
	theirs := filepath.Join(t.TempDir(), "theirs")
	require.NoError(t, os.WriteFile(theirs, []byte("theirs"), 0o600))
	for name, put := range map[string]func(path string) error{
		"link":        func(path string) error { return os.Symlink(theirs, path) },
		"broken link": func(path string) error { return os.Symlink(theirs+"2", path) },
		"fifo":        func(path string) error { return syscall.Mkfifo(path, 0o600) },
		"directory":   func(path string) error { return os.Mkdir(path, 0o700) },
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t)
			require.NoError(t, put(s.notePath("vm-vm")))
			unlock := lock(t, s)
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
			defer cancel()
			_, err := s.Lock(ctx, "vm", "vm", "other")
			require.ErrorIs(t, err, fault.Busy)
			unlock()
			s.SweepNotes()

			require.NoError(t, os.Remove(s.lockPath()))
			require.NoError(t, put(s.lockPath()))
			_, err = s.Lock(t.Context(), "vm", "vm", "test")
			require.ErrorIs(t, err, errNotRegular)
			require.ErrorIs(t, err, fault.Unavailable)
			assert.Contains(t, fault.Hint("", err), "move away")
			_, err = Open(s.Path())
			require.ErrorIs(t, err, errNotRegular)
			data, err := os.ReadFile(theirs)
			require.NoError(t, err)
			assert.Equal(t, "theirs", string(data))
			assert.NoFileExists(t, theirs+"2")
		})
	}
}

// noted waits until a lock that is held says so.
func noted(t *testing.T, path string) {
	t.Helper()
	require.Eventually(t, func() bool {
		_, err := os.Stat(path)
		return err == nil
	}, 10*time.Second, time.Millisecond)
}
