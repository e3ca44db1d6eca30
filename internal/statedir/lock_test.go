package statedir

import (
	"bufio"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vgpukit/vgpukit/internal/fault"
)

// TestMain lets the test program play a second process, which takes a lock, says
// so, and then waits to be killed.
func TestMain(m *testing.M) {
	if dir := os.Getenv("STATEDIR_TEST_HOLD_LOCK"); dir != "" {
		s, err := Open(dir)
		if err == nil {
			_, err = s.Lock(context.Background(), "vm", "vm", "start vm")
		}
		if err != nil {
			panic(err)
		}
		os.Stdout.WriteString("locked\n")
		select {}
	}
	os.Exit(m.Run())
}

// TestDeadOwnerBlocksNobody: a lock is refused with its owner's name at the
// deadline, and free as soon as its owner was killed.
func TestDeadOwnerBlocksNobody(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(dir)
	require.NoError(t, err)
	other := exec.Command(os.Args[0])
	other.Env = append(os.Environ(), "STATEDIR_TEST_HOLD_LOCK="+dir)
	out, err := other.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, other.Start())
	_, err = bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)

	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err = s.Lock(ctx, "vm", "vm", "stop vm")
	require.ErrorIs(t, err, fault.Busy)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	assert.ErrorContains(t, err, "process "+strconv.Itoa(other.Process.Pid)+" has been at \"start vm\"")

	require.NoError(t, other.Process.Kill())
	_ = other.Wait() // it was killed
	unlock, err := s.Lock(t.Context(), "vm", "vm", "stop vm")
	require.NoError(t, err)
	unlock()
}

// TestLockExcludes: one at a time has a lock, also while others remove its file.
func TestLockExcludes(t *testing.T) {
	s, err := Open(t.TempDir())
	require.NoError(t, err)
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
