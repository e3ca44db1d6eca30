package vgputest_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/vgpukit/vgpukit/domain"
	"github.com/vgpukit/vgpukit/mdev"
	"github.com/vgpukit/vgpukit/mdev/mdevtest"
	"github.com/vgpukit/vgpukit/vgpu"
	"github.com/vgpukit/vgpukit/vgpu/vgputest"
)

// machine is the document of a small VM, without vGPUs.
const machine = `<domain type='kvm'>
  <name>desktop</name>
  <memory unit='MiB'>64</memory>
  <os><type arch='x86_64' machine='q35'>hvm</type></os>
  <devices/>
</domain>`

// desktop is a simulated host with a Tesla M60, its libvirt, and a Manager with a VM
// that has one of the two GPUs for itself.
func desktop(ctx context.Context) (m *vgpu.Manager, sim *mdevtest.Host, libvirt *vgputest.Hypervisor, done func()) {
	board, err := mdevtest.NewBoard("tesla-m60@0000:05:00.0")
	check(err)
	sim = mdevtest.New(board)
	libvirt = vgputest.New(sim)
	host, err := mdev.Open(mdev.Config{FS: sim})
	check(err)
	dir, err := os.MkdirTemp("", "vgpukit-example")
	check(err)
	m, err = vgpu.New(vgpu.Config{Host: host, Hypervisor: libvirt, StateDir: dir})
	check(err)
	_, err = m.Provision(ctx, vgpu.ProvisionRequest{Domain: machine, VGPUs: []vgpu.Request{{Type: "GRID M60-8Q"}}})
	check(err)
	return m, sim, libvirt, func() { check(os.RemoveAll(dir)) }
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

// A Manager on a simulated host, and a VM that holds its vGPU while it runs.
func ExampleNew() {
	ctx := context.Background()
	board, err := mdevtest.NewBoard("tesla-m60@0000:05:00.0")
	check(err)
	sim := mdevtest.New(board)
	host, err := mdev.Open(mdev.Config{FS: sim})
	check(err)
	libvirt := vgputest.New(sim)
	dir, err := os.MkdirTemp("", "vgpukit-example") // in a test: t.TempDir()
	check(err)
	defer os.RemoveAll(dir)
	manager, err := vgpu.New(vgpu.Config{Host: host, Hypervisor: libvirt, StateDir: dir})
	check(err)

	vm, err := manager.Provision(ctx, vgpu.ProvisionRequest{Domain: machine, VGPUs: []vgpu.Request{{Type: "GRID M60-8Q"}}})
	check(err)
	vm, err = manager.Start(ctx, vm.Name, vgpu.StartOptions{})
	check(err)
	fmt.Println(vm.Name, "is", vm.State)
	err = host.Remove(ctx, vm.VGPUs[0].ID)
	fmt.Println("its vGPU is in use:", errors.Is(err, mdev.ErrInUse))
	// Output:
	// desktop is running
	// its vGPU is in use: true
}

// The second start is refused: the first one's undoing is seen, and the VM is off.
func ExampleHypervisor_Fail() {
	ctx := context.Background()
	m, _, libvirt, done := desktop(ctx)
	defer done()
	undo := libvirt.Fail(vgputest.Fault{Method: "Start", VM: "desktop", Err: &vgputest.Error{
		Kind: domain.ErrPermission, Code: 1, Message: "internal error: cannot limit locked memory: Operation not permitted",
	}})
	_, err := m.Start(ctx, "desktop", vgpu.StartOptions{})
	fmt.Println(err)
	fmt.Println(errors.Is(err, vgpu.ErrPermission))

	undo()
	vm, err := m.Start(ctx, "desktop", vgpu.StartOptions{})
	fmt.Println(vm.State, err)
	// Output:
	// start desktop: internal error: cannot limit locked memory: Operation not permitted (libvirt 1)
	// true
	// running <nil>
}

// A call that hangs ends with its context, or when the fault is taken out.
func ExampleFault() {
	ctx := context.Background()
	m, _, libvirt, done := desktop(ctx)
	defer done()
	undo := libvirt.Fail(vgputest.Fault{Method: "Definition", Hang: true})
	impatient, cancel := context.WithTimeout(ctx, time.Millisecond)
	defer cancel()
	_, err := m.Status(impatient, "desktop")
	fmt.Println(errors.Is(err, context.DeadlineExceeded))

	undo()
	vm, err := m.Status(ctx, "desktop")
	fmt.Println(vm.State, err)
	// Output:
	// true
	// off <nil>
}

// Somebody undefines a VM with virsh; Reconcile finds what that left behind.
func ExampleHypervisor_Virsh() {
	ctx := context.Background()
	m, _, libvirt, done := desktop(ctx)
	defer done()
	libvirt.Fail(vgputest.Fault{Method: "Undefine"}) // strikes the Manager, not virsh
	check(libvirt.Virsh().Undefine(ctx, "desktop", domain.UndefineOptions{}))

	report, err := m.Reconcile(ctx, vgpu.ReconcileOptions{Now: true})
	check(err)
	for _, a := range report.Actions {
		fmt.Println(a.Kind, a.VM, a.Done)
	}
	// Output:
	// orphan desktop true
	// forget desktop true
}

// A guest that ignores the power button is ended by SIGTERM to its QEMU.
func ExampleHypervisor_SetGuest() {
	ctx := context.Background()
	m, _, libvirt, done := desktop(ctx)
	defer done()
	_, err := m.Start(ctx, "desktop", vgpu.StartOptions{})
	check(err)
	events, err := libvirt.Events(ctx)
	check(err)

	libvirt.SetGuest("desktop", vgputest.Guest{Deaf: true})
	vm, err := m.Stop(ctx, "desktop", vgpu.StopOptions{GuestTimeout: time.Millisecond})
	check(err)
	fmt.Println(vm.State)
	for range 2 {
		e := <-events
		fmt.Println(e.Kind, e.Detail)
	}
	// Output:
	// off
	// shutdown host request
	// stopped destroyed
}

// What happens to VMs arrives in order, whoever does it.
func ExampleHypervisor_Events() {
	ctx, cancel := context.WithCancel(context.Background())
	m, _, libvirt, done := desktop(ctx)
	defer done()
	events, err := libvirt.Events(ctx)
	check(err)
	_, err = m.Start(ctx, "desktop", vgpu.StartOptions{})
	check(err)
	check(libvirt.Virsh().Suspend(ctx, "desktop"))
	check(libvirt.Crash(ctx, "desktop"))
	for range 4 {
		e := <-events
		fmt.Println(e.VM, e.Kind)
	}
	cancel()
	_, open := <-events
	fmt.Println("more to come:", open)
	// Output:
	// desktop resumed
	// desktop started
	// desktop suspended
	// desktop stopped
	// more to come: false
}

// A VM's QEMU is killed: the VM is off, and nobody holds its vGPU any more.
func ExampleHypervisor_Crash() {
	ctx := context.Background()
	m, _, libvirt, done := desktop(ctx)
	defer done()
	_, err := m.Start(ctx, "desktop", vgpu.StartOptions{})
	check(err)

	check(libvirt.Crash(ctx, "desktop"))
	vm, err := m.Status(ctx, "desktop")
	check(err)
	fmt.Println(vm.State, vm.DomainState, vm.VGPUs[0].Present)
	check(m.Teardown(ctx, "desktop", vgpu.TeardownOptions{}))
	// Output:
	// off shut off true
}

// The daemon is away, and the VM runs on.
func ExampleHypervisor_SetDown() {
	ctx := context.Background()
	m, _, libvirt, done := desktop(ctx)
	defer done()
	_, err := m.Start(ctx, "desktop", vgpu.StartOptions{})
	check(err)

	libvirt.SetDown(true)
	_, err = m.Status(ctx, "desktop")
	fmt.Println(errors.Is(err, vgpu.ErrUnavailable))
	libvirt.SetDown(false)
	vm, err := m.Status(ctx, "desktop")
	fmt.Println(vm.State, err)
	// Output:
	// true
	// running <nil>
}

// A reboot of the host ends its VMs, and the kernel forgets their vGPUs.
func Example_reboot() {
	ctx := context.Background()
	m, sim, _, done := desktop(ctx)
	defer done()
	_, err := m.Start(ctx, "desktop", vgpu.StartOptions{})
	check(err)

	sim.Reboot()
	vm, err := m.Status(ctx, "desktop")
	check(err)
	fmt.Println(vm.State, vm.VGPUs[0].Present)
	vm, err = m.Start(ctx, "desktop", vgpu.StartOptions{}) // makes them again
	check(err)
	fmt.Println(vm.State, vm.VGPUs[0].Present)
	// Output:
	// incomplete false
	// running true
}

// A service that is ordered before libvirt makes the vGPU of a VM that starts with the
// host.
func ExampleHypervisor_OnBoot() {
	ctx := context.Background()
	m, sim, libvirt, done := desktop(ctx)
	defer done()
	check(libvirt.SetAutostart(ctx, "desktop", true))
	vm, err := m.Status(ctx, "desktop")
	check(err)
	g := vm.VGPUs[0]

	libvirt.OnBoot(func() {
		create := "sys/class/mdev_bus/" + g.Parent + "/mdev_supported_types/" + g.Type + "/create"
		check(sim.WriteAttr(create, []byte(g.ID)))
	})
	sim.Reboot()
	vm, err = m.Status(ctx, "desktop")
	check(err)
	fmt.Println(vm.State)
	// Output: running
}
