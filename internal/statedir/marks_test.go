package statedir

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

type mark struct {
	Name string
	PID  int
}

func (m mark) name() string { return m.Name }

func openMarks(t *testing.T) (*Dir, Marks[mark]) {
	t.Helper()
	s, err := Open(t.TempDir(), "marks")
	require.NoError(t, err)
	return s, MarksIn(s, "marks", mark.name)
}

// TestMarkIsTakenOnce: a name that is taken is not taken again, and the error says by whom;
// freed, it is free; nothing of this is synced.
func TestMarkIsTakenOnce(t *testing.T) {
	s, marks := openMarks(t)
	for _, name := range []string{"0000:05:00.4", "98d19132-f8f0-4d19-8743-9efa23e6c493", "..", strings.Repeat("x", 300)} {
		_, ok, err := marks.Read(name)
		require.NoError(t, err)
		assert.False(t, ok)
		require.NoError(t, marks.Remove(name), "it is free already")

		require.NoError(t, marks.Take(mark{name, 1}))
		err = marks.Take(mark{name, 2})
		require.ErrorIs(t, err, fs.ErrExist)
		var taken *Taken[mark]
		require.ErrorAs(t, err, &taken)
		assert.Equal(t, mark{name, 1}, taken.By)
		first, err := marks.First(mark{name, 2})
		require.NoError(t, err)
		assert.Equal(t, 1, first.PID)

		require.NoError(t, marks.Replace(mark{name, 3}))
		got, ok, err := marks.Read(name)
		require.NoError(t, err)
		assert.True(t, ok)
		assert.Equal(t, 3, got.PID)
		all, unread, err := marks.All()
		require.NoError(t, err)
		assert.Empty(t, unread)
		assert.Equal(t, map[string]mark{name: {name, 3}}, all)

		require.NoError(t, marks.Remove(name))
		assert.False(t, marks.Has(name))
		first, err = marks.First(mark{name, 4})
		require.NoError(t, err)
		assert.Equal(t, 4, first.PID)
		require.NoError(t, marks.Remove(name))
	}
	assert.Zero(t, s.Syncs())
	left, err := os.ReadDir(filepath.Join(s.Path(), "marks"))
	require.NoError(t, err)
	assert.Empty(t, left)
}

// TestUnreadableMarkIsTaken: whatever stands in a mark's place takes its name, says why it
// cannot be read, and stays.
func TestUnreadableMarkIsTaken(t *testing.T) {
	for kind, put := range map[string]func(path string) error{
		"empty":     func(path string) error { return os.WriteFile(path, nil, 0o600) },
		"cut off":   func(path string) error { return os.WriteFile(path, []byte(`{"vgpukit":1,`), 0o600) },
		"link":      func(path string) error { return os.Symlink("nowhere", path) },
		"fifo":      func(path string) error { return syscall.Mkfifo(path, 0o600) },
		"directory": func(path string) error { return os.Mkdir(path, 0o700) },
		"another's": func(path string) error {
			data, err := seal(mark{"another", 1})
			return errors.Join(err, os.WriteFile(path, data, 0o600))
		},
	} {
		_, marks := openMarks(t)
		path := marks.Path("device")
		require.NoError(t, put(path), kind)
		before, err := os.Lstat(path)
		require.NoError(t, err)

		err = marks.Take(mark{"device", 1})
		require.ErrorIs(t, err, fs.ErrExist, kind)
		var damaged *Damaged
		require.ErrorAs(t, err, &damaged, kind)
		_, err = marks.First(mark{"device", 1})
		require.ErrorAs(t, err, &damaged, kind)
		_, _, err = marks.Read("device")
		require.ErrorAs(t, err, &damaged, kind)
		assert.True(t, marks.Has("device"), kind)
		all, unread, err := marks.All()
		require.NoError(t, err)
		assert.Empty(t, all, kind)
		assert.ErrorAs(t, unread[path], &damaged, kind)
		after, err := os.Lstat(path)
		require.NoError(t, err)
		assert.True(t, os.SameFile(before, after), kind)
	}
}

// TestProcessesShareNoMark: of processes that take the same names at once exactly one gets
// each, and the others are told who.
func TestProcessesShareNoMark(t *testing.T) {
	s, marks := openMarks(t)
	got := map[string]int{}
	var outs []*bytes.Buffer
	var all []*other
	for range 4 {
		out := &bytes.Buffer{}
		outs, all = append(outs, out), append(all, play(t, s, "take", out))
	}
	for i, o := range all {
		require.NoError(t, o.Wait())
		for _, name := range strings.Fields(outs[i].String()) {
			assert.Zero(t, got[name], "%s was taken twice", name)
			got[name] = o.Process.Pid
		}
	}
	require.Len(t, got, takenNames)
	taken, unread, err := marks.All()
	require.NoError(t, err)
	assert.Empty(t, unread)
	for name, pid := range got {
		assert.Equal(t, mark{name, pid}, taken[name])
	}
}

// TestKilledTakerLeavesItWhole: wherever a process is killed that takes and frees a name, the
// name is free or taken by it; what else it leaves is a leftover.
func TestKilledTakerLeavesItWhole(t *testing.T) {
	s, marks := openMarks(t)
	for range 20 {
		o := play(t, s, "die", nil)
		o.locked(t)
		o.kill()
		got, ok, err := marks.Read("device")
		require.NoError(t, err)
		if ok {
			assert.Equal(t, o.Process.Pid, got.PID)
		}
		require.NoError(t, marks.Remove("device"))
		leftovers, err := s.Leftovers("marks")
		require.NoError(t, err)
		for _, path := range leftovers {
			require.NoError(t, os.Chtimes(path, time.Time{}, time.Now().Add(-2*youngest)))
		}
		require.NoError(t, marks.Sweep())
		left, err := os.ReadDir(filepath.Join(s.Path(), "marks"))
		require.NoError(t, err)
		assert.Empty(t, left)
	}
}

// TestSweep: what takers that died have left goes, what may be a living one's does not; one
// whose file was swept all the same makes it again.
func TestSweep(t *testing.T) {
	s, marks := openMarks(t)
	require.NoError(t, marks.Take(mark{"device", 1}))
	temp := func(n int, age time.Duration) string {
		path := filepath.Join(s.Path(), "marks", fmt.Sprint(".device.json.tmp", n))
		require.NoError(t, os.WriteFile(path, nil, 0o600))
		require.NoError(t, os.Chtimes(path, time.Time{}, time.Now().Add(-age)))
		return path
	}
	dead, alive := temp(1, 2*youngest), temp(2, 0)
	require.NoError(t, marks.Sweep())
	assert.NoFileExists(t, dead)
	assert.FileExists(t, alive)
	assert.True(t, marks.Has("device"))

	swept := 0
	s.Files = sweeping{s.Files, &swept}
	require.NoError(t, marks.Take(mark{"device2", 1}))
	require.NoError(t, marks.Replace(mark{"device2", 2}))
	assert.Equal(t, 4, swept)
	require.NoError(t, os.RemoveAll(filepath.Join(s.Path(), "marks")))
	err := marks.Take(mark{"device", 1})
	require.ErrorIs(t, err, fs.ErrNotExist, "the place is gone: nothing is taken")
	assert.NotErrorIs(t, err, fs.ErrExist)
}

// sweeping are files whose every other temporary file is swept from under its writer.
type sweeping struct {
	Files
	swept *int
}

func (f sweeping) Create(path string, data []byte) error { return f.change(path, data, f.Files.Create) }

func (f sweeping) Put(path string, data []byte) error { return f.change(path, data, f.Files.Put) }

func (f sweeping) change(path string, data []byte, do func(string, []byte) error) error {
	if *f.swept++; *f.swept%2 == 1 {
		return &os.LinkError{Op: "link", Err: syscall.ENOENT}
	}
	return do(path, data)
}

// TestMarksOfAnotherBoot: they are gone, whole or not, when a boot is entered, once; those
// of this boot stay, and those of which it is not known; what an interrupted removal left is
// removed by the next.
func TestMarksOfAnotherBoot(t *testing.T) {
	s, marks := openMarks(t)
	entries := In(s, "samples", sample.name)
	require.NoError(t, os.Mkdir(filepath.Join(s.Path(), "samples"), 0o700))
	require.NoError(t, entries.Write(sampleOf("kept")))
	fill := func() {
		require.NoError(t, marks.Replace(mark{"whole", 1}))
		require.NoError(t, os.WriteFile(marks.Path("damaged"), nil, 0o600))
	}
	count := func() int {
		files, err := os.ReadDir(filepath.Join(s.Path(), "marks"))
		require.NoError(t, err)
		return len(files)
	}
	fill()
	require.NoError(t, s.EnterBoot(t.Context(), "first", "marks"))
	assert.Equal(t, 2, count())
	for i := range 3 {
		fill()
		boot := fmt.Sprint("boot ", i)
		require.NoError(t, s.EnterBoot(t.Context(), boot, "marks"))
		assert.Zero(t, count())
		fill()
		synced := s.Syncs()
		require.NoError(t, s.EnterBoot(t.Context(), boot, "marks"))
		assert.Equal(t, 2, count())
		assert.Equal(t, synced, s.Syncs())
	}
	fill()
	s.Files = failing{Files: s.Files, remove: errors.New("no")}
	require.Error(t, s.EnterBoot(t.Context(), "next", "marks"))
	s.Files = s.Files.(failing).Files
	require.NoError(t, s.EnterBoot(t.Context(), "next", "marks"))
	assert.Zero(t, count())
	assert.True(t, entries.Has("kept"))
	require.NoError(t, os.WriteFile(filepath.Join(s.Path(), "boot.json"), []byte("{"), 0o600))
	fill()
	require.NoError(t, s.EnterBoot(t.Context(), "next", "marks"))
	assert.Equal(t, 2, count(), "of which boot they are is not known")
	require.NoError(t, s.EnterBoot(t.Context(), "last", "marks"))
	assert.Zero(t, count())
}

// failing are files that cannot be removed, or written.
type failing struct {
	Files
	remove, write error
}

func (f failing) Remove(path string) error {
	if f.remove != nil {
		return f.remove
	}
	return f.Files.Remove(path)
}

func (f failing) Write(path string, data []byte) error {
	if f.write != nil {
		return f.write
	}
	return f.Files.Write(path, data)
}

// TestSyncs: an entry's write is two, whatever else an operation changes is none.
func TestSyncs(t *testing.T) {
	s, marks := openMarks(t)
	grants := In(s, "marks", sample.name).Beside(".json", ".op")
	operations := In(s, "marks", sample.name).Beside(".op", ".json")
	for _, step := range []struct {
		what string
		do   func() error
		want int64
	}{
		{"grant", func() error { return grants.Write(sampleOf("vm")) }, 2},
		{"operation", func() error { return operations.Write(sampleOf("vm")) }, 2},
		{"owner", func() error { return marks.Take(mark{"device", 1}) }, 0},
		{"owner again", func() error { return marks.Replace(mark{"device", 2}) }, 0},
		{"owner gone", func() error { return marks.Remove("device") }, 0},
		{"end", func() error { return operations.Drop("vm") }, 0},
		{"end again", func() error { return operations.Drop("vm") }, 0},
		{"grant gone", func() error { return grants.Remove("vm") }, 1},
		{"grant gone again", func() error { return grants.Remove("vm") }, 0},
	} {
		before := s.Syncs()
		require.NoError(t, step.do(), step.what)
		assert.Equal(t, step.want, s.Syncs()-before, step.what)
	}
}

// TestBeside: entries of two kinds in one place, of one name, are two, with one lock; what is
// of neither kind is told by both.
func TestBeside(t *testing.T) {
	s := open(t)
	grants := In(s, "samples", sample.name).Beside(".json", ".op")
	operations := In(s, "samples", sample.name).Beside(".op", ".json")
	a, b := sampleOf("vm"), sampleOf("vm")
	b.Devices = nil
	require.NoError(t, grants.Write(a))
	require.NoError(t, operations.Write(b))
	odd := filepath.Join(s.Path(), "samples", "odd")
	require.NoError(t, os.WriteFile(odd, nil, 0o600))
	for want, e := range map[*sample]Entries[sample]{&a: grants, &b: operations} {
		all, unread, err := e.All()
		require.NoError(t, err)
		assert.Equal(t, map[string]sample{"vm": *want}, all)
		assert.Len(t, unread, 1)
		assert.Contains(t, unread, odd)
		unlock, ok := s.TryLockOf("vm", e.Path("vm"), "test")
		require.True(t, ok)
		_, ok = s.TryLockOf("vm", "x/.vm.op.tmp1", "test")
		assert.False(t, ok)
		unlock()
	}
	require.NoError(t, operations.Drop("vm"))
	assert.False(t, operations.Has("vm"))
	assert.True(t, grants.Has("vm"))
}
