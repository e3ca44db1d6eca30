package vgputest_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/vgpukit/vgpukit/mdev/mdevtest"
	"github.com/vgpukit/vgpukit/vgpu/vgputest"
)

// An operator's virsh, in a process of its own, sees what a program did.
func ExampleHypervisor_Serve() {
	board, err := mdevtest.NewBoard("tesla-m60")
	check(err)
	libvirt := vgputest.New(mdevtest.New(board))

	dir, err := os.MkdirTemp("", "libvirt")
	check(err)
	socket := filepath.Join(dir, "sock")
	l, err := net.Listen("unix", socket)
	check(err)
	ctx, end := context.WithCancel(context.Background())
	served := make(chan error)
	go func() { served <- libvirt.Serve(ctx, l) }()

	_, err = libvirt.Define(ctx, webXML("web1"))
	check(err)
	virsh := exec.Command("virsh", "-c", "qemu+unix:///system?socket="+socket, "start web1; domstate --reason web1")
	said, err := virsh.CombinedOutput()
	fmt.Printf("%s", said)
	check(err)
	info, err := libvirt.Info(ctx, "web1")
	check(err)
	fmt.Println(info.Name, "is", info.State)

	end()
	check(<-served)
	check(os.RemoveAll(dir))
	// Output:
	// Domain 'web1' started
	//
	// running (booted)
	//
	// web1 is running
}
