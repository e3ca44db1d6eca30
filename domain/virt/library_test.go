//go:build cgo && libvirt_dlopen

package virt

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vgpukit/vgpukit/domain"
)

// A host without libvirt's client library gets an error that names the package,
// not a crash, however often it tries.
func TestLibraryMissing(t *testing.T) {
	const child = "VIRT_TEST_WITHOUT_LIBRARY"
	if os.Getenv(child) == "1" {
		for range 2 {
			_, err := Open(context.Background(), Config{URI: "test:///default"})
			require.ErrorIs(t, err, domain.ErrUnavailable)
			fmt.Println(err, "|", err.(*Error).Hint())
		}
		return
	}
	dir := t.TempDir() // the loader finds this one first, and it is none
	require.NoError(t, os.WriteFile(filepath.Join(dir, "libvirt.so.0"), []byte("no library"), 0o600))
	self, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.CommandContext(within(t), self, "-test.run=^TestLibraryMissing$")
	cmd.Env = append(os.Environ(), child+"=1", "LD_LIBRARY_PATH="+dir)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	assert.Contains(t, string(out), "libvirt.so.0 is not on this host")
	assert.Contains(t, string(out), "apt-get install libvirt0")
}
