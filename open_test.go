//go:build cgo

package vgpukit_test

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vgpukit/vgpukit"
	"github.com/vgpukit/vgpukit/domain"
	"github.com/vgpukit/vgpukit/mdev"
	"github.com/vgpukit/vgpukit/mdev/mdevtest"
	"github.com/vgpukit/vgpukit/vgpu"
)

// TestOpenFails: Open says what could not be opened in the words of the package
// that could not, and leaves no connection behind.
func TestOpenFails(t *testing.T) {
	t.Setenv("LIBVIRT_DEFAULT_URI", "test:///default")
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	for _, c := range []struct {
		what string
		cfg  vgpukit.Config
		kind error
	}{
		{"the host", vgpukit.Config{Root: filepath.Join(file, "none")}, mdev.ErrInvalid},
		{"libvirt", vgpukit.Config{FS: mdevtest.New(), URI: "xen:///"}, domain.ErrInvalid},
		{"a timeout, before libvirt is asked", vgpukit.Config{FS: mdevtest.New(), URI: "xen:///", Timeouts: vgpu.Timeouts{Call: -1}}, vgpu.ErrInvalid},
		{"the state directory", vgpukit.Config{FS: mdevtest.New(), StateDir: file}, syscall.ENOTDIR},
	} {
		kit, err := vgpukit.Open(t.Context(), c.cfg)
		assert.ErrorIs(t, err, c.kind, c.what)
		assert.Nil(t, kit, c.what)
		stacks := make([]byte, 1<<20)
		connected := func() bool { return strings.Contains(string(stacks[:runtime.Stack(stacks, true)]), "domain/virt.(*") }
		assert.Eventually(t, func() bool { return !connected() }, 10*time.Second, time.Millisecond, "%s: the connection is left", c.what)
	}
}

// TestOpenDefaults: what is left out is as in the packages, and all that is given
// gets to where it belongs.
func TestOpenDefaults(t *testing.T) {
	t.Setenv("LIBVIRT_DEFAULT_URI", "test:///default")
	board, err := mdevtest.NewBoard("mtty")
	require.NoError(t, err)
	steps := 0
	kit, err := vgpukit.Open(t.Context(), vgpukit.Config{
		FS: mdevtest.New(board), StateDir: t.TempDir(),
		Observer: vgpu.Observer{StepEnded: func(context.Context, vgpu.Step, error) { steps++ }},
	})
	require.NoError(t, err)
	assert.Equal(t, "test:///default", kit.Conn.URI())
	inventory, err := kit.Host.Inventory(t.Context())
	require.NoError(t, err)
	assert.Len(t, inventory.GPUs, 1)
	_, err = kit.Start(t.Context(), "nobody", vgpu.StartOptions{})
	require.ErrorIs(t, err, vgpu.ErrNotFound)
	assert.Positive(t, steps)
	require.NoError(t, kit.Close())
	require.NoError(t, kit.Close())
	_, err = kit.Conn.Domains(t.Context())
	require.ErrorIs(t, err, domain.ErrUnavailable)
}
