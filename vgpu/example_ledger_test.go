package vgpu_test

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/vgpukit/vgpukit/mdev"
	"github.com/vgpukit/vgpukit/mdev/mdevtest"
	"github.com/vgpukit/vgpukit/vgpu"
	"github.com/vgpukit/vgpukit/vgpu/vgputest"
)

// A program that removes vGPUs asks the ledger whose they are; libvirt need not be there.
func ExampleLedger() {
	sim, err := mdevtest.NewHost("mtty")
	check(err)
	host, err := mdev.Open(mdev.Config{FS: sim})
	check(err)
	dir, err := os.MkdirTemp("", "vgpukit-example")
	check(err)
	defer os.RemoveAll(dir)
	cfg := vgpu.Config{Host: host, Hypervisor: vgputest.New(sim), StateDir: dir + "/state", RuntimeDir: dir + "/run"}
	m, err := vgpu.New(cfg)
	check(err)
	ctx := context.Background()
	vm, err := m.Provision(ctx, vgpu.ProvisionRequest{Domain: machine("desktop"), VGPUs: []vgpu.Request{{Type: "mtty-1"}}})
	check(err)

	cfg.Hypervisor = nil
	ledger, err := vgpu.OpenLedger(cfg)
	check(err)
	id := vm.VGPUs[0].ID
	err = ledger.RemoveDevice(ctx, id, vgpu.RemoveOptions{})
	fmt.Println(errors.Is(err, vgpu.ErrInUse), vgpu.Hint(err))
	check(ledger.RemoveDevice(ctx, id, vgpu.RemoveOptions{Force: true}))
	fmt.Println(len(sim.Devices()), "left")
	// Output:
	// true tear the VM desktop down, or forget it; or remove the vGPU by force
	// 0 left
}
