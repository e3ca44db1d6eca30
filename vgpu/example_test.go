package vgpu_test

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

// example is a Manager on a simulated host with a Tesla M60 and on the libvirt there.
// A program has mdev.Open(mdev.Config{}) and a virt.Open of its host's libvirt
// instead, and keeps its state in vgpu.DefaultStateDir.
func example() (m *vgpu.Manager, sim *mdevtest.Host, libvirt *vgputest.Hypervisor, done func()) {
	board, err := mdevtest.NewBoard("tesla-m60@0000:05:00.0")
	check(err)
	sim = mdevtest.New(board)
	host, err := mdev.Open(mdev.Config{FS: sim})
	check(err)
	libvirt = vgputest.New(sim)
	dir, err := os.MkdirTemp("", "vgpukit-example")
	check(err)
	m, err = vgpu.New(vgpu.Config{Host: host, Hypervisor: libvirt, StateDir: dir})
	check(err)
	return m, sim, libvirt, func() { check(os.RemoveAll(dir)) }
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func machine(name string) string {
	return fmt.Sprintf(`<domain type='kvm'>
  <name>%s</name>
  <memory unit='MiB'>64</memory>
  <os><type arch='x86_64' machine='q35'>hvm</type></os>
  <devices/>
</domain>`, name)
}

func ExampleManager() {
	m, _, _, done := example()
	defer done()
	ctx := context.Background()
	vm, err := m.Provision(ctx, vgpu.ProvisionRequest{
		Domain: machine("desktop"),
		VGPUs:  []vgpu.Request{{Type: "GRID M60-8Q", Address: "0000:00:08.0"}},
	})
	check(err)
	fmt.Println(vm.Name, vm.State, vm.VGPUs[0].Type, "at", vm.VGPUs[0].Address)
	vm, err = m.Start(ctx, "desktop", vgpu.StartOptions{})
	check(err)
	fmt.Println(vm.State)
	vm, err = m.Stop(ctx, "desktop", vgpu.StopOptions{GuestTimeout: time.Minute})
	check(err)
	fmt.Println(vm.State)
	check(m.Teardown(ctx, "desktop", vgpu.TeardownOptions{}))
	_, err = m.Status(ctx, "desktop")
	fmt.Println(errors.Is(err, vgpu.ErrNotFound))
	// Output:
	// desktop off nvidia-22 at 0000:00:08.0
	// running
	// off
	// true
}

func ExampleManager_Provision() {
	m, _, _, done := example()
	defer done()
	ctx := context.Background()
	request := vgpu.ProvisionRequest{
		Domain:   machine("pair"),
		Lifetime: vgpu.WhileRunning, // off, the VM takes no capacity
		VGPUs:    []vgpu.Request{{Type: "GRID M60-8Q"}, {Type: "GRID M60-8Q"}},
	}
	vm, err := m.Provision(ctx, request)
	check(err)
	for _, v := range vm.VGPUs {
		fmt.Println(v.Parent, v.Address, v.Present)
	}
	again, err := m.Provision(ctx, request) // a retry finds it there
	check(err)
	fmt.Println(again.Existed)
	// Output:
	// 0000:05:00.0 0000:00:02.0 false
	// 0000:06:00.0 0000:00:03.0 false
	// true
}

func ExampleManager_Plan() {
	m, _, _, done := example()
	defer done()
	plan, err := m.Plan(context.Background(), vgpu.ProvisionRequest{
		Domain: machine("desktop"), VGPUs: []vgpu.Request{{Type: "GRID M60-2Q", Parent: "0000:06:00.0"}},
	})
	check(err)
	fmt.Println(plan.VGPUs[0].Parent, plan.VGPUs[0].Address)

	_, err = m.Plan(context.Background(), vgpu.ProvisionRequest{
		Domain: machine("desktop"), VGPUs: []vgpu.Request{{Type: "GRID M60-3Q"}},
	})
	var e *vgpu.Error
	fmt.Println(errors.As(err, &e), errors.Is(err, vgpu.ErrNotFound))
	// Output:
	// 0000:06:00.0 0000:00:02.0
	// true true
}

func ExampleManager_Reconcile() {
	m, sim, _, done := example()
	defer done()
	ctx := context.Background()
	_, err := m.Provision(ctx, vgpu.ProvisionRequest{Domain: machine("desktop"), VGPUs: []vgpu.Request{{Type: "GRID M60-8Q"}}})
	check(err)
	sim.Reboot() // and the kernel has forgotten all vGPUs

	for _, options := range []vgpu.ReconcileOptions{{DryRun: true}, {Restore: true}, {Restore: true}} {
		report, err := m.Reconcile(ctx, options)
		check(err)
		fmt.Println(len(report.Actions), "to do")
		for _, a := range report.Actions {
			fmt.Println(a.Kind, a.VM, a.Done)
		}
	}
	// Output:
	// 1 to do
	// restore desktop false
	// 1 to do
	// restore desktop true
	// 0 to do
}

func ExampleManager_Teardown() {
	m, _, _, done := example()
	defer done()
	ctx := context.Background()
	_, err := m.Provision(ctx, vgpu.ProvisionRequest{Domain: machine("desktop"), VGPUs: []vgpu.Request{{Type: "GRID M60-8Q"}}})
	check(err)
	check(m.Teardown(ctx, "desktop", vgpu.TeardownOptions{
		Stop:     vgpu.StopOptions{SkipGuest: true, Force: true},         // do not ask, and let nothing stop it
		Undefine: domain.UndefineOptions{ManagedSave: true, NVRAM: true}, // and keep nothing
	}))
	vms, err := m.List(ctx)
	check(err)
	fmt.Println(len(vms))
	// Output: 0
}

func ExampleManager_Watch() {
	m, _, libvirt, done := example()
	defer done()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- m.Watch(ctx) }() // a service does so for as long as it runs

	_, err := m.Provision(ctx, vgpu.ProvisionRequest{
		Domain: machine("desktop"), Lifetime: vgpu.WhileRunning, VGPUs: []vgpu.Request{{Type: "GRID M60-8Q"}},
	})
	check(err)
	_, err = m.Start(ctx, "desktop", vgpu.StartOptions{})
	check(err)
	check(libvirt.Crash(ctx, "desktop")) // its QEMU is killed
	for present := true; present; {
		vm, err := m.Status(ctx, "desktop")
		check(err)
		present = vm.VGPUs[0].Present
	}
	fmt.Println("given back")
	cancel()
	fmt.Println(<-ended)
	// Output:
	// given back
	// context canceled
}

func ExampleError() {
	m, _, _, done := example()
	defer done()
	_, err := m.Start(context.Background(), "nobody", vgpu.StartOptions{})
	var e *vgpu.Error
	if errors.As(err, &e) {
		fmt.Println(e.Op, e.VM, e.Kind)
		fmt.Println(e.Hint())
	}
	// Output:
	// start nobody not found
	// virsh list --all shows the domains that there are
}

func ExampleNew() {
	board, err := mdevtest.NewBoard("tesla-m60")
	check(err)
	sim := mdevtest.New(board)
	host, err := mdev.Open(mdev.Config{FS: sim}) // yours: mdev.Open(mdev.Config{})
	check(err)
	libvirt := vgputest.New(sim)                    // yours: virt.Open(ctx, virt.Config{})
	dir, err := os.MkdirTemp("", "vgpukit-example") // yours: leave StateDir out
	check(err)
	defer os.RemoveAll(dir)
	m, err := vgpu.New(vgpu.Config{Host: host, Hypervisor: libvirt, StateDir: dir})
	check(err)
	vms, err := m.List(context.Background())
	fmt.Println(len(vms), err)
	// Output: 0 <nil>
}

func ExampleManager_Start() {
	m, _, _, done := example()
	defer done()
	ctx := context.Background()
	_, err := m.Provision(ctx, vgpu.ProvisionRequest{
		Domain: machine("desktop"), Lifetime: vgpu.WhileRunning, VGPUs: []vgpu.Request{{Type: "GRID M60-8Q"}},
	})
	check(err)
	vm, err := m.Start(ctx, "desktop", vgpu.StartOptions{Timeout: 5 * time.Minute}) // much memory takes its time
	check(err)
	fmt.Println(vm.State, vm.VGPUs[0].Present)
	again, err := m.Start(ctx, "desktop", vgpu.StartOptions{}) // it runs already
	fmt.Println(again.State, err)
	// Output:
	// running true
	// running <nil>
}

func ExampleManager_Stop() {
	m, _, _, done := example()
	defer done()
	ctx := context.Background()
	_, err := m.Provision(ctx, vgpu.ProvisionRequest{
		Domain: machine("desktop"), Lifetime: vgpu.WhileRunning, VGPUs: []vgpu.Request{{Type: "GRID M60-8Q"}},
	})
	check(err)
	_, err = m.Start(ctx, "desktop", vgpu.StartOptions{})
	check(err)
	vm, err := m.Stop(ctx, "desktop", vgpu.StopOptions{
		GuestTimeout:     2 * time.Minute,  // to shut down by itself
		TerminateTimeout: 30 * time.Second, // then QEMU, on SIGTERM
		Force:            false,            // SIGKILL can wedge a vGPU: rather an error
	})
	check(err)
	fmt.Println(vm.State, vm.VGPUs[0].Present)
	// Output: off false
}

func ExampleManager_Status() {
	m, sim, _, done := example()
	defer done()
	ctx := context.Background()
	_, err := m.Provision(ctx, vgpu.ProvisionRequest{Domain: machine("desktop"), VGPUs: []vgpu.Request{{Type: "GRID M60-8Q"}}})
	check(err)
	sim.Reboot()
	vm, err := m.Status(ctx, "desktop")
	check(err)
	fmt.Println(vm.State, vm.VGPUs[0].Problem)
	// Output: incomplete it does not exist on the host; start the VM to make it again
}

func ExampleManager_List() {
	m, _, _, done := example()
	defer done()
	ctx := context.Background()
	for _, name := range []string{"one", "two"} {
		_, err := m.Provision(ctx, vgpu.ProvisionRequest{Domain: machine(name), VGPUs: []vgpu.Request{{Type: "GRID M60-2Q"}}})
		check(err)
	}
	vms, err := m.List(ctx)
	check(err)
	for _, vm := range vms {
		fmt.Println(vm.Name, vm.State, vm.VGPUs[0].GPU)
	}
	// Output:
	// one off 0000:05:00.0
	// two off 0000:05:00.0
}

// An Observer sees each step; examples/prometheus and examples/opentelemetry have
// adapters.
func ExampleObserver() {
	board, err := mdevtest.NewBoard("tesla-m60")
	check(err)
	sim := mdevtest.New(board)
	host, err := mdev.Open(mdev.Config{FS: sim})
	check(err)
	dir, err := os.MkdirTemp("", "vgpukit-example")
	check(err)
	defer os.RemoveAll(dir)
	m, err := vgpu.New(vgpu.Config{Host: host, Hypervisor: vgputest.New(sim), StateDir: dir, RuntimeDir: dir + "-run", Observer: vgpu.Observer{
		StepEnded: func(_ context.Context, s vgpu.Step, err error) {
			if err == nil {
				fmt.Println(s.Op, s.Name)
			}
		},
		OperationEnded: func(_ context.Context, op vgpu.Operation, err error) { fmt.Println(op.Op, op.VM, "ended:", err) },
	}})
	check(err)
	ctx := context.Background()
	_, err = m.Provision(ctx, vgpu.ProvisionRequest{Domain: machine("desktop"), VGPUs: []vgpu.Request{{Type: "GRID M60-8Q"}}})
	check(err)
	check(m.Teardown(ctx, "desktop", vgpu.TeardownOptions{Stop: vgpu.StopOptions{SkipGuest: true}}))
	// Output:
	// provision lock
	// provision find
	// provision lock
	// provision look
	// provision place
	// provision document
	// provision journal
	// provision create
	// provision grant
	// provision define
	// provision close
	// provision desktop ended: <nil>
	// teardown find
	// teardown lock
	// teardown look
	// teardown journal
	// teardown release
	// teardown undefine
	// teardown remove
	// teardown forget
	// teardown desktop ended: <nil>
}
