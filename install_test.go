package vgpukit

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestMakeInstall: make install puts a vgpuctl that runs where it was told to, without NVIDIA's
// library and where programs are hardened by default.
func TestMakeInstall(t *testing.T) {
	dest := t.TempDir()
	cmd := exec.Command("make", "install", "DESTDIR="+dest, "PREFIX=/opt/vgpukit")
	cmd.Env = append(os.Environ(), "MAKEFLAGS=", "CGO_LDFLAGS=-Wl,-z,now") // not the flags of a make that runs the tests
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	program := filepath.Join(dest, "opt/vgpukit/bin/vgpuctl")
	info, err := os.Stat(program)
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o755), info.Mode())
	out, err = exec.Command(program, "--help").CombinedOutput()
	require.NoError(t, err, string(out))
	assert.Contains(t, string(out), "provision")
}
