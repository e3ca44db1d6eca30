package main

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/vgpukit/vgpukit"
	"github.com/vgpukit/vgpukit/mdev/mdevtest"
	"github.com/vgpukit/vgpukit/vgpu"
)

// manage opens a simulated host with this board, and libvirt's own test driver.
func manage(t *testing.T, board string) *vgpu.Manager {
	t.Helper()
	plugged, err := mdevtest.NewBoard(board)
	require.NoError(t, err)
	kit, err := vgpukit.Open(t.Context(), vgpukit.Config{FS: mdevtest.New(plugged), URI: "test:///default", StateDir: t.TempDir()})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, kit.Close()) })
	return kit.Manager
}

// document is a domain document that libvirt's test driver takes.
func document(name string) string {
	return fmt.Sprintf(`<domain type='test'>
  <name>%s</name>
  <memory unit='MiB'>64</memory>
  <os><type arch='x86_64' machine='q35'>hvm</type></os>
  <devices/>
</domain>`, name)
}
