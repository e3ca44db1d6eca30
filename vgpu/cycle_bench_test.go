//go:build cgo

package vgpu_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"libvirt.org/go/libvirt"

	"github.com/vgpukit/vgpukit/domain/virt"
	"github.com/vgpukit/vgpukit/mdev"
	"github.com/vgpukit/vgpukit/mdev/mdevtest"
	"github.com/vgpukit/vgpukit/vgpu"
)

const cycleDomain = `<domain type='test'>
  <name>%s</name>
  <memory unit='MiB'>64</memory>
  <os><type arch='x86_64' machine='q35'>hvm</type></os>
  <devices>%s</devices>
</domain>`

func cycleSim(b *testing.B) *mdevtest.Host {
	b.Helper()
	board, err := mdevtest.NewBoard("mtty")
	require.NoError(b, err)
	return mdevtest.New(board)
}

// BenchmarkCycle brings a VM with one vGPU from nothing to running and back, on
// libvirt's test driver and a simulated host: through the Manager, and by the same
// libvirt calls and writes alone. The state directory is in memory where there is
// a place for it, so that what is compared is work and not the disk's fsync; the
// last variant has it on disk.
func BenchmarkCycle(b *testing.B) {
	b.Run("bare", func(b *testing.B) {
		sim := cycleSim(b)
		conn, err := libvirt.NewConnect("test:///default")
		require.NoError(b, err)
		defer conn.Close()
		hostdev := `<hostdev mode='subsystem' type='mdev' model='vfio-pci'><source><address uuid='%s'/></source><address type='pci' slot='0x08'/></hostdev>`
		n := 0
		for b.Loop() {
			n++
			id := uuid.NewString()
			must(b, sim.WriteAttr("sys/class/mdev_bus/mtty/mdev_supported_types/mtty-1/create", []byte(id)))
			dom, err := conn.DomainDefineXML(fmt.Sprintf(cycleDomain, fmt.Sprintf("bare-%d", n), fmt.Sprintf(hostdev, id)))
			must(b, err)
			must(b, dom.Create())
			must(b, dom.Destroy())
			must(b, dom.Undefine())
			must(b, dom.Free())
			must(b, sim.WriteAttr("sys/bus/mdev/devices/"+id+"/remove", []byte("1")))
		}
	})
	memory := os.TempDir()
	if _, err := os.Stat("/dev/shm"); err == nil {
		memory = "/dev/shm"
	}
	for name, where := range map[string]string{"manager": memory, "manager, on disk": os.TempDir()} {
		b.Run(name, func(b *testing.B) {
			dir, err := os.MkdirTemp(where, "vgpukit-bench")
			require.NoError(b, err)
			defer os.RemoveAll(dir)
			host, err := mdev.Open(mdev.Config{FS: cycleSim(b)})
			require.NoError(b, err)
			conn, err := virt.Open(b.Context(), virt.Config{URI: "test:///default"})
			require.NoError(b, err)
			defer conn.Close()
			m, err := vgpu.New(vgpu.Config{Host: host, Hypervisor: conn, StateDir: dir})
			require.NoError(b, err)
			down := vgpu.StopOptions{SkipGuest: true}
			n := 0
			for b.Loop() {
				n++
				vm := fmt.Sprintf("%s-%d", strings.ReplaceAll(name, ", ", "-"), n)
				_, err := m.Provision(b.Context(), vgpu.ProvisionRequest{
					Domain: fmt.Sprintf(cycleDomain, vm, ""),
					VGPUs:  []vgpu.Request{{Type: "mtty-1", Parent: "mtty", Address: "0000:00:08.0"}},
				})
				must(b, err)
				_, err = m.Start(b.Context(), vm, vgpu.StartOptions{})
				must(b, err)
				_, err = m.Stop(b.Context(), vm, down)
				must(b, err)
				must(b, m.Teardown(b.Context(), vm, vgpu.TeardownOptions{Stop: down}))
			}
		})
	}
}

func must(b *testing.B, err error) {
	if err != nil {
		b.Fatal(err)
	}
}
