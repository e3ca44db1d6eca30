package statedir

import (
	"bufio"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vgpukit/vgpukit/internal/fault"
)

type line struct {
	PID, N int
	Pad    string
}

// lines reads a log of record, each line of which is to be whole.
func lines(t *testing.T, path string) (all []line) {
	t.Helper()
	file, err := os.Open(path)
	require.NoError(t, err)
	defer file.Close()
	scan := bufio.NewScanner(file)
	scan.Buffer(nil, mostOfRecord)
	for scan.Scan() {
		if scan.Text() == "" {
			continue
		}
		var l line
		require.NoError(t, json.Unmarshal(scan.Bytes(), &l), scan.Text())
		all = append(all, l)
	}
	require.NoError(t, scan.Err())
	return all
}

// TestRecordKeepsLinesWhole: of processes that append at the same time each has all its
// lines, whole and in order, and none is synced.
func TestRecordKeepsLinesWhole(t *testing.T) {
	s := open(t)
	var all []*other
	for range 4 {
		all = append(all, play(t, s, "record", io.Discard))
	}
	for _, o := range all {
		require.NoError(t, o.Wait())
	}
	next := map[int]int{}
	for _, l := range lines(t, filepath.Join(s.Path(), recordFile)) {
		assert.Equal(t, next[l.PID], l.N)
		next[l.PID]++
	}
	for _, o := range all {
		assert.Equal(t, recordLines, next[o.Process.Pid])
	}
	require.NoError(t, s.Record(line{}))
	assert.Zero(t, s.Syncs())
}

// TestRecordGoesOnAfterATornLine: what a full disk cut off spoils no other line.
func TestRecordGoesOnAfterATornLine(t *testing.T) {
	s := open(t)
	path := filepath.Join(s.Path(), recordFile)
	require.NoError(t, s.Record(line{N: 1}))
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, data[:len(data)-3], 0o600))
	require.NoError(t, s.Record(line{N: 2}))
	data, err = os.ReadFile(path)
	require.NoError(t, err)
	_, last, ok := strings.Cut(string(data), "\n")
	require.True(t, ok)
	assert.Equal(t, `{"PID":0,"N":2,"Pad":""}`+"\n", last)
}

// TestRecordRotates: it does not grow for ever, the one before is kept, and no line is lost
// in between.
func TestRecordRotates(t *testing.T) {
	s := open(t)
	path, old := filepath.Join(s.Path(), recordFile), filepath.Join(s.Path(), oldRecordFile)
	pad := strings.Repeat("x", 60<<10)
	n := 0
	for ; ; n++ {
		require.NoError(t, s.Record(line{N: n, Pad: pad}))
		if _, err := os.Lstat(old); err == nil {
			break
		}
		require.Less(t, n, 2*mostOfRecord/len(pad), "it is never rotated")
	}
	require.NoError(t, s.Record(line{N: n + 1}))
	all := append(lines(t, old), lines(t, path)...)
	require.Len(t, all, n+2)
	for i, l := range all {
		assert.Equal(t, i, l.N)
	}
	info, err := os.Lstat(old)
	require.NoError(t, err)
	assert.Less(t, info.Size(), int64(mostOfRecord+2*len(pad)))
	idle(t, s)
}

// TestRecordFollowsNothing: whatever stands in the log's place is an error that holds nobody
// up, and nothing is written through it.
func TestRecordFollowsNothing(t *testing.T) {
	target := filepath.Join(t.TempDir(), "target")
	require.NoError(t, os.WriteFile(target, nil, 0o600))
	for name, put := range map[string]func(path string) error{
		"link":      func(path string) error { return os.Symlink(target, path) },
		"fifo":      func(path string) error { return syscall.Mkfifo(path, 0o600) },
		"directory": func(path string) error { return os.Mkdir(path, 0o700) },
	} {
		s := open(t)
		require.NoError(t, put(filepath.Join(s.Path(), recordFile)))
		err := s.Record(line{})
		require.ErrorIs(t, err, fault.Unavailable, name)
		assert.Contains(t, fault.Hint("", err), "move away", name)
	}
	data, err := os.ReadFile(target)
	require.NoError(t, err)
	assert.Empty(t, data)
}
