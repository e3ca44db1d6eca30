// Package exampletest gives the example programs' tests what they run on: a
// simulated GPU host and libvirt's own test driver.
package exampletest

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/vgpukit/vgpukit/domain/virt"
	"github.com/vgpukit/vgpukit/mdev"
	"github.com/vgpukit/vgpukit/mdev/mdevtest"
	"github.com/vgpukit/vgpukit/vgpu"
)

// Host is a simulated host with these boards.
func Host(t *testing.T, boards ...string) *mdev.Host {
	t.Helper()
	sim := mdevtest.New()
	for _, spec := range boards {
		board, err := mdevtest.NewBoard(spec)
		require.NoError(t, err)
		require.NoError(t, sim.Plug(board))
	}
	host, err := mdev.Open(mdev.Config{FS: sim})
	require.NoError(t, err)
	return host
}

// Manager works on the host and on libvirt's test driver.
func Manager(t *testing.T, host *mdev.Host) *vgpu.Manager {
	t.Helper()
	conn, err := virt.Open(t.Context(), virt.Config{URI: "test:///default"})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, conn.Close()) })
	manager, err := vgpu.New(vgpu.Config{Host: host, Hypervisor: conn, StateDir: t.TempDir()})
	require.NoError(t, err)
	return manager
}

// Document is a domain document that libvirt's test driver takes.
func Document(name string) string {
	return fmt.Sprintf(`<domain type='test'>
  <name>%s</name>
  <memory unit='MiB'>64</memory>
  <os><type arch='x86_64' machine='q35'>hvm</type></os>
  <devices/>
</domain>`, name)
}
