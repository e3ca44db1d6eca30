package mdevtest_test

import (
	"io/fs"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/vgpukit/vgpukit/mdev/mdevtest"
)

// snapshot reads the whole tree: links by target, files by content or error.
func snapshot(t testing.TB, h *mdevtest.Host) map[string]string {
	t.Helper()
	all := make(map[string]string)
	var walk func(dir string)
	walk = func(dir string) {
		entries, err := h.ReadDir(dir)
		require.NoError(t, err)
		for _, e := range entries {
			name := dir + "/" + e.Name()
			switch {
			case e.IsDir():
				all[name] = "directory"
				walk(name)
			case e.Type()&fs.ModeSymlink != 0:
				target, err := h.Readlink(name)
				require.NoError(t, err)
				all[name] = "-> " + target
			case e.Type().IsRegular():
				b, err := h.ReadFile(name)
				if err != nil {
					all[name] = err.Error()
				} else {
					all[name] = string(b)
				}
			default:
				all[name] = e.Type().String()
			}
		}
	}
	walk(".")
	return all
}

// requireSame names what differs between two snapshots.
func requireSame(t testing.TB, before, after map[string]string) {
	t.Helper()
	for name, was := range before {
		if is, ok := after[name]; !ok {
			t.Errorf("%s is gone", name)
		} else if is != was {
			t.Errorf("%s is %q, was %q", name, is, was)
		}
	}
	for name := range after {
		if _, ok := before[name]; !ok {
			t.Errorf("%s is new", name)
		}
	}
	if t.Failed() {
		t.FailNow()
	}
}
