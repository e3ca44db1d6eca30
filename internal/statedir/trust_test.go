package statedir

import (
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vgpukit/vgpukit/internal/fault"
)

// shared is a directory that everybody may look into, in one of mode 1777 or less.
func shared(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "vgpukit-test-")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	require.NoError(t, os.Chmod(dir, 0o755))
	return dir
}

// TestTrust: a state directory is refused, with what to do, if others may write it or
// exchange it for another; of what is above it only those that let them are.
func TestTrust(t *testing.T) {
	for _, c := range []struct {
		name         string
		above, state fs.FileMode
		refused      string // what is refused; empty: nothing
	}{
		{"private", 0o700, 0o700, ""},
		{"may be read", 0o755, 0o755, ""},
		{"in one like /tmp", 0o777 | fs.ModeSticky, 0o700, ""},
		{"in a group's private directory", 0o700, 0o770, ""},
		{"of everybody", 0o755, 0o777, "state"},
		{"of everybody, in a private one", 0o700, 0o777, "state"},
		{"of everybody, sticky", 0o755, 0o777 | fs.ModeSticky, "state"},
		{"of a group", 0o755, 0o770, "state"},
		{"in one of everybody", 0o777, 0o700, "above"},
		{"in one of a group", 0o775, 0o700, "above"},
		{"in one of a group, sticky", 0o775 | fs.ModeSticky, 0o700, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			above := filepath.Join(shared(t), "above")
			state := filepath.Join(above, "state")
			require.NoError(t, os.MkdirAll(state, 0o700))
			require.NoError(t, os.Chmod(state, c.state))
			require.NoError(t, os.Chmod(above, c.above))
			refusal(t, state, map[string]string{"": "", "state": state, "above": above}[c.refused], "chmod go-w ")
		})
	}
}

// refusal checks that a state directory is refused for a directory, with the command that
// mends it, and that nothing was made in it; or is not, for "".
func refusal(t *testing.T, state, dir, command string) {
	t.Helper()
	_, err := Open(state, "samples")
	if dir == "" {
		require.NoError(t, err)
		return
	}
	require.ErrorIs(t, err, fault.Permission)
	assert.ErrorContains(t, err, dir)
	assert.Contains(t, fault.Hint("", err), command+dir)
	assert.NoDirExists(t, filepath.Join(state, "samples"))
}

// TestTrustPlaces: a place in the state directory that others may write, or that is a
// link, is refused too.
func TestTrustPlaces(t *testing.T) {
	state := shared(t)
	_, err := Open(state, "samples")
	require.NoError(t, err)
	for _, place := range []string{"samples", damagedDir, locksDir} {
		path := filepath.Join(state, place)
		require.NoError(t, os.Chmod(path, 0o777|fs.ModeSticky))
		_, err := Open(state, "samples")
		require.ErrorIs(t, err, fault.Permission)
		assert.ErrorContains(t, err, path)
		require.NoError(t, os.Chmod(path, 0o700))
	}
	path := filepath.Join(state, "samples")
	require.NoError(t, os.Rename(path, path+"2"))
	require.NoError(t, os.Symlink(path+"2", path))
	_, err = Open(state, "samples")
	require.ErrorIs(t, err, fault.Permission)
	assert.ErrorContains(t, err, path+" is a link")
}

// TestTrustLinks: links above the state directory are followed, and what they lead
// through is looked at as well; those that lead nowhere, or round, are errors.
func TestTrustLinks(t *testing.T) {
	dir := shared(t)
	open := filepath.Join(dir, "open")
	require.NoError(t, os.Mkdir(open, 0o700))
	require.NoError(t, os.Chmod(open, 0o777))
	require.NoError(t, os.Mkdir(filepath.Join(open, "state"), 0o700))
	require.NoError(t, os.Mkdir(filepath.Join(dir, "state"), 0o700))
	require.NoError(t, os.Symlink("state", filepath.Join(dir, "good")))
	require.NoError(t, os.Symlink("open/state", filepath.Join(dir, "bad")))
	require.NoError(t, os.Symlink("open", filepath.Join(dir, "worse")))
	require.NoError(t, os.Symlink("round", filepath.Join(dir, "round")))
	refusal(t, filepath.Join(dir, "good"), "", "")
	refusal(t, filepath.Join(dir, "bad"), open, "chmod go-w ")
	refusal(t, filepath.Join(dir, "worse", "state"), open, "chmod go-w ")
	refusal(t, filepath.Join(dir, "worse", "..", "state"), "", "") // as the caller wrote it, not as the link goes
	_, err := Open(filepath.Join(dir, "round", "state"))
	require.ErrorIs(t, err, fault.Unavailable)
	require.NoError(t, os.Chmod(open, 0o755))
	require.NoError(t, os.Chmod(filepath.Join(open, "state"), 0o777))
	refusal(t, filepath.Join(dir, "bad"), filepath.Join(open, "state"), "chmod go-w ")
	_, err = os.Stat(filepath.Join(dir, "round"))
	require.Error(t, err)
}

// ownedBy is a directory, or a link, of a user.
type ownedBy struct {
	fs.FileInfo
	user int
	mode fs.FileMode
}

func (o ownedBy) Mode() fs.FileMode { return o.mode | 0o755 }
func (o ownedBy) Sys() any          { return &syscall.Stat_t{Uid: uint32(o.user)} }

// TestTrustOwners: a directory or a link of another user is refused; one of root or of
// this user is not, nor one above whose owner has no number in this user namespace.
func TestTrustOwners(t *testing.T) {
	const me, other, nobody = 1000, 1001, 65534
	for _, c := range []struct {
		owner, unmapped int
		own             bool
		ok              bool
	}{
		{0, -1, true, true},
		{0, -1, false, true},
		{me, -1, true, true},
		{me, -1, false, true},
		{other, -1, true, false},
		{other, -1, false, false},
		{nobody, -1, false, false},
		{nobody, nobody, false, true},
		{nobody, nobody, true, false},
		{other, nobody, false, false},
	} {
		w := way{own: "/above/state", user: me, unmapped: c.unmapped}
		at := map[bool]string{true: "/above/state", false: "/above"}[c.own]
		err := w.check(at, ownedBy{user: c.owner, mode: fs.ModeDir})
		if c.ok {
			require.NoError(t, err, "%+v", c)
			continue
		}
		require.ErrorIs(t, err, fault.Permission, "%+v", c)
		if c.own {
			assert.Contains(t, fault.Hint("", err), "chown root "+at)
		} else {
			assert.Contains(t, fault.Hint("", err), "choose a state directory", "it may be somebody's home")
		}
	}
	w := way{own: "/above/state", user: me, unmapped: -1}
	err := w.follow("/above", "/above/state", ownedBy{user: other, mode: fs.ModeSymlink})
	require.ErrorIs(t, err, fault.Permission)
	assert.Contains(t, fault.Hint("", err), "chown -h root /above")
}

// TestNewDirectoryIsPrivate: what is made is this user's alone, whatever the umask is, and
// so are the files in it.
func TestNewDirectoryIsPrivate(t *testing.T) {
	state := filepath.Join(shared(t), "a", "state")
	s, err := Open(state, "samples")
	require.NoError(t, err)
	require.NoError(t, In(s, "samples", sample.name).Write(sampleOf("a")))
	unlock, err := s.Lock(t.Context(), "vm", "vm", "test")
	require.NoError(t, err)
	defer unlock()
	require.NoError(t, filepath.WalkDir(filepath.Dir(state), func(path string, entry fs.DirEntry, err error) error {
		require.NoError(t, err)
		info, err := entry.Info()
		require.NoError(t, err)
		assert.Zero(t, info.Mode().Perm()&0o077, path)
		return nil
	}))
}
