package vgpu

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func sampleRecord(vm string) record {
	return record{
		VM: vm, Operation: opProvision, Since: time.Now().UTC().Truncate(time.Second), PID: 42, Lifetime: Reserved,
		Devices: []device{{ID: "98d19132-f8f0-4d19-8743-9efa23e6c493", Type: "nvidia-22", Parent: "0000:05:00.0"}},
		Makes:   []string{"98d19132-f8f0-4d19-8743-9efa23e6c493"},
	}
}

// TestDamagedEntries: an entry that is cut off at any byte, or in which any bit
// changed, is never taken for a whole one, and the others are read all the same.
func TestDamagedEntries(t *testing.T) {
	s, err := openStore(t.TempDir())
	require.NoError(t, err)
	whole := sampleRecord("whole")
	require.NoError(t, s.begin(whole))
	data, err := sampleRecord("broken").encode()
	require.NoError(t, err)
	path := s.path(journalDir, "broken")
	check := func(t *testing.T, content []byte, what string, n int) {
		require.NoError(t, os.WriteFile(path, content, 0o600))
		records, damaged, err := s.all(journalDir)
		require.NoError(t, err)
		assert.Len(t, damaged, 1, "%s %d", what, n)
		assert.Equal(t, map[string]record{"whole": whole}, records, "%s %d", what, n)
	}
	trimmed := strings.TrimRight(string(data), "\n")
	for n := range len(trimmed) {
		check(t, data[:n], "cut at", n)
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
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
		records, damaged, err := s.all(journalDir)
		require.NoError(t, err)
		assert.Equal(t, whole, records["whole"])
		if len(damaged) == 0 { // white space between the fields means nothing
			assert.Equal(t, sampleRecord("broken").Devices, records["broken"].Devices, "bit of byte %d", n)
		}
	}
}

// TestDamagedEntryIsSetAside: Reconcile moves a damaged entry away, says so, and
// goes on with the others; the file is kept.
func TestDamagedEntryIsSetAside(t *testing.T) {
	r := newRig(t, "mtty")
	_, err := r.m.Provision(t.Context(), request("vm", "mtty-1", 1))
	require.NoError(t, err)
	before := r.world()
	require.NoError(t, os.WriteFile(r.m.store.path(journalDir, "broken"), []byte("{"), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(r.dir, claimsDir, "README"), []byte("hello"), 0o600))
	report, err := r.m.Reconcile(t.Context(), ReconcileOptions{})
	require.NoError(t, err)
	require.Len(t, report.Actions, 2)
	for _, a := range report.Actions {
		assert.Equal(t, ActionSetAside, a.Kind)
		assert.True(t, a.Done)
	}
	kept, err := os.ReadDir(filepath.Join(r.dir, damagedDir))
	require.NoError(t, err)
	assert.Len(t, kept, 2)
	for _, f := range kept {
		require.NoError(t, os.Remove(filepath.Join(r.dir, damagedDir, f.Name())))
	}
	assert.Equal(t, before, r.world())
}

// TestTemporaryFilesAreSwept: what a killed writer left goes at Reconcile, unless
// somebody is at work on that VM.
func TestTemporaryFilesAreSwept(t *testing.T) {
	r := newRig(t, "mtty")
	path := r.m.store.path(journalDir, "vm")
	temp := filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".tmp123")
	require.NoError(t, os.WriteFile(temp, []byte("half"), 0o600))
	unlock, err := r.m.store.lock(t.Context(), "vm", "vm", "test")
	require.NoError(t, err)
	report, err := r.m.Reconcile(t.Context(), ReconcileOptions{})
	require.NoError(t, err)
	require.Len(t, report.Actions, 1)
	assert.Equal(t, ReportBusy, report.Actions[0].Kind)
	assert.FileExists(t, temp)
	unlock()
	_, err = r.m.Reconcile(t.Context(), ReconcileOptions{})
	require.NoError(t, err)
	assert.NoFileExists(t, temp)
}

// TestUnwritableState: an operation is refused before anything is touched when its
// intent cannot be written.
func TestUnwritableState(t *testing.T) {
	r := newRig(t, "mtty")
	before := r.world()
	require.NoError(t, os.Rename(filepath.Join(r.dir, journalDir), filepath.Join(r.dir, "away")))
	_, err := r.m.Provision(t.Context(), request("vm", "mtty-1", 1))
	require.ErrorIs(t, err, ErrUnavailable)
	var e *Error
	require.ErrorAs(t, err, &e)
	assert.Contains(t, e.Hint(), r.dir)
	require.NoError(t, os.Rename(filepath.Join(r.dir, "away"), filepath.Join(r.dir, journalDir)))
	assert.Equal(t, before, r.world())
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
