package atomicfile

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestTarget: a temporary file's name leads to its target; of any other name, however
// odd, it is told that it is none.
func TestTarget(t *testing.T) {
	for _, target := range []string{"a", "a.json", ".tmp", "a.tmp1", ".a.tmp", "a b", strings.Repeat("x", 200)} {
		got, ok := Target("/dir/." + target + ".tmp12345")
		assert.True(t, ok, target)
		assert.Equal(t, "/dir/"+target, got)
	}
	for _, name := range []string{
		"", ".", "..", ".tmp", ".tmp1", "tmp", "a", "a.tmp", "a.tmp1", "..", ".a", ".a.tm", ".a.tmpx", ".a.tmp", ".a.tmp1x", ".a.tmp-1", ".a.TMP1", "\x00", ".\n",
	} {
		_, ok := Target("/dir/" + name)
		assert.False(t, ok, "%q", name)
	}
}

// FuzzTarget: no name panics, and a target is never empty nor in another directory.
func FuzzTarget(f *testing.F) {
	for _, name := range []string{".tmp", ".a.tmp1", "..tmp", ".tmp.tmp"} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		target, ok := Target("/dir/" + strings.ReplaceAll(name, "/", "_"))
		if ok {
			assert.Equal(t, "/dir", filepath.Dir(target))
			assert.Greater(t, len(target), len("/dir/"))
		}
	})
}

// TestWriteThroughNothing: what stands at the path is replaced, whatever it is: a link
// is not followed, and a FIFO does not hold the writer up.
func TestWriteThroughNothing(t *testing.T) {
	dir := t.TempDir()
	other := filepath.Join(dir, "other")
	require.NoError(t, os.WriteFile(other, []byte("theirs"), 0o600))
	for name, put := range map[string]func(path string) error{
		"link":         func(path string) error { return os.Symlink(other, path) },
		"broken link":  func(path string) error { return os.Symlink("/nowhere/at/all", path) },
		"fifo":         func(path string) error { return syscall.Mkfifo(path, 0o600) },
		"another file": func(path string) error { return os.WriteFile(path, []byte("old"), 0o666) },
	} {
		path := filepath.Join(dir, name)
		require.NoError(t, put(path))
		require.NoError(t, Write(path, []byte("ours"), 0o600), name)
		info, err := os.Lstat(path)
		require.NoError(t, err)
		assert.Equal(t, fs.FileMode(0o600), info.Mode(), name)
		data, err := os.ReadFile(path)
		require.NoError(t, err)
		assert.Equal(t, "ours", string(data), name)
	}
	data, err := os.ReadFile(other)
	require.NoError(t, err)
	assert.Equal(t, "theirs", string(data))
}

// TestFailedWriteLeavesNothing: a write that fails leaves neither a temporary file nor
// a change.
func TestFailedWriteLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "taken")
	require.NoError(t, os.MkdirAll(filepath.Join(path, "below"), 0o700))
	require.Error(t, Write(path, []byte("ours"), 0o600))
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	assert.Len(t, entries, 1)
}

// TestCreateOverwritesNothing: whatever stands at the path stays, and the error says that
// something does; otherwise the file is there, whole, under one name, of the mode asked for.
func TestCreateOverwritesNothing(t *testing.T) {
	dir := t.TempDir()
	for name, put := range map[string]func(path string) error{
		"link":         func(path string) error { return os.Symlink("nowhere", path) },
		"fifo":         func(path string) error { return syscall.Mkfifo(path, 0o600) },
		"directory":    func(path string) error { return os.Mkdir(path, 0o700) },
		"another file": func(path string) error { return os.WriteFile(path, []byte("old"), 0o600) },
	} {
		path := filepath.Join(dir, name)
		require.NoError(t, put(path))
		before, err := os.Lstat(path)
		require.NoError(t, err)
		require.ErrorIs(t, new(Files).Create(path, []byte("ours"), 0o640), fs.ErrExist, name)
		after, err := os.Lstat(path)
		require.NoError(t, err)
		assert.True(t, os.SameFile(before, after), name)
	}
	path := filepath.Join(dir, "free")
	require.NoError(t, new(Files).Create(path, []byte("ours"), 0o640))
	info, err := os.Lstat(path)
	require.NoError(t, err)
	assert.Equal(t, fs.FileMode(0o640), info.Mode())
	assert.EqualValues(t, 1, info.Sys().(*syscall.Stat_t).Nlink)
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	assert.Len(t, left, 5, "no temporary file is left")
}

// TestSyncs: a write is two syncs, what need not outlive a loss of power is none.
func TestSyncs(t *testing.T) {
	var f Files
	path := filepath.Join(t.TempDir(), "file")
	require.NoError(t, f.Create(path, []byte("1"), 0o600))
	require.NoError(t, f.Put(path, []byte("2"), 0o600))
	assert.Zero(t, f.Syncs())
	require.NoError(t, f.Write(path, []byte("3"), 0o600))
	assert.EqualValues(t, 2, f.Syncs())
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.Equal(t, "3", string(data))
}
