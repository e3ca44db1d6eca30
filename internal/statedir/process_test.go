package statedir

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// roles are what the test program does as another process: it takes the lock of the VM
// "vm" and says so.
var roles = map[string]func(s *Dir){
	// hold keeps the lock until it is killed.
	"hold": func(s *Dir) {
		_ = mustLock(s, "start vm")
		fmt.Println("locked")
		select {}
	},
	// once signs for its turn and gives it back.
	"once": func(s *Dir) {
		unlock := mustLock(s, "once")
		if err := sign(s, os.Getpid()); err != nil {
			panic(err)
		}
		fmt.Println("locked")
		unlock()
	},
	// record appends its lines to the log of record.
	"record": func(s *Dir) {
		for i := range recordLines {
			if err := s.Record(line{PID: os.Getpid(), N: i, Pad: strings.Repeat("x", i)}); err != nil {
				panic(err)
			}
		}
	},
	// take takes all names, in an order of its own, and says which it got.
	"take": func(s *Dir) {
		marks := MarksIn(s, "marks", mark.name)
		for _, i := range rand.Perm(takenNames) {
			m := mark{Name: fmt.Sprint("device", i), PID: os.Getpid()}
			err := marks.Take(m)
			var taken *Taken[mark]
			switch {
			case err == nil:
				fmt.Println(m.Name)
			case !errors.As(err, &taken) || taken.Err != nil || taken.By.PID == m.PID:
				panic(fmt.Sprint(err, taken))
			}
		}
	},
	// die takes a name and frees it, without end.
	"die": func(s *Dir) {
		marks := MarksIn(s, "marks", mark.name)
		fmt.Println("locked")
		for {
			if err := errors.Join(marks.Take(mark{"device", os.Getpid()}), marks.Remove("device")); err != nil {
				panic(err)
			}
		}
	},
	// repeat does so without end, and looks whether it is alone.
	"repeat": func(s *Dir) {
		inside, me := filepath.Join(s.Path(), "inside"), fmt.Sprint(os.Getpid())
		for {
			unlock := mustLock(s, "repeat")
			word := "locked"
			if err := os.WriteFile(inside, []byte(me), 0o600); err != nil {
				panic(err)
			}
			for range 20 {
				if found, err := os.ReadFile(inside); err != nil || string(found) != me {
					word = fmt.Sprintf("not alone: %s and %s: %v", me, found, err)
				}
			}
			fmt.Println(word)
			unlock()
		}
	},
}

const recordLines, takenNames = 200, 300

func mustLock(s *Dir, operation string) func() {
	unlock, err := s.Lock(context.Background(), "vm", "vm", operation)
	if err != nil {
		panic(err)
	}
	return unlock
}

// sign writes a number into the file of turns. The caller has the lock.
func sign(s *Dir, n int) error {
	file, err := os.OpenFile(filepath.Join(s.Path(), "turns"), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(file, n)
	return errors.Join(err, file.Close())
}

// TestMain lets the test program play another process.
func TestMain(m *testing.M) {
	if role, dir, ok := strings.Cut(os.Getenv("STATEDIR_TEST_ROLE"), " "); ok {
		s, err := Open(dir)
		if err != nil {
			panic(err)
		}
		roles[role](s)
		return
	}
	os.Exit(m.Run())
}

// other is another process.
type other struct {
	*exec.Cmd
	lines *bufio.Scanner
}

// play starts a process. What it says goes to to; nil: it is read by next.
func play(t *testing.T, s *Dir, role string, to io.Writer) *other {
	t.Helper()
	o := &other{Cmd: exec.Command(os.Args[0])}
	o.Env = append(os.Environ(), "STATEDIR_TEST_ROLE="+role+" "+s.Path())
	o.Stderr, o.Stdout = os.Stderr, to
	if to == nil {
		out, err := o.StdoutPipe()
		require.NoError(t, err)
		o.lines = bufio.NewScanner(out)
	}
	require.NoError(t, o.Start())
	t.Cleanup(o.kill)
	return o
}

// locked waits until the process has had the lock.
func (o *other) locked(t *testing.T) {
	t.Helper()
	require.True(t, o.lines.Scan(), "it ended")
	assert.Equal(t, "locked", o.lines.Text())
}

// kill kills the process and waits until it is gone.
func (o *other) kill() {
	if o.ProcessState == nil {
		_ = o.Process.Kill()
		_ = o.Wait() // it was killed
	}
}

// tickets counts those who wait for the lock of a VM.
func tickets(t *testing.T, s *Dir, vm string) (n int) {
	t.Helper()
	l, err := openLane(s.lockPath(), lockKey("vm", fileName(vm)))
	require.NoError(t, err)
	defer l.close()
	for at := int64(firstTicket); ; n++ {
		other, waits, err := l.held(at, laneSize)
		require.NoError(t, err)
		if !waits {
			return n
		}
		at = other + 1
	}
}

// queued waits until so many wait for the lock of a VM.
func queued(t *testing.T, s *Dir, vm string, n int) {
	t.Helper()
	require.Eventually(t, func() bool { return tickets(t, s, vm) == n }, tooLong, pollFirst)
}

// idle checks that nothing of a lock is left when nobody wants any.
func idle(t *testing.T, s *Dir) {
	t.Helper()
	notes, err := os.ReadDir(filepath.Join(s.Path(), locksDir))
	require.NoError(t, err)
	assert.Empty(t, notes)
	info, err := os.Lstat(s.lockPath())
	require.NoError(t, err)
	assert.Zero(t, info.Size())
}
