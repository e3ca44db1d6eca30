package statedir

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// sample is something to store.
type sample struct {
	Name    string
	Devices []string
	Since   time.Time
}

func (s sample) name() string { return s.Name }

func sampleOf(name string) sample {
	return sample{Name: name, Devices: []string{"98d19132-f8f0-4d19-8743-9efa23e6c493", "0000:05:00.0"}, Since: time.Now().UTC().Truncate(time.Second)}
}

// TestDamagedEntries: an entry that is cut off at any byte, or in which any bit
// changed, is never taken for a whole one, and the others are read all the same.
func TestDamagedEntries(t *testing.T) {
	dir, err := Open(t.TempDir(), "samples")
	require.NoError(t, err)
	s := In(dir, "samples", sample.name)
	whole, broken := sampleOf("whole"), sampleOf("broken")
	require.NoError(t, s.Write(whole))
	data, err := seal(broken)
	require.NoError(t, err)
	path := s.Path("broken")
	check := func(t *testing.T, content []byte, what string, n int) {
		require.NoError(t, os.WriteFile(path, content, 0o600))
		entries, damaged, err := s.All()
		require.NoError(t, err)
		assert.Len(t, damaged, 1, "%s %d", what, n)
		assert.Equal(t, map[string]sample{"whole": whole}, entries, "%s %d", what, n)
	}
	trimmed := strings.TrimRight(string(data), "\n")
	for n := range len(trimmed) {
		check(t, data[:n], "cut at", n)
	}
	seed := rand.Uint64()
	if text := os.Getenv("VGPUKIT_SEED"); text != "" {
		_, err := fmt.Sscan(text, &seed)
		require.NoError(t, err, "VGPUKIT_SEED")
	}
	t.Logf("VGPUKIT_SEED=%d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	for n := range 500 {
		noise := make([]byte, rng.IntN(2*len(data)))
		for i := range noise {
			noise[i] = byte(rng.Uint32())
		}
		check(t, noise, "noise", n)
	}
	for n := range len(trimmed) {
		flipped := []byte(string(data))
		flipped[n] ^= 1 << rng.IntN(8)
		require.NoError(t, os.WriteFile(path, flipped, 0o600))
		entries, damaged, err := s.All()
		require.NoError(t, err)
		assert.Equal(t, whole, entries["whole"])
		if len(damaged) == 0 { // white space between the fields means nothing
			assert.Equal(t, broken.Devices, entries["broken"].Devices, "bit of byte %d", n)
		}
	}
}

// TestNames: any name that libvirt takes is a safe file name, and no two share one, not
// even one that reads like another that was cut.
func TestNames(t *testing.T) {
	long := strings.Repeat("x", 300)
	names := []string{
		"vm", "VM", "..", ".", "a b", "ä", "a.b", "a%2Eb", "-", ",", "a,b", long, long[:299] + "y", "a\tb", ".tmp", strings.Repeat("虚", 20),
	}
	for _, name := range names { // and what their files are called, as names
		names = append(names, fileName(name), formerFileName(name), fileName(name)+entrySuffix)
	}
	names = append(names, fileName(fileName(long)))
	slices.Sort(names)
	seen := map[string]string{}
	for _, name := range slices.Compact(names) {
		file := fileName(name)
		assert.NotContains(t, file, "/")
		assert.NotContains(t, file, ".")
		assert.LessOrEqual(t, len(file), 200)
		assert.Empty(t, seen[file], "%q and %q", name, seen[file])
		seen[file] = name
	}
}

// TestFormerNames: entries of long names that an earlier version wrote are found; those
// of others whose names read like such a one stay as they are, and neither takes the
// other's place.
func TestFormerNames(t *testing.T) {
	dir, err := Open(t.TempDir(), "samples")
	require.NoError(t, err)
	s := In(dir, "samples", sample.name)
	var long []sample
	for _, name := range []string{strings.Repeat("虚拟机", 20), strings.Repeat("x", 151), strings.Repeat("x", 150) + "y"} {
		long = append(long, sampleOf(name))
		require.NoError(t, s.Write(sampleOf(name)))
		require.NoError(t, os.Rename(s.Path(name), s.path(formerFileName(name))))
	}
	like := sampleOf(strings.Repeat("y", cutName) + "-" + strings.Repeat("0", 2*sumSize))
	damaged := s.path(strings.Repeat("z", cutName) + "-" + strings.Repeat("0", 2*sumSize))
	require.NoError(t, s.Write(like))
	require.NoError(t, os.WriteFile(damaged, []byte("{"), 0o600))
	require.NoError(t, s.Upgrade())
	want := map[string]sample{like.Name: like}
	for _, l := range long {
		want[l.Name] = l
		twin := sampleOf(formerFileName(l.Name)) // may be a VM's name too
		require.NoError(t, s.Write(twin))
		want[twin.Name] = twin
	}
	for range 2 {
		all, unread, err := s.All()
		require.NoError(t, err)
		assert.Equal(t, want, all)
		assert.Len(t, unread, 1)
		assert.Contains(t, unread, damaged)
		for name := range want {
			got, ok, err := s.Read(name)
			require.NoError(t, err)
			assert.True(t, ok)
			assert.Equal(t, want[name], got)
		}
		require.NoError(t, s.Upgrade())
	}
}

// TestOddFiles: whatever stands in a place, of any name and kind, is told or passed over,
// holds nobody up, and can be set aside.
func TestOddFiles(t *testing.T) {
	kinds := map[string]func(path string) error{
		"file":      func(path string) error { return os.WriteFile(path, []byte("{"), 0o600) },
		"directory": func(path string) error { return os.MkdirAll(filepath.Join(path, "below"), 0o700) },
		"link":      func(path string) error { return os.Symlink("whole.json", path) },
		"loop":      func(path string) error { return os.Symlink(filepath.Base(path), path) },
		"fifo":      func(path string) error { return syscall.Mkfifo(path, 0o600) },
		"large": func(path string) error {
			return errors.Join(os.WriteFile(path, nil, 0o600), os.Truncate(path, mostOfFile+1))
		},
		"socket": func(path string) error {
			fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
			if err != nil {
				return err
			}
			defer syscall.Close(fd)
			t.Chdir(filepath.Dir(path)) // an address is short
			return syscall.Bind(fd, &syscall.SockaddrUnix{Name: filepath.Base(path)})
		},
	}
	for _, name := range []string{
		".tmp", ".tmp1", "tmp", ".json", "x", "x.json", ".x.json.tmp1", ".x.json.tmp", "..tmp1", "a\nb.json", "\xff.json", " ", "%2F.json",
		strings.Repeat("n", 255), strings.Repeat("n", 250) + ".json", "." + strings.Repeat("n", 249) + ".tmp1",
	} {
		for kind, put := range kinds {
			if kind == "socket" && len(name) > 100 {
				continue
			}
			dir, err := Open(t.TempDir(), "samples")
			require.NoError(t, err)
			s := In(dir, "samples", sample.name)
			whole := sampleOf("whole")
			require.NoError(t, s.Write(whole))
			path := filepath.Join(dir.path, "samples", name)
			require.NoError(t, put(path), "%q %s", name, kind)

			require.NoError(t, s.Upgrade())
			all, unread, err := s.All()
			require.NoError(t, err)
			assert.Equal(t, map[string]sample{"whole": whole}, all, "%q %s", name, kind)
			leftovers, err := dir.Leftovers("samples")
			require.NoError(t, err)
			unlock, ok := dir.TryLockOf("vm", path, "test")
			require.True(t, ok, "%q %s", name, kind)
			unlock()
			if len(leftovers) > 0 {
				assert.Equal(t, []string{path}, leftovers)
				assert.Empty(t, unread)
				require.NoError(t, os.Remove(path), "%q %s", name, kind)
				continue
			}
			var damaged *Damaged
			require.ErrorAs(t, unread[path], &damaged, "%q %s", name, kind)
			to, err := dir.SetAside(damaged)
			require.NoError(t, err, "%q %s", name, kind)
			_, err = os.Lstat(to)
			require.NoError(t, err)
			_, unread, err = s.All()
			require.NoError(t, err)
			assert.Empty(t, unread)
		}
	}
}
