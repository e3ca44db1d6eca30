// Command provision gives an existing domain document a vGPU at a guest address,
// defines the VM and starts it:
//
//	provision --domain vm.xml --type nvidia-22 --address 0000:00:08.0
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"

	"github.com/vgpukit/vgpukit"
	"github.com/vgpukit/vgpukit/vgpu"
)

func main() {
	file := flag.String("domain", "vm.xml", "libvirt domain document without vGPUs")
	typ := flag.String("type", "", "vGPU type, by id or name")
	address := flag.String("address", "", "guest PCI address; empty: the planner chooses")
	connect := flag.String("connect", "", "libvirt URI")
	flag.Parse()
	ctx := context.Background()
	if err := open(ctx, *connect, *file, vgpu.Request{Type: *typ, Address: *address}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func open(ctx context.Context, connect, file string, want vgpu.Request) error {
	document, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	kit, err := vgpukit.Open(ctx, vgpukit.Config{URI: connect})
	if err != nil {
		return err
	}
	defer kit.Close()
	return provision(ctx, kit.Manager, string(document), want, os.Stdout)
}

func provision(ctx context.Context, manager *vgpu.Manager, document string, want vgpu.Request, out io.Writer) error {
	vm, err := manager.Provision(ctx, vgpu.ProvisionRequest{Domain: document, VGPUs: []vgpu.Request{want}})
	if err != nil {
		return err
	}
	if vm, err = manager.Start(ctx, vm.Name, vgpu.StartOptions{}); err != nil {
		return err
	}
	v := vm.VGPUs[0]
	fmt.Fprintf(out, "%s is %s with %s of %s at %s\n", vm.Name, vm.State, v.Type, v.Parent, v.Address)
	return nil
}
