//go:build cgo

package vgputest_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"

	"github.com/vgpukit/vgpukit/domain/virt"
	"github.com/vgpukit/vgpukit/mdev/mdevtest"
	"github.com/vgpukit/vgpukit/vgpu/vgputest"
)

// A test counts what its program asks of a libvirtd that makes two calls at a time.
func ExampleHypervisor_Messages() {
	libvirt := vgputest.New(mdevtest.New())
	libvirt.SetLimits(vgputest.Limits{Workers: 2})
	dir, err := os.MkdirTemp("", "libvirt")
	check(err)
	socket := filepath.Join(dir, "sock")
	l, err := net.Listen("unix", socket)
	check(err)
	ctx, end := context.WithCancel(context.Background())
	served := make(chan error)
	go func() { served <- libvirt.Serve(ctx, l) }()

	conn, err := virt.Open(ctx, virt.Config{URI: "qemu+unix:///system?socket=" + socket})
	check(err)
	_, err = conn.Define(ctx, webXML("web1"))
	check(err)
	libvirt.ResetCalls()
	info, err := conn.Info(ctx, "web1")
	check(err)
	fmt.Println(info.Name, "is", info.State)
	fmt.Println(libvirt.Messages())

	check(conn.Close())
	end()
	check(<-served)
	check(os.RemoveAll(dir))
	// Output:
	// web1 is shut off
	// map[virDomainIsPersistent:1 virDomainLookupByName:1]
}
