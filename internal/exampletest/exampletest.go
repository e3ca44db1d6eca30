// Package exampletest gives the example programs' tests what they run on: a
// simulated GPU host with the libvirt on it.
package exampletest

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/vgpukit/vgpukit/mdev"
	"github.com/vgpukit/vgpukit/mdev/mdevtest"
	"github.com/vgpukit/vgpukit/vgpu"
	"github.com/vgpukit/vgpukit/vgpu/vgputest"
)

// World is a simulated host, and what a program has of it.
type World struct {
	Sim     *mdevtest.Host
	Libvirt *vgputest.Hypervisor
	Host    *mdev.Host
	Manager *vgpu.Manager
}

// New is a world with these boards.
func New(t *testing.T, boards ...string) World {
	t.Helper()
	sim, err := mdevtest.NewHost(boards...)
	require.NoError(t, err)
	w := World{Sim: sim, Libvirt: vgputest.New(sim)}
	w.Host, err = mdev.Open(mdev.Config{FS: w.Sim})
	require.NoError(t, err)
	w.Manager, err = vgpu.New(vgpu.Config{Host: w.Host, Hypervisor: w.Libvirt, StateDir: t.TempDir()})
	require.NoError(t, err)
	return w
}

// Document is a small VM's.
func Document(name string) string {
	return fmt.Sprintf(`<domain type='kvm'>
  <name>%s</name>
  <memory unit='MiB'>64</memory>
  <os><type arch='x86_64' machine='q35'>hvm</type></os>
  <devices/>
</domain>`, name)
}
