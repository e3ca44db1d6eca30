package mdev_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"syscall"

	"github.com/google/uuid"

	"github.com/vgpukit/vgpukit/mdev"
	"github.com/vgpukit/vgpukit/mdev/mdevtest"
)

// exampleHost is a host with a Tesla M60 board, for the examples. Yours is
// mdev.Open(mdev.Config{}).
func exampleHost(specs ...string) (*mdev.Host, *mdevtest.Host) {
	sim := mdevtest.New()
	for _, spec := range specs {
		board, err := mdevtest.NewBoard(spec)
		if err != nil {
			panic(err)
		}
		if err := sim.Plug(board); err != nil {
			panic(err)
		}
	}
	host, err := mdev.Open(mdev.Config{FS: sim})
	if err != nil {
		panic(err)
	}
	return host, sim
}

func Example() {
	ctx := context.Background()
	host, _ := exampleHost("tesla-m60")
	inventory, err := host.Inventory(ctx)
	if err != nil {
		panic(err)
	}
	fmt.Println(len(inventory.GPUs), "GPUs")
	made, err := host.Create(ctx, mdev.CreateRequest{Type: "GRID M60-8Q"})
	if err != nil {
		panic(err)
	}
	fmt.Println(made.Type, "on", made.Parent)
	fmt.Println(host.Remove(ctx, made.ID))
	// Output:
	// 2 GPUs
	// nvidia-22 on 0000:05:00.0
	// <nil>
}

func ExampleOpen() {
	// A container that has the host's /sys, /dev and /proc under /host.
	host, err := mdev.Open(mdev.Config{Root: "/host"})
	var e *mdev.Error
	if errors.As(err, &e) {
		fmt.Println(e)
		fmt.Println(e.Hint())
	}
	_ = host
	// Output:
	// open host /host: there is no such root (ENOENT)
	// name a directory that holds sys/, dev/ and proc/
}

func ExampleHost_Inventory() {
	host, _ := exampleHost("a40,vfs=4")
	inventory, err := host.Inventory(context.Background())
	if err != nil {
		panic(err)
	}
	for _, gpu := range inventory.GPUs {
		fmt.Println(gpu.Name, gpu.PCI.Vendor+":"+gpu.PCI.Device, len(gpu.Parents), "parents")
		for _, c := range gpu.Capacity[:3] {
			fmt.Printf("%s (%s): %d of %d\n", c.Name, c.Type, c.Available, c.Max)
		}
	}
	// Output:
	// 0000:41:00.0 10de:2235 4 parents
	// NVIDIA A40-1B (nvidia-555): 4 of 32
	// NVIDIA A40-2B (nvidia-556): 4 of 24
	// NVIDIA A40-1Q (nvidia-557): 4 of 32
}

// A list that a running vGPU has cut down is not the whole offer.
func ExampleInventory_MayOffer() {
	ctx := context.Background()
	host, _ := exampleHost("l40s,vfs=4")
	if _, err := host.Create(ctx, mdev.CreateRequest{Type: "NVIDIA L40S-1Q"}); err != nil {
		panic(err)
	}
	inventory, err := host.Inventory(ctx)
	if err != nil {
		panic(err)
	}
	fmt.Println(len(inventory.GPUs[0].Parents[1].Types), "types are listed")
	fmt.Println(inventory.MayOffer("NVIDIA L40S-2Q"), inventory.MayOffer("NVIDIA M60-2Q"))
	// Output:
	// 3 types are listed
	// true false
}

func ExampleInventory_AllProblems() {
	host, sim := exampleHost("mtty")
	sim.Fail(mdevtest.Fault{Op: mdevtest.OpReadDir, Path: "mdev_supported_types", Err: syscall.EACCES})
	inventory, err := host.Inventory(context.Background())
	if err != nil {
		panic(err)
	}
	for _, problem := range inventory.AllProblems() {
		fmt.Println(problem)
	}
	// Output: read sys/devices/virtual/mtty/mtty/mdev_supported_types: no permission (EACCES); the file belongs to root; run as root
}

func ExampleHost_Create() {
	ctx := context.Background()
	host, _ := exampleHost("tesla-m60")
	request := mdev.CreateRequest{
		Type:   "GRID M60-2Q",
		UUID:   uuid.MustParse("5b1d8c8e-0a51-4a52-9d3c-5a0c3d9d6a01"),
		Params: []mdev.Param{{Name: "vgpu_params", Value: "frame_rate_limiter=0"}},
	}
	for range 2 {
		made, err := host.Create(ctx, request)
		fmt.Println(made.ID, made.State, made.Existed, err)
	}
	_, err := host.Create(ctx, mdev.CreateRequest{Type: "GRID M60-2q"})
	var e *mdev.Error
	if errors.As(err, &e) {
		fmt.Println(e)
		fmt.Println(e.Hint())
	}
	// Output:
	// 5b1d8c8e-0a51-4a52-9d3c-5a0c3d9d6a01 ready false <nil>
	// 5b1d8c8e-0a51-4a52-9d3c-5a0c3d9d6a01 ready true <nil>
	// create GRID M60-2q: no parent offers such a type
	// did you mean GRID M60-2Q?
}

// A virtual function of the vendor-specific VFIO framework is a device by its
// PCI address.
func ExampleHost_Create_vendorVFIO() {
	ctx := context.Background()
	host, _ := exampleHost("l40s,vfs=4")
	made, err := host.Create(ctx, mdev.CreateRequest{Type: "NVIDIA L40S-12Q"})
	fmt.Println(made.ID, made.Framework, made.Type, err)
	fmt.Println(host.Remove(ctx, made.ID))
	// Output:
	// 0000:41:00.4 vendor-vfio 1153 <nil>
	// <nil>
}

func ExampleHost_Remove() {
	ctx := context.Background()
	host, sim := exampleHost("tesla-m60")
	made, err := host.Create(ctx, mdev.CreateRequest{Type: "GRID M60-8Q", UUID: uuid.MustParse("5b1d8c8e-0a51-4a52-9d3c-5a0c3d9d6a01")})
	if err != nil {
		panic(err)
	}
	stop, err := sim.Use(made.ID, "desk1", 4242)
	if err != nil {
		panic(err)
	}
	err = host.Remove(ctx, made.ID)
	fmt.Println(errors.Is(err, mdev.ErrInUse))
	fmt.Println(err)
	stop()
	fmt.Println(host.Remove(ctx, made.ID))
	// Output:
	// true
	// remove 5b1d8c8e-0a51-4a52-9d3c-5a0c3d9d6a01: the device is in use by VM "desk1" (pid 4242) (EBUSY)
	// <nil>
}

func ExampleHost_Device() {
	ctx := context.Background()
	host, _ := exampleHost("mdpy")
	made, err := host.Create(ctx, mdev.CreateRequest{Type: "mdpy-xga"})
	if err != nil {
		panic(err)
	}
	dev, err := host.Device(ctx, made.ID)
	fmt.Println(dev.TypeName, dev.Parent, dev.VFIONode, err)
	_, err = host.Device(ctx, "mdpy")
	fmt.Println(errors.Is(err, mdev.ErrInvalid))
	// Output:
	// mdpy-xga mdpy /dev/vfio/0 <nil>
	// true
}

func ExampleHost_SetVFs() {
	ctx := context.Background()
	host, _ := exampleHost("a40,vfs=32")
	none, err := host.SetVFs(ctx, "0000:41:00.0", 0)
	fmt.Println(none.Enabled, "of", none.Total, err)
	all, err := host.SetVFs(ctx, "0000:41:00.0", mdev.AllVFs)
	fmt.Println(all.Enabled, "of", all.Total, all.VFs[0], err)
	// Output:
	// 0 of 32 <nil>
	// 32 of 32 0000:41:00.4 <nil>
}

func ExampleHost_PlanVFs() {
	host, _ := exampleHost("a40,vfs=32")
	plan, err := host.PlanVFs(context.Background(), "0000:41:00.0", 0)
	if err != nil {
		panic(err)
	}
	_ = json.NewEncoder(os.Stdout).Encode(plan)
	// Output: {"gpu":"0000:41:00.0","from":32,"to":0,"tool":"sriov-manage","wipes":["mixed-size mode, if it is on"],"blockers":[]}
}

func ExampleHost_Watch() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	host, _ := exampleHost("mtty")
	changes, err := host.Watch(ctx)
	if err != nil {
		panic(err)
	}
	fmt.Println((<-changes).Kind)
	made, err := host.Create(ctx, mdev.CreateRequest{Type: "mtty-2"})
	if err != nil {
		panic(err)
	}
	change := <-changes
	fmt.Println(change.Kind, change.Device.ID == made.ID, change.Device.Type)
	// Output:
	// scanned
	// device-added true mtty-2
}

func ExampleParsePCIAddress() {
	address, err := mdev.ParsePCIAddress("0001:41:1f.7")
	fmt.Println(address, address.Domain, address.Slot, err)
	// Output: 0001:41:1f.7 1 31 <nil>
}

func ExampleHost_Find() {
	ctx := context.Background()
	host, _ := exampleHost("tesla-m60")
	made, err := host.Create(ctx, mdev.CreateRequest{Type: "GRID M60-2Q"})
	if err != nil {
		panic(err)
	}
	device, err := host.Find(ctx, made.ID)
	fmt.Println(device.TypeName, device.State, err)
	_, err = host.Find(ctx, "98d19132-f8f0-4d19-8743-9efa23e6c493")
	fmt.Println(errors.Is(err, mdev.ErrNotFound))
	// Output:
	// GRID M60-2Q ready <nil>
	// true
}

func ExampleParam_Check() {
	fmt.Println(mdev.Param{Name: "vgpu_params", Value: "frame_rate_limiter=0"}.Check())
	fmt.Println(mdev.Param{Name: "../remove", Value: "1"}.Check() == nil)
	// Output:
	// <nil>
	// false
}
