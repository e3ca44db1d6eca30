package main

import (
	"io"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vgpukit/vgpukit/domain"
	"github.com/vgpukit/vgpukit/mdev"
	"github.com/vgpukit/vgpukit/mdev/mdevtest"
	"github.com/vgpukit/vgpukit/vgpu"
	"github.com/vgpukit/vgpukit/vgpu/vgputest"
)

// TestFirst: libvirt has the VM that was asked for, and it runs.
func TestFirst(t *testing.T) {
	sim, err := mdevtest.NewHost("tesla-m60") // a machine with a board of two GPUs
	require.NoError(t, err)
	libvirt := vgputest.New(sim) // the libvirt on it
	host, err := mdev.Open(mdev.Config{FS: sim})
	require.NoError(t, err)
	manager, err := vgpu.New(vgpu.Config{Host: host, Hypervisor: libvirt, StateDir: t.TempDir()})
	require.NoError(t, err)

	want := order{vm: "web1", typ: "GRID M60-8Q", count: 1, memory: 2048}
	require.NoError(t, want.run(t.Context(), manager, io.Discard))

	web1, err := libvirt.Info(t.Context(), "web1")
	require.NoError(t, err)
	assert.Equal(t, domain.StateRunning, web1.State)
}
