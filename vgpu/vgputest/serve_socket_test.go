package vgputest_test

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vgpukit/vgpukit/mdev/mdevtest"
	"github.com/vgpukit/vgpukit/vgpu/vgputest"
)

const (
	vgpuID = "98d19132-f8f0-4d19-8743-9efa23e6c493"
	device = `<hostdev mode='subsystem' type='mdev' model='vfio-pci'><source><address uuid='` + vgpuID + `'/></source></hostdev>`

	patience = 20 * time.Second
)

func webXML(name string) string {
	return `<domain type='kvm'>
  <name>` + name + `</name>
  <uuid>c2177883-f1bb-47f0-914d-32a22e3a8804</uuid>
  <memory unit='MiB'>512</memory>
  <vcpu>2</vcpu>
  <os><type arch='x86_64' machine='q35'>hvm</type></os>
  <devices>
    <controller type='pci' index='0' model='pcie-root'/>
    <controller type='pci' index='1' model='pcie-root-port'>
      <address type='pci' domain='0x0000' bus='0x00' slot='0x08' function='0x0'/>
    </controller>
    <disk type='file' device='disk'><source file='/disk'/><target dev='sda' bus='sata'/></disk>
    <graphics type='vnc' passwd='s3cret'/>
  </devices>
</domain>`
}

// oneVGPU is a libvirt on a host with one vGPU.
func oneVGPU(t testing.TB) *vgputest.Hypervisor {
	board, err := mdevtest.NewBoard("tesla-m60@0000:05:00.0")
	require.NoError(t, err)
	sim := mdevtest.New(board)
	require.NoError(t, sim.WriteAttr("sys/class/mdev_bus/0000:05:00.0/mdev_supported_types/nvidia-22/create", []byte(vgpuID)))
	return vgputest.New(sim)
}

// serve returns the URI at which h is served until the test ends.
func serve(t testing.TB, h *vgputest.Hypervisor) (uri string) {
	dir, err := os.MkdirTemp("", "libvirt") // short, as a socket's path must be
	require.NoError(t, err)
	l, err := net.Listen("unix", filepath.Join(dir, "sock"))
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- h.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		assert.NoError(t, <-ended)
		assert.NoError(t, os.RemoveAll(dir))
	})
	return "qemu+unix:///system?socket=" + filepath.Join(dir, "sock")
}
