//go:build cgo

package vgpukit_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"

	"github.com/vgpukit/vgpukit"
	"github.com/vgpukit/vgpukit/mdev"
	"github.com/vgpukit/vgpukit/mdev/mdevtest"
	"github.com/vgpukit/vgpukit/vgpu"
)

// A VM with a vGPU, from its document to its end. A program opens
// vgpukit.Config{}: this host with its libvirt.
func ExampleOpen() {
	ctx := context.Background()
	board, err := mdevtest.NewBoard("tesla-m60@0000:05:00.0")
	check(err)
	dir, err := os.MkdirTemp("", "vgpukit-example")
	check(err)
	defer os.RemoveAll(dir)

	kit, err := vgpukit.Open(ctx, vgpukit.Config{FS: mdevtest.New(board), URI: "test:///default", StateDir: dir})
	check(err)
	defer kit.Close()

	document := `<domain type='test'>
  <name>vm</name>
  <memory unit='MiB'>64</memory>
  <os><type arch='x86_64' machine='q35'>hvm</type></os>
  <devices/>
</domain>`
	vm, err := kit.Provision(ctx, vgpu.ProvisionRequest{
		Domain: document,
		VGPUs:  []vgpu.Request{{Type: "GRID M60-8Q", Address: "0000:00:08.0"}},
	})
	check(err)
	vm, err = kit.Start(ctx, vm.Name, vgpu.StartOptions{})
	check(err)
	fmt.Println(vm.Name, "is", vm.State, "with a vGPU of", vm.VGPUs[0].Parent)

	check(kit.Teardown(ctx, vm.Name, vgpu.TeardownOptions{}))
	_, err = kit.Host.Find(ctx, vm.VGPUs[0].ID)
	fmt.Println("and then it is gone:", errors.Is(err, mdev.ErrNotFound))
	// Output:
	// vm is running with a vGPU of 0000:05:00.0
	// and then it is gone: true
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
