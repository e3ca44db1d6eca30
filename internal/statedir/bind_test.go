package statedir

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/vgpukit/vgpukit/internal/fault"
)

var (
	here = Machine{ID: "0123456789abcdef0123456789abcdef", DMI: "4C4C4544-0042-3510-8048-B4C04F595031"}
	away = Machine{ID: "fedcba9876543210fedcba9876543210", DMI: "4c4c4544-0042-3510-8048-b4c04f595032"}
)

// TestMachines: two machines are told apart only by an id that is known of both.
func TestMachines(t *testing.T) {
	spelled := Machine{ID: " 01234567-89AB-CDEF-0123-456789ABCDEF\n", DMI: strings.ToLower(here.DMI)}
	for _, c := range []struct {
		name  string
		a, b  Machine
		other bool
		same  bool // surely
	}{
		{"one", here, here, false, true},
		{"another spelling", here, spelled, false, true},
		{"two", here, away, true, false},
		{"copied disk", here, Machine{here.ID, away.DMI}, true, false},
		{"installed anew", here, Machine{away.ID, here.DMI}, true, false},
		{"one id is known", here, Machine{ID: here.ID}, false, true},
		{"none in common", Machine{ID: here.ID}, Machine{DMI: here.DMI}, false, false},
		{"nothing known", here, Machine{}, false, false},
		{"nothing known of both", Machine{}, Machine{}, false, false},
		{"all zero", here, Machine{DMI: "00000000-0000-0000-0000-000000000000"}, false, false},
		{"all F", here, Machine{DMI: "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF"}, false, false},
		{"no id yet", here, Machine{ID: "uninitialized"}, false, false},
		{"no id", here, Machine{ID: "Not Settable", DMI: "To be filled by O.E.M."}, false, false},
	} {
		for _, pair := range [][2]Machine{{c.a, c.b}, {c.b, c.a}} {
			assert.Equal(t, c.other, pair[0].Other(pair[1]), c.name)
			assert.Equal(t, c.same, pair[0].surely(pair[1]), c.name)
		}
	}
}

// changes are all that would change a directory with the entry "vm" and the mark "device".
func changes(t *testing.T, s *Dir) map[string]func() error {
	grants := In(s, "samples", sample.name)
	marks := MarksIn(s, "marks", mark.name)
	return map[string]func() error{
		"write":     func() error { return grants.Write(sampleOf("vm")) },
		"new":       func() error { return grants.Write(sampleOf("vm2")) },
		"upgrade":   grants.Upgrade,
		"move":      func() error { return grants.MoveTo(In(s, "marks", sample.name), "vm") },
		"remove":    func() error { return grants.Remove("vm") },
		"drop":      func() error { return grants.Drop("vm") },
		"take":      func() error { return marks.Take(mark{"device2", 1}) },
		"take it":   func() error { return marks.Take(mark{"device", 2}) },
		"replace":   func() error { return marks.Replace(mark{"device", 2}) },
		"sweep":     marks.Sweep,
		"free":      func() error { return marks.Remove("device") },
		"record":    func() error { return s.Record(line{}) },
		"boot":      func() error { return s.EnterBoot(t.Context(), "boot", "marks") },
		"set aside": func() error { _, err := s.SetAside(&Damaged{Path: grants.Path("vm")}); return err },
		"lock": func() error {
			unlock, err := s.Lock(t.Context(), "vm", "vm", "test")
			if err == nil {
				unlock()
			}
			return err
		},
	}
}

// tree is all that is in a directory.
func tree(t *testing.T, path string) map[string]string {
	t.Helper()
	all := map[string]string{}
	require.NoError(t, filepath.WalkDir(path, func(path string, entry fs.DirEntry, err error) error {
		require.NoError(t, err)
		all[path] = entry.Type().String()
		if entry.Type().IsRegular() {
			data, err := os.ReadFile(path)
			require.NoError(t, err)
			all[path] += string(data)
		}
		return nil
	}))
	return all
}

// stocked is a directory of a machine with an entry and a mark.
func stocked(t *testing.T, m Machine) *Dir {
	t.Helper()
	s, err := Open(t.TempDir(), "samples", "marks")
	require.NoError(t, err)
	require.NoError(t, s.Bind(t.Context(), m))
	require.NoError(t, In(s, "samples", sample.name).Write(sampleOf("vm")))
	require.NoError(t, MarksIn(s, "marks", mark.name).Take(mark{"device", 1}))
	return s
}

// again opens a directory as another process does, on a file system.
func again(t *testing.T, s *Dir, fileSystem int64) *Dir {
	t.Helper()
	d, err := Open(s.Path(), "samples", "marks")
	require.NoError(t, err)
	if fileSystem != 0 {
		d.FileSystem = func(string) (int64, error) { return fileSystem, nil }
	}
	return d
}

// refused checks that nothing changes a directory, that each attempt is an error of a kind,
// and that everything in it can be read.
func refused(t *testing.T, s *Dir, kind error, names ...string) {
	t.Helper()
	before := tree(t, s.Path())
	for what, change := range changes(t, s) {
		err := change()
		require.ErrorIs(t, err, kind, what)
		assert.NotEmpty(t, fault.Hint("", err), what)
		for _, name := range names {
			assert.ErrorContains(t, err, name, what)
		}
	}
	_, ok := s.TryLockOf("vm", "x/vm.json", "test")
	assert.False(t, ok)
	s.SweepNotes()
	all, unread, err := In(s, "samples", sample.name).All()
	require.NoError(t, err)
	assert.Empty(t, unread)
	assert.Contains(t, all, "vm")
	got, ok, err := MarksIn(s, "marks", mark.name).Read("device")
	require.NoError(t, err)
	assert.True(t, ok)
	assert.Equal(t, 1, got.PID)
	assert.Equal(t, before, tree(t, s.Path()))
}

// TestAnotherMachine: a directory that was copied from another machine is for reading only,
// with an error that names both and the way out; taken over, entries stay, marks are gone,
// and the other machine finds it another's.
func TestAnotherMachine(t *testing.T) {
	s := stocked(t, here)
	m, ok, err := s.Machine()
	require.NoError(t, err)
	assert.True(t, ok)
	assert.Equal(t, here.canonical(), m)

	d := again(t, s, 0)
	err = d.Bind(t.Context(), away)
	require.ErrorIs(t, err, fault.State)
	assert.Equal(t, err, d.Foreign())
	assert.Contains(t, fault.Hint("", err), "take the state directory over")
	refused(t, d, fault.State, here.ID, away.ID, "4c4c454400423510", "595032")
	require.ErrorIs(t, d.Bind(t.Context(), away), fault.State, "it stays so")

	require.NoError(t, d.TakeOver(t.Context(), away, "marks"))
	require.NoError(t, d.Foreign())
	require.NoError(t, again(t, s, 0).Bind(t.Context(), away))
	all, _, err := In(d, "samples", sample.name).All()
	require.NoError(t, err)
	assert.Contains(t, all, "vm")
	assert.False(t, MarksIn(d, "marks", mark.name).Has("device"))

	_, err = s.Lock(t.Context(), "vm", "vm", "test")
	require.ErrorIs(t, err, fault.State, "who has it open notices")
	require.ErrorIs(t, s.Foreign(), fault.State)
	require.NoError(t, s.TakeOver(t.Context(), here))
	for what, change := range changes(t, s) {
		if what == "take" || what == "lock" {
			require.NoError(t, change())
		}
	}
}

// TestInterruptedTakeOver: one that stops in between has not happened, and can be done again.
func TestInterruptedTakeOver(t *testing.T) {
	broken := &fs.PathError{Op: "change", Err: syscall.EIO}
	for what, stop := range map[string]failing{"removing": {remove: broken}, "writing": {write: broken}} {
		s := stocked(t, here)
		d := again(t, s, 0)
		stop.Files = d.Files
		d.Files = stop
		require.ErrorIs(t, d.TakeOver(t.Context(), away, "marks"), syscall.EIO, what)
		d = again(t, s, 0)
		require.ErrorIs(t, d.Bind(t.Context(), away), fault.State, what)
		require.NoError(t, d.TakeOver(t.Context(), away, "marks"), what)
		require.NoError(t, d.Writable(), what)
		assert.False(t, MarksIn(d, "marks", mark.name).Has("device"), what)
		assert.True(t, In(d, "samples", sample.name).Has("vm"), what)
	}
}

// TestUnknownMachine: what is not known is not different, and is noted when it gets known;
// a note that is damaged says nothing.
func TestUnknownMachine(t *testing.T) {
	s := stocked(t, Machine{})
	_, known, err := s.Machine()
	require.NoError(t, err)
	assert.True(t, known)
	for _, step := range []Machine{{ID: here.ID}, {}, {DMI: here.DMI}, here} {
		require.NoError(t, again(t, s, 0).Bind(t.Context(), step))
	}
	m, _, err := s.Machine()
	require.NoError(t, err)
	assert.Equal(t, here.canonical(), m)
	require.ErrorIs(t, again(t, s, 0).Bind(t.Context(), Machine{DMI: away.DMI}), fault.State)

	path := filepath.Join(s.Path(), machineFile)
	require.NoError(t, os.WriteFile(path, []byte("{"), 0o600))
	require.NoError(t, again(t, s, 0).Bind(t.Context(), away))
	require.ErrorIs(t, again(t, s, 0).Bind(t.Context(), here), fault.State)

	require.NoError(t, os.WriteFile(path, []byte(`{"vgpukit": 2}`), 0o600))
	d := again(t, s, 0)
	require.ErrorIs(t, d.Bind(t.Context(), here), fault.State, "a newer program wrote it")
	refused(t, d, fault.State, "newer version")
}

// TestFullDiskBinds: when there is no room to note whose the directory is, what frees things
// goes on all the same.
func TestFullDiskBinds(t *testing.T) {
	s, err := Open(t.TempDir())
	require.NoError(t, err)
	s.Files = failing{Files: s.Files, write: &fs.PathError{Op: "write", Err: syscall.ENOSPC}}
	require.NoError(t, s.Bind(t.Context(), here))
	require.NoError(t, s.Writable())
	s.Files = failing{Files: s.Files, write: &fs.PathError{Op: "write", Err: syscall.EPERM}}
	require.ErrorIs(t, s.Bind(t.Context(), here), fault.Unavailable)
}

// TestNetworkFileSystem: a directory on one is for reading only until a machine that is known
// takes it over, and then for that one alone.
func TestNetworkFileSystem(t *testing.T) {
	for kind, name := range networkFileSystems {
		s := stocked(t, here)
		d := again(t, s, int64(kind))
		require.ErrorIs(t, d.Bind(t.Context(), here), fault.State)
		refused(t, d, fault.State, name, here.ID)
		require.ErrorIs(t, d.TakeOver(t.Context(), Machine{ID: "uninitialized"}, "marks"), fault.State)
		refused(t, d, fault.State, name)
		require.NoError(t, d.TakeOver(t.Context(), here, "marks"))
		require.NoError(t, again(t, s, int64(kind)).Bind(t.Context(), here))
		for _, m := range []Machine{away, {}} {
			d = again(t, s, int64(kind))
			require.ErrorIs(t, d.Bind(t.Context(), m), fault.State)
			require.ErrorIs(t, d.Writable(), fault.State)
		}
	}
	for _, kind := range []int64{unix.EXT4_SUPER_MAGIC, unix.FUSE_SUPER_MAGIC, unix.TMPFS_MAGIC, unix.BTRFS_SUPER_MAGIC, unix.OVERLAYFS_SUPER_MAGIC} {
		require.NoError(t, again(t, stocked(t, here), kind).Bind(t.Context(), here))
	}
	// A 32-bit kernel's types have a sign.
	cifs := uint32(0xFF534D42)
	require.ErrorIs(t, again(t, stocked(t, here), int64(int32(cifs))).Bind(t.Context(), here), fault.State)
}

// TestTakeOverWaitsForOthers: nobody who has a lock has the directory taken from under his
// hands, and none is had while it is taken over.
func TestTakeOverWaitsForOthers(t *testing.T) {
	s := stocked(t, here)
	o := play(t, s, "hold", nil)
	o.locked(t)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	err := s.TakeOver(ctx, here, "marks")
	require.ErrorIs(t, err, fault.Busy)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	assert.True(t, MarksIn(s, "marks", mark.name).Has("device"))

	var inside sync.WaitGroup
	inside.Go(func() { assert.NoError(t, s.TakeOver(t.Context(), here, "marks")) })
	o.kill()
	inside.Wait()
	assert.False(t, MarksIn(s, "marks", mark.name).Has("device"))

	leave, err := s.alone(t.Context())
	require.NoError(t, err)
	ctx, cancel = context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err = s.Lock(ctx, "vm", "other", "test")
	require.ErrorIs(t, err, fault.Busy)
	_, ok := s.TryLockOf("vm", "x/vm.json", "test")
	assert.False(t, ok)
	leave()
	lock(t, s)()
}

// TestFirstUseAtOnce: of machines that use a directory first at the same moment one has it.
func TestFirstUseAtOnce(t *testing.T) {
	for range 20 {
		s, err := Open(t.TempDir(), "samples", "marks")
		require.NoError(t, err)
		errs := make([]error, 4)
		var all sync.WaitGroup
		for i := range errs {
			d := again(t, s, 0)
			all.Go(func() { errs[i] = d.Bind(t.Context(), []Machine{here, away}[i%2]) })
		}
		all.Wait()
		assert.Equal(t, errs[0] == nil, errs[2] == nil)
		assert.Equal(t, errs[1] == nil, errs[3] == nil)
		assert.NotEqual(t, errs[0] == nil, errs[1] == nil)
	}
}

// TestReadingOnly: who opens a directory for reading sees what is there, changes nothing, and
// makes nothing where there is none.
func TestReadingOnly(t *testing.T) {
	s := stocked(t, here)
	d, err := OpenForReading(s.Path())
	require.NoError(t, err)
	require.NoError(t, d.Bind(t.Context(), here))
	refused(t, d, fault.Permission, "reading only")
	require.ErrorIs(t, d.TakeOver(t.Context(), here, "marks"), fault.Permission)
	require.ErrorIs(t, d.Bind(t.Context(), away), fault.State)
	require.ErrorIs(t, d.Foreign(), fault.State)

	path := filepath.Join(t.TempDir(), "none", "state")
	d, err = OpenForReading(path)
	require.NoError(t, err)
	require.NoError(t, d.Bind(t.Context(), here))
	_, ok, err := d.Machine()
	require.NoError(t, err)
	assert.False(t, ok)
	all, unread, err := In(d, "samples", sample.name).All()
	require.NoError(t, err)
	assert.Empty(t, all)
	assert.Empty(t, unread)
	leftovers, err := d.Leftovers("samples")
	require.NoError(t, err)
	assert.Empty(t, leftovers)
	_, ok, err = MarksIn(d, "marks", mark.name).Read("device")
	require.NoError(t, err)
	assert.False(t, ok)
	for what, change := range changes(t, d) {
		require.ErrorIs(t, change(), fault.Permission, what)
	}
	assert.NoDirExists(t, filepath.Dir(path))

	require.NoError(t, os.Chmod(s.Path(), 0o777))
	_, err = OpenForReading(s.Path())
	require.ErrorIs(t, err, fault.Permission, "others may write it")
}

// TestNotesPath: a directory has one place for its notes, however its path is spelled and
// whether it is there or not; two directories have two.
func TestNotesPath(t *testing.T) {
	dir := t.TempDir()
	at := func(state string) string {
		path, err := NotesPath("", state)
		require.NoError(t, err)
		assert.Equal(t, "/run/vgpukit", filepath.Dir(path))
		return path
	}
	state := filepath.Join(dir, "state")
	before := at(state)
	assert.NotEqual(t, before, at(state+"2"))
	require.NoError(t, os.Mkdir(state, 0o700))
	require.NoError(t, os.Symlink("state", filepath.Join(dir, "link")))
	t.Chdir(dir)
	for _, same := range []string{state, state + "/", dir + "//x/../state", filepath.Join(dir, "link"), "state", "./link"} {
		assert.Equal(t, before, at(same), same)
	}
	require.NoError(t, os.RemoveAll(state))
	require.NoError(t, os.Mkdir(state, 0o700))
	assert.Equal(t, before, at(state), "restored from a backup")

	elsewhere, err := NotesPath(filepath.Join(dir, "run"), state)
	require.NoError(t, err)
	notes, err := Open(elsewhere, "seen")
	require.NoError(t, err)
	first, err := MarksIn(notes, "seen", mark.name).First(mark{"vm", 1})
	require.NoError(t, err)
	assert.Equal(t, 1, first.PID)
}
