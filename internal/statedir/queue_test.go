package statedir

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vgpukit/vgpukit/internal/fault"
)

// TestFirstComeFirstServed: who waits for a lock gets it in the order of arrival, whether
// as goroutines of one process, through several Dirs, or as processes.
func TestFirstComeFirstServed(t *testing.T) {
	const n = 12
	s := open(t)
	unlock := lock(t, s)
	var (
		all       sync.WaitGroup
		processes []*other
		want      string
	)
	for i := range n {
		if i%3 == 2 {
			p := play(t, s, "once", nil)
			processes = append(processes, p)
			want += fmt.Sprintln(p.Process.Pid)
		} else {
			want += fmt.Sprintln(-i)
			all.Go(func() {
				again, err := Open(s.Path())
				if !assert.NoError(t, err) {
					return
				}
				unlock, err := again.Lock(t.Context(), "vm", "vm", "test")
				if assert.NoError(t, err) {
					assert.NoError(t, sign(again, -i))
					unlock()
				}
			})
		}
		queued(t, s, "vm", i+1)
	}
	unlock()
	all.Wait()
	for _, p := range processes {
		p.locked(t)
	}
	turns, err := os.ReadFile(filepath.Join(s.Path(), "turns"))
	require.NoError(t, err)
	assert.Equal(t, want, string(turns))
	lock(t, s)() // the last one has given it back
	idle(t, s)
}

// writer is a func as an [io.Writer].
type writer func([]byte)

func (w writer) Write(data []byte) (int, error) {
	w(data)
	return len(data), nil
}

// TestWaitBehindFirstWaiter: behind one who has waited and has the lock by now others wait until
// their time is over, and no longer.
func TestWaitBehindFirstWaiter(t *testing.T) {
	s := open(t)
	unlock := lock(t, s)
	entered, release := make(chan struct{}), make(chan struct{})
	var all sync.WaitGroup
	all.Go(func() {
		unlock, err := s.Lock(t.Context(), "vm", "vm", "test")
		if assert.NoError(t, err) {
			close(entered)
			<-release
			unlock()
		}
	})
	queued(t, s, "vm", 1)
	unlock()
	<-entered
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	busy := make(chan error, 1)
	go func() {
		_, err := s.Lock(ctx, "vm", "vm", "test")
		busy <- err
	}()
	select {
	case err := <-busy:
		require.ErrorIs(t, err, fault.Busy)
	case <-time.After(10 * time.Second):
		assert.Fail(t, "it waits on")
	}
	close(release)
	all.Wait()
}

// TestNobodyStarves: of those who take a lock again and again each has about as many
// turns as the others, as goroutines and as processes.
func TestNobodyStarves(t *testing.T) {
	const each, work = 25, 2 * time.Millisecond
	for _, n := range []int{2, 8} {
		for kind, start := range map[string]func(t *testing.T, s *Dir, i int, turn func(int)){
			"goroutines": func(t *testing.T, s *Dir, i int, turn func(int)) {
				var all sync.WaitGroup
				t.Cleanup(all.Wait)
				all.Go(func() {
					for t.Context().Err() == nil {
						unlock, err := s.Lock(t.Context(), "vm", "vm", "test")
						if err != nil {
							return // the test is over
						}
						time.Sleep(work) // else a thread that the system pauses for a moment misses most of the test
						turn(i)
						unlock()
					}
				})
			},
			"processes": func(t *testing.T, s *Dir, i int, turn func(int)) {
				play(t, s, "repeat", writer(func(said []byte) {
					assert.NotContains(t, string(said), "not alone")
					for range bytes.Count(said, []byte("\n")) {
						turn(i)
					}
				}))
			},
		} {
			t.Run(kind, func(t *testing.T) {
				s := open(t)
				unlock := lock(t, s)
				turns := make(chan int, n*each)
				for i := range n {
					start(t, s, i, func(i int) {
						select {
						case turns <- i:
						default: // enough
						}
					})
				}
				queued(t, s, "vm", n)
				unlock()
				counts := make([]int, n)
				for range n * each {
					counts[<-turns]++
				}
				for i, c := range counts {
					assert.Greater(t, c, each/2, "%d: %v", i, counts)
					assert.Less(t, c, each*2, "%d: %v", i, counts)
				}
			})
		}
	}
}

// TestKilledWaiterBlocksNobody: a process that is killed in the queue leaves no gap that
// those behind wait for.
func TestKilledWaiterBlocksNobody(t *testing.T) {
	s := open(t)
	unlock := lock(t, s)
	var waiting []*other
	for i := range 4 {
		waiting = append(waiting, play(t, s, "once", nil))
		queued(t, s, "vm", i+1)
	}
	waiting[0].kill()
	waiting[2].kill()
	queued(t, s, "vm", 2)
	unlock()
	waiting[1].locked(t)
	waiting[3].locked(t)
	lock(t, s)()
}

// TestStoppedWaiterIsPassedOver: a process that was stopped in the queue keeps nobody
// from a lock that is free, and gets it when it goes on.
func TestStoppedWaiterIsPassedOver(t *testing.T) {
	s := open(t)
	unlock := lock(t, s)
	stopped := play(t, s, "once", nil)
	queued(t, s, "vm", 1)
	require.NoError(t, stopped.Process.Signal(syscall.SIGSTOP))
	var status syscall.WaitStatus
	_, err := syscall.Wait4(stopped.Process.Pid, &status, syscall.WUNTRACED, nil)
	require.NoError(t, err)
	require.True(t, status.Stopped())
	var behind sync.WaitGroup
	for range 3 {
		behind.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), tooLong)
			defer cancel()
			unlock, err := s.Lock(ctx, "vm", "vm", "test")
			if assert.NoError(t, err) {
				unlock()
			}
		})
	}
	queued(t, s, "vm", 4)
	unlock()
	behind.Wait()
	assert.Equal(t, 1, tickets(t, s, "vm"))
	require.NoError(t, stopped.Process.Signal(syscall.SIGCONT))
	stopped.locked(t)
}

// TestKilledAtAnyMoment: of many processes that take a lock and are killed at any moment,
// in the queue and inside, no two ever have it, and the last one leaves it free.
func TestKilledAtAnyMoment(t *testing.T) {
	const turns, crowd = 300, 8
	s := open(t)
	said := make(chan string, turns)
	begin := func() *other {
		return play(t, s, "repeat", writer(func(data []byte) {
			for line := range strings.Lines(string(data)) {
				select {
				case said <- strings.TrimSpace(line):
				default: // enough
				}
			}
		}))
	}
	others := make([]*other, crowd)
	for i := range others {
		others[i] = begin()
	}
	for n := range turns {
		line := <-said
		require.NotContains(t, line, "not alone")
		if n%15 == 0 {
			i := rand.IntN(crowd)
			others[i].kill()
			others[i] = begin()
		}
	}
	for _, o := range others {
		o.kill()
	}
	lock(t, s)()
	s.SweepNotes()
	idle(t, s)
}

// TestTicketsRunOut: when the numbers of a queue are used up, those who come wait for it
// to empty, and then it begins anew.
func TestTicketsRunOut(t *testing.T) {
	s := open(t)
	unlock := lock(t, s)
	last, err := openLane(s.lockPath(), lockKey("vm", "vm"))
	require.NoError(t, err)
	took, err := last.take(syscall.F_WRLCK, laneSize-1)
	require.NoError(t, err)
	require.True(t, took)
	entered := make(chan struct{})
	go func() {
		defer close(entered)
		unlock, err := s.Lock(t.Context(), "vm", "vm", "test")
		if assert.NoError(t, err) {
			unlock()
		}
	}()
	unlock()
	select {
	case <-entered:
		assert.Fail(t, "the last ticket comes first")
	default:
	}
	last.close()
	<-entered
	idle(t, s)
}

// TestOldLockFiles: lock files of earlier versions are in nobody's way, and swept.
func TestOldLockFiles(t *testing.T) {
	s := open(t)
	require.NoError(t, os.WriteFile(filepath.Join(s.Path(), locksDir, "vm-vm"), []byte(`{"pid":1,"operation":"start vm","since":"2026-01-01T00:00:00Z"}`+"\n"), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(s.Path(), locksDir, "gpu-0000:05:00%2E0"), nil, 0o600))
	lock(t, s)()
	s.SweepNotes()
	idle(t, s)
}
