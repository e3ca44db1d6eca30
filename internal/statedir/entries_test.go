package statedir

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
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

// TestNames: any name that libvirt takes is a safe file name, and no two share one.
func TestNames(t *testing.T) {
	seen := map[string]string{}
	for _, name := range []string{"vm", "VM", "..", ".", "a b", "ä", "a.b", "a%2Eb", "-", strings.Repeat("x", 300), strings.Repeat("x", 299) + "y", "a\tb", ".tmp"} {
		file := fileName(name)
		assert.NotContains(t, file, "/")
		assert.NotContains(t, file, ".")
		assert.LessOrEqual(t, len(file), 200)
		assert.Empty(t, seen[file], "%q and %q", name, seen[file])
		seen[file] = name
	}
}
