package mdevtest_test

import (
	"errors"
	"fmt"
	"strings"
	"syscall"

	"github.com/vgpukit/vgpukit/mdev/mdevtest"
)

const (
	uuid1 = "11111111-1111-4111-8111-111111111111"
	uuid2 = "22222222-2222-4222-8222-222222222222"
)

func ExampleNew() {
	board, err := mdevtest.NewBoard("tesla-m60")
	if err != nil {
		panic(err)
	}
	host := mdevtest.New(board)

	fmt.Println(host.GPUs())
	const typ = "sys/class/mdev_bus/0000:05:00.0/mdev_supported_types/nvidia-22"
	text, _ := host.ReadFile(typ + "/description")
	fmt.Print(string(text))
	fmt.Println(host.WriteAttr(typ+"/create", []byte(uuid1)))
	fmt.Println(host.WriteAttr(typ+"/create", []byte(uuid2)))
	// Output:
	// [0000:05:00.0 0000:06:00.0]
	// num_heads=4, frl_config=60, framebuffer=8192M, max_resolution=5120x2880, max_instance=1
	// <nil>
	// write sys/class/mdev_bus/0000:05:00.0/mdev_supported_types/nvidia-22/create: input/output error
}

func ExampleNewBoard() {
	board, err := mdevtest.NewBoard("l40s@0001:41:00.0,numa=1,vfs=4")
	fmt.Println(board.Name, board.Address, board.NUMANode, board.VFs, board.VendorVFIO, err)
	// Output: l40s 0001:41:00.0 1 4 true <nil>
}

func ExampleBoards() {
	for _, name := range mdevtest.Boards() {
		if strings.HasPrefix(name, "a") {
			fmt.Println(name)
		}
	}
	// Output:
	// a10
	// a100
	// a100-mig
	// a100-sxm4
	// a10m
	// a16
	// a2
	// a40
	// ap-matrix
}

func ExampleBoard_Types() {
	board, err := mdevtest.NewBoard("a100,driver=535.154.02")
	if err != nil {
		panic(err)
	}
	types, err := board.Types()
	for _, t := range types {
		fmt.Println(t.ID, t.Name, t.Description.Framebuffer>>30, "GiB, at most", t.Description.MaxInstances)
	}
	fmt.Println(err)
	// Output:
	// nvidia-468 GRID A100-4C 4 GiB, at most 10
	// nvidia-469 GRID A100-5C 5 GiB, at most 8
	// nvidia-470 GRID A100-8C 8 GiB, at most 5
	// nvidia-471 GRID A100-10C 10 GiB, at most 4
	// nvidia-472 GRID A100-20C 20 GiB, at most 2
	// nvidia-473 GRID A100-40C 40 GiB, at most 1
	// nvidia-474 GRID A100-1-5C 5 GiB, at most 7
	// nvidia-475 GRID A100-2-10C 10 GiB, at most 3
	// nvidia-476 GRID A100-3-20C 20 GiB, at most 2
	// nvidia-477 GRID A100-4-20C 20 GiB, at most 1
	// nvidia-478 GRID A100-7-40C 40 GiB, at most 1
	// nvidia-706 GRID A100-1-5CME 5 GiB, at most 1
	// <nil>
}

func ExampleHost_Use() {
	board, _ := mdevtest.NewBoard("tesla-m60")
	host := mdevtest.New(board)
	host.SetKernel(5, 4) // which refuses where a newer one blocks
	const typ = "sys/class/mdev_bus/0000:05:00.0/mdev_supported_types/nvidia-18"
	if err := host.WriteAttr(typ+"/create", []byte(uuid1)); err != nil {
		panic(err)
	}
	release, err := host.Use(uuid1, "desk1", 4242)
	if err != nil {
		panic(err)
	}
	const device = "sys/bus/mdev/devices/" + uuid1
	name, _ := host.ReadFile(device + "/nvidia/vm_name")
	fmt.Print(string(name))
	fmt.Println(errors.Is(host.WriteAttr(device+"/remove", []byte("1")), syscall.EBUSY))
	release()
	fmt.Println(host.WriteAttr(device+"/remove", []byte("1")))
	// Output:
	// desk1
	// true
	// <nil>
}

func ExampleHost_Fail() {
	board, _ := mdevtest.NewBoard("mtty")
	host := mdevtest.New(board)
	const typ = "sys/class/mdev_bus/mtty/mdev_supported_types/mtty-1"

	undo := host.Fail(mdevtest.Fault{Op: mdevtest.OpWrite, Path: "create", Err: syscall.ENOMEM})
	fmt.Println(host.WriteAttr(typ+"/create", []byte(uuid1)))
	undo()

	// The process dies right after its write, which had its effect.
	undo = host.Fail(mdevtest.Fault{Op: mdevtest.OpWrite, After: true, Crash: true})
	fmt.Println(host.WriteAttr(typ+"/create", []byte(uuid1)) != nil)
	_, err := host.Stat("sys")
	fmt.Println(err != nil)
	undo()
	_, err = host.Stat("sys/bus/mdev/devices/" + uuid1)
	fmt.Println(err)
	// Output:
	// write sys/class/mdev_bus/mtty/mdev_supported_types/mtty-1/create: cannot allocate memory
	// true
	// true
	// <nil>
}

func ExampleHost_Run() {
	board, _ := mdevtest.NewBoard("a40,vfs=0")
	host := mdevtest.New(board)
	_, err := host.Stat("sys/bus/pci/devices/0000:41:00.4")
	fmt.Println(errors.Is(err, syscall.ENOENT))
	out, err := host.Run(ctx, "usr/lib/nvidia/sriov-manage", "-e", "ALL")
	fmt.Print(string(out))
	fmt.Println(err)
	_, err = host.Stat("sys/class/mdev_bus/0000:41:00.4")
	fmt.Println(err)
	// Output:
	// true
	// Enabling VFs on 0000:41:00.0
	// <nil>
	// <nil>
}
