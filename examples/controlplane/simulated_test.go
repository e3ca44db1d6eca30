package main

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/vgpukit/vgpukit/mdev"
	"github.com/vgpukit/vgpukit/mdev/mdevtest"
	"github.com/vgpukit/vgpukit/vgpu"
	"github.com/vgpukit/vgpukit/vgpu/vgputest"
)

// manage opens a simulated host with this board, and the libvirt on it.
func manage(t *testing.T, board string) (*vgpu.Manager, *vgputest.Hypervisor) {
	t.Helper()
	plugged, err := mdevtest.NewBoard(board)
	require.NoError(t, err)
	sim := mdevtest.New(plugged)
	host, err := mdev.Open(mdev.Config{FS: sim})
	require.NoError(t, err)
	libvirt := vgputest.New(sim)
	manager, err := vgpu.New(vgpu.Config{Host: host, Hypervisor: libvirt, StateDir: t.TempDir()})
	require.NoError(t, err)
	return manager, libvirt
}

// document is a small VM's.
func document(name string) string {
	return fmt.Sprintf(`<domain type='kvm'>
  <name>%s</name>
  <memory unit='MiB'>64</memory>
  <os><type arch='x86_64' machine='q35'>hvm</type></os>
  <devices/>
</domain>`, name)
}
