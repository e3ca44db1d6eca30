// Command quickstart gives a VM a vGPU, starts it, takes a picture of its display
// and takes everything away again. Run it as root on a KVM host with a vGPU
// driver:
//
//	go run ./examples/quickstart --type "GRID M60-8Q"
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"

	"github.com/vgpukit/vgpukit"
	"github.com/vgpukit/vgpukit/vgpu"
)

// machine is a small q35 VM. A real one has disks, networks and whatever else
// libvirt knows: none of it is changed.
const machine = `<domain type='%s'>
  <name>quickstart</name>
  <memory unit='MiB'>64</memory>
  <os><type arch='x86_64' machine='q35'>hvm</type></os>
  <devices>
    <graphics type='vnc' listen='127.0.0.1' autoport='yes'/>
    <video><model type='none'/></video>
  </devices>
</domain>`

func main() {
	connect := flag.String("connect", "", "libvirt URI (default: LIBVIRT_DEFAULT_URI, then qemu:///system)")
	typ := flag.String("type", "mdpy-xga", "vGPU type, by id or name")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *connect, *typ); err != nil {
		fmt.Fprintln(os.Stderr, "quickstart:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, connect, typ string) error {
	kit, err := vgpukit.Open(ctx, vgpukit.Config{URI: connect})
	if err != nil {
		return err
	}
	defer kit.Close()
	virtualization := "kvm"
	if _, err := os.Stat("/dev/kvm"); err != nil {
		virtualization = "qemu" // its own emulation
	}
	return show(ctx, kit.Manager, virtualization, typ, func(ctx context.Context, vm string) error { return picture(ctx, kit.Conn, vm) })
}

func show(ctx context.Context, manager *vgpu.Manager, virtualization, typ string, look func(ctx context.Context, vm string) error) (err error) {
	vm, err := manager.Provision(ctx, vgpu.ProvisionRequest{
		Domain: fmt.Sprintf(machine, virtualization),
		VGPUs:  []vgpu.Request{{Type: typ, Address: "0000:00:08.0", Display: "on", RAMFB: "on"}},
	})
	if err != nil {
		return err
	}
	if vm.Existed {
		return fmt.Errorf("the VM %s is there already; it is left alone", vm.Name)
	}
	fmt.Printf("%s has the %s vGPU %s of %s\n", vm.Name, typ, vm.VGPUs[0].ID, vm.VGPUs[0].Parent)
	defer func() { // whatever happens, nothing is left
		down := vgpu.TeardownOptions{Stop: vgpu.StopOptions{SkipGuest: true}}
		err = errors.Join(err, manager.Teardown(context.WithoutCancel(ctx), vm.Name, down))
	}()

	if _, err = manager.Start(ctx, vm.Name, vgpu.StartOptions{}); err != nil {
		return err
	}
	return look(ctx, vm.Name)
}
