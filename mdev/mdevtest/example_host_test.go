package mdevtest_test

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	"github.com/vgpukit/vgpukit/mdev"
	"github.com/vgpukit/vgpukit/mdev/mdevtest"
)

// plugged returns a host with boards; it panics where an example has no other
// way to fail.
func plugged(specs ...string) *mdevtest.Host {
	host, err := mdevtest.NewHost(specs...)
	must(err)
	return host
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func ExampleHost_Plug() {
	host := mdevtest.New()
	board, _ := mdevtest.NewBoard("mtty")
	fmt.Println(host.Plug(board))
	fmt.Println(host.Plug(board))
	// Output:
	// <nil>
	// board mtty: the host has one already
}

func ExampleHost_Unplug() {
	host := plugged("tesla-m60")
	fmt.Println(host.GPUs())
	fmt.Println(host.Unplug("0000:05:00.0"))
	fmt.Println(host.GPUs())
	// Output:
	// [0000:05:00.0 0000:06:00.0]
	// <nil>
	// [0000:06:00.0]
}

func ExampleHost_GPUs() {
	host := plugged("tesla-m60", "a40,vfs=2", "mtty")
	fmt.Println(host.GPUs())
	// Output: [0000:05:00.0 0000:06:00.0 0000:41:00.0 mtty]
}

// Older kernels refuse to remove what is in use, newer ones wait.
func ExampleHost_SetKernel() {
	host := plugged("mtty")
	host.SetKernel(5, 4)
	must(host.WriteAttr("sys/class/mdev_bus/mtty/mdev_supported_types/mtty-1/create", []byte(uuid1)))
	release, err := host.Use(uuid1, "desk1", 4242)
	must(err)
	remove := func() error { return host.WriteAttr("sys/bus/mdev/devices/"+uuid1+"/remove", []byte("1")) }
	fmt.Println(errors.Is(remove(), syscall.EBUSY))

	host.SetKernel(6, 12)
	removed := make(chan error)
	go func() { removed <- remove() }()
	release()
	fmt.Println(<-removed)
	// Output:
	// true
	// <nil>
}

func ExampleHost_Probe() {
	host := plugged("mtty", "tesla-m60")
	must(host.WriteAttr("sys/class/mdev_bus/mtty/mdev_supported_types/mtty-1/create", []byte(uuid1)))
	probe, err := host.Probe("0", uuid1)
	fmt.Println(probe.Kind, probe.Migration.StopCopy, err)
	must(host.WriteAttr("sys/class/mdev_bus/0000:05:00.0/mdev_supported_types/nvidia-18/create", []byte(uuid2)))
	_, err = host.Probe("1", uuid2)
	fmt.Println(err)
	// Output:
	// pci true <nil>
	// open dev/vfio/1: input/output error
}

func ExampleHost_Reboot() {
	host := plugged("l40s,vfs=1")
	const typ = "sys/bus/pci/devices/0000:41:00.4/nvidia/current_vgpu_type"
	must(host.WriteAttr(typ, []byte("1148")))
	host.Reboot()
	text, _ := host.ReadFile(typ)
	fmt.Print(string(text))
	// Output: 0
}

func ExampleHost_HalfMake() {
	host := plugged("mtty")
	finish, err := host.HalfMake("mtty", "mtty-1", uuid1)
	must(err)
	const link = "sys/bus/mdev/devices/" + uuid1 + "/mdev_type"
	_, err = host.Readlink(link)
	fmt.Println(errors.Is(err, syscall.ENOENT))
	finish()
	target, _ := host.Readlink(link)
	fmt.Println(target)
	// Output:
	// true
	// ../mdev_supported_types/mtty-1
}

func ExampleHost_Advance() {
	host := plugged("l40s,vfs=1,clean-up=5s")
	const vf, typ = "0000:41:00.4", "sys/bus/pci/devices/0000:41:00.4/nvidia/current_vgpu_type"
	must(host.WriteAttr(typ, []byte("1148")))
	release, err := host.Use(vf, "desk1", 4242)
	must(err)
	release()
	fmt.Println(errors.Is(host.WriteAttr(typ, []byte("0")), syscall.EBUSY))
	host.Advance(5 * time.Second)
	fmt.Println(host.WriteAttr(typ, []byte("0")))
	// Output:
	// true
	// <nil>
}

func ExampleHost_Accesses() {
	host := plugged("mtty")
	host.ResetAccesses()
	scan := func() error {
		_, err := host.ReadDir("sys/class/mdev_bus")
		if err == nil {
			_, err = host.ReadFile("sys/class/mdev_bus/mtty/mdev_supported_types/mtty-1/name")
		}
		return err
	}
	must(scan())
	for k := range host.Accesses() { // each of them fails once
		undo := host.Fail(mdevtest.Fault{N: k + 1, Err: syscall.ENODEV})
		fmt.Println(scan())
		undo()
	}
	// Output:
	// readdir sys/class/mdev_bus: no such device
	// read sys/class/mdev_bus/mtty/mdev_supported_types/mtty-1/name: no such device
}

func ExampleHost_ResetAccesses() {
	host := plugged("mtty")
	must(func() error { _, err := host.Stat("sys"); return err }())
	fmt.Println(host.Accesses())
	host.ResetAccesses()
	fmt.Println(host.Accesses())
	// Output:
	// 1
	// 0
}

// A watcher that has lost events reads the host again.
func ExampleHost_LoseUevents() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	sim := plugged("mtty")
	host, err := mdev.Open(mdev.Config{FS: sim})
	must(err)
	changes, err := host.Watch(ctx)
	must(err)
	fmt.Println((<-changes).Kind)
	sim.LoseUevents()
	must(sim.WriteAttr("sys/class/mdev_bus/mtty/mdev_supported_types/mtty-1/create", []byte(uuid1)))
	fmt.Println((<-changes).Kind)
	change := <-changes
	fmt.Println(change.Kind, change.Device.ID)
	// Output:
	// scanned
	// scanned
	// device-added 11111111-1111-4111-8111-111111111111
}

func ExampleHost_Uevents() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	host := plugged("mtty")
	events, err := host.Uevents(ctx)
	must(err)
	must(host.WriteAttr("sys/class/mdev_bus/mtty/mdev_supported_types/mtty-1/create", []byte(uuid1)))
	host.LoseUevents()
	must(host.Unplug("mtty"))
	for range 3 {
		e := <-events
		fmt.Println(e.Action, e.Path, e.Lost)
	}
	// Output:
	// add /devices/virtual/mtty/mtty/11111111-1111-4111-8111-111111111111 false
	// bind /devices/virtual/mtty/mtty/11111111-1111-4111-8111-111111111111 false
	// unbind /devices/virtual/mtty/mtty/11111111-1111-4111-8111-111111111111 true
}

func ExampleHost_CreateGPUInstance() {
	host := plugged("a100,mig")
	const available = "sys/class/mdev_bus/0000:41:00.4/mdev_supported_types/nvidia-476/available_instances"
	text, _ := host.ReadFile(available)
	fmt.Print(string(text))
	must(host.CreateGPUInstance("0000:41:00.0", "3g.20gb"))
	text, _ = host.ReadFile(available)
	fmt.Print(string(text))
	// Output:
	// 0
	// 1
}

// On Blackwell vGPUs share the time of a GPU instance.
func ExampleHost_DestroyGPUInstance() {
	host := plugged("rtx-pro-6000,mig=1g.24gb+gfx")
	const typ = "sys/bus/pci/devices/0000:41:00.4/nvidia/current_vgpu_type"
	must(host.WriteAttr(typ, []byte("1555"))) // DC-1-3Q
	fmt.Println(host.DestroyGPUInstance("0000:41:00.0", 3))
	must(host.WriteAttr(typ, []byte("0")))
	fmt.Println(host.DestroyGPUInstance("0000:41:00.0", 3))
	// Output:
	// GPU instance 3 of 0000:41:00.0: 0000:41:00.4 has it: device or resource busy
	// <nil>
}

func ExampleHost_SetMIG() {
	host := plugged("h200")
	must(host.SetMIG("0000:41:00.0", true))
	must(host.CreateGPUInstance("0000:41:00.0", "1g.18gb"))
	text, _ := host.ReadFile("sys/bus/pci/devices/0000:41:00.4/nvidia/creatable_vgpu_types")
	fmt.Print(string(text))
	// Output:
	// ID    : vGPU Name
	// 1414  : NVIDIA H200X-1-18C
}

func ExampleHost_Facts() {
	host := plugged("rtx-pro-6000,mig=2g.48gb+gfx")
	facts, err := host.Facts(context.Background(), "0000:41:00.0")
	fmt.Println(facts.Driver, *facts.MIG, err)
	for _, i := range facts.Instances {
		fmt.Printf("%d: %s, %.2f GiB\n", i.ID, i.Profile, float64(i.Memory)/(1<<30))
	}
	// Output:
	// 580.65.05 true <nil>
	// 1: 2g.48gb+gfx, 47.25 GiB
}

// The operator's part of MIG, as nvidia-smi does it.
func ExampleHost_Run_nvidiaSMI() {
	host := plugged("rtx-pro-6000,mig")
	smi := func(args ...string) {
		out, err := host.Run(context.Background(), "usr/bin/nvidia-smi", args...)
		fmt.Print(string(out))
		if err != nil {
			fmt.Println(err)
		}
	}
	smi("mig", "-i", "0000:41:00.0", "-cgi", "2g.48gb+gfx,1g.24gb+gfx")
	smi("mig", "-i", "0000:41:00.0", "-lgi")
	smi("mig", "-i", "0000:41:00.0", "-cgi", "2g.48gb+gfx")
	smi("mig", "-i", "0000:41:00.0", "-dgi", "-gi", "1")
	smi("-i", "0000:41:00.0", "-mig", "0")
	// Output:
	// Successfully created GPU instance ID  1 on GPU  0 using profile MIG 2g.48gb+gfx
	// Successfully created GPU instance ID  3 on GPU  0 using profile MIG 1g.24gb+gfx
	// GPU  Name                Instance ID  Memory GiB
	//   0  MIG 2g.48gb+gfx               1       47.25
	//   0  MIG 1g.24gb+gfx               3       23.62
	// its GPU instances need 5 slices of 4
	// run usr/bin/nvidia-smi: exit status 1
	// Successfully destroyed GPU instance ID  1 from GPU  0
	// Disabled MIG Mode for GPU 0000:41:00.0
	// All done.
}

func ExampleHost_SetReadOnly() {
	host := plugged("mtty")
	host.SetReadOnly(true)
	fmt.Println(host.WriteAttr("sys/class/mdev_bus/mtty/mdev_supported_types/mtty-1/create", []byte(uuid1)))
	// Output: write sys/class/mdev_bus/mtty/mdev_supported_types/mtty-1/create: read-only file system
}

func ExampleNewHost() {
	host, err := mdevtest.NewHost("tesla-m60", "l40s@0001:41:00.0,vfs=4")
	must(err)
	fmt.Println(host.GPUs())
	// Output: [0000:05:00.0 0000:06:00.0 0001:41:00.0]
}

func ExampleHost_Devices() {
	host := plugged("mtty")
	must(host.WriteAttr("sys/class/mdev_bus/mtty/mdev_supported_types/mtty-1/create", []byte(uuid1)))
	fmt.Println(host.Devices())
	host.Reboot()
	fmt.Println(host.Devices())
	// Output:
	// [11111111-1111-4111-8111-111111111111]
	// []
}

func ExampleHost_OnReboot() {
	host := plugged("mtty")
	host.OnReboot(func() { fmt.Println("a service starts, on a host with", host.GPUs()) })
	host.Reboot()
	// Output: a service starts, on a host with [mtty]
}

func ExampleHost_Migration() {
	host := plugged("mtty")
	must(host.WriteAttr("sys/class/mdev_bus/mtty/mdev_supported_types/mtty-1/create", []byte(uuid1)))
	can, err := host.Migration(uuid1)
	fmt.Println(can.StopCopy, can.P2P, err)
	// Output: true true <nil>
}

func ExampleHost_Group() {
	host := plugged("mtty")
	must(host.WriteAttr("sys/class/mdev_bus/mtty/mdev_supported_types/mtty-1/create", []byte(uuid1)))
	fmt.Println(host.Group(uuid1))
	// Output: 0 true
}

// A kernel without VFIO groups has a node for each device.
func ExampleHost_SetVFIOGroups() {
	sim := mdevtest.New()
	sim.SetVFIOGroups(false)
	sim.Reboot()
	board, _ := mdevtest.NewBoard("mtty")
	if err := sim.Plug(board); err != nil {
		panic(err)
	}
	host, err := mdev.Open(mdev.Config{FS: sim})
	if err != nil {
		panic(err)
	}
	created, err := host.Create(context.Background(), mdev.CreateRequest{Type: "mtty-1"})
	fmt.Printf("%q %q %v\n", created.VFIONode, created.VFIOCdev, err)
	// Output: "" "/dev/vfio/devices/vfio0" <nil>
}

// A clone of a disk has the machine id of the original, on a board with another id.
func ExampleHost_SetMachine() {
	original, clone := mdevtest.New(), mdevtest.New()
	at := func(sim *mdevtest.Host) mdev.Machine {
		host, err := mdev.Open(mdev.Config{FS: sim})
		if err != nil {
			panic(err)
		}
		machine, err := host.Machine(context.Background())
		if err != nil {
			panic(err)
		}
		return machine
	}
	copied := at(clone)
	copied.ID = at(original).ID
	clone.SetMachine(copied)
	fmt.Println(at(original).ID == at(clone).ID, at(original).Other(at(clone)))
	// Output: true true
}
