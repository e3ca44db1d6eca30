// Command several gives one VM several vGPUs, all or none, each on a GPU of its
// own where the host has enough of them:
//
//	several --domain vm.xml --type "NVIDIA L40S-48Q" --count 4
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"

	"github.com/vgpukit/vgpukit"
	"github.com/vgpukit/vgpukit/vgpu"
	"github.com/vgpukit/vgpukit/vgpu/placement"
)

func main() {
	file := flag.String("domain", "vm.xml", "libvirt domain document without vGPUs")
	typ := flag.String("type", "", "vGPU type, by id or name")
	count := flag.Int("count", 2, "how many vGPUs")
	connect := flag.String("connect", "", "libvirt URI")
	flag.Parse()
	if err := open(context.Background(), *connect, *file, *typ, *count); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func open(ctx context.Context, connect, file, typ string, count int) error {
	document, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	kit, err := vgpukit.Open(ctx, vgpukit.Config{URI: connect})
	if err != nil {
		return err
	}
	defer kit.Close()
	return several(ctx, kit.Manager, string(document), typ, count, os.Stdout)
}

func several(ctx context.Context, manager *vgpu.Manager, document string, typ string, count int, out io.Writer) error {
	req := vgpu.ProvisionRequest{Domain: document, Placement: placement.Options{AntiAffinity: true}}
	for range count {
		req.VGPUs = append(req.VGPUs, vgpu.Request{Type: typ})
	}
	vm, err := manager.Provision(ctx, req)
	if errors.Is(err, vgpu.ErrNoCapacity) {
		fmt.Fprintln(out, "too few GPUs to keep them apart; sharing:", err)
		req.Placement.AntiAffinity = false
		vm, err = manager.Provision(ctx, req)
	}
	if err != nil {
		return err
	}
	for _, v := range vm.VGPUs {
		fmt.Fprintf(out, "%s has %s on %s at %s\n", vm.Name, v.Type, v.GPU, v.Address)
	}
	return nil
}
