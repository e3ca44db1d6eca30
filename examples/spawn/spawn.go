package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"html"
	"io"
	"text/tabwriter"

	"github.com/vgpukit/vgpukit/vgpu"
)

// order is what somebody wants done.
type order struct {
	vm, typ, address        string
	memory, count           int
	release                 bool
	stop, remove, reconcile bool
}

func parse(flags *flag.FlagSet, args []string) (o order, err error) {
	flags.StringVar(&o.typ, "type", "", "vGPU type, by id or name: makes the VM")
	flags.IntVar(&o.count, "count", 1, "how many vGPUs")
	flags.StringVar(&o.address, "address", "", "guest PCI address of the first vGPU (default: a free one)")
	flags.IntVar(&o.memory, "memory", 2048, "the VM's memory in MiB")
	flags.BoolVar(&o.release, "release", false, "give the vGPUs back whenever the VM stops")
	flags.BoolVar(&o.stop, "stop", false, "stop the VM")
	flags.BoolVar(&o.remove, "delete", false, "stop and delete the VM")
	flags.BoolVar(&o.reconcile, "recover", false, "finish or undo what was interrupted, and make again what a reboot took")
	if err := flags.Parse(args); err != nil {
		return o, fmt.Errorf("%w: %w", vgpu.ErrInvalid, err)
	}
	o.vm = flags.Arg(0)
	if flags.NArg() > 1 || o.vm == "" && (o.typ != "" || o.stop || o.remove) || o.vm != "" && o.reconcile {
		return o, fmt.Errorf("%w: name one VM after the flags; with --recover, none", vgpu.ErrInvalid)
	}
	return o, nil
}

// run does what was ordered, and shows what there is then.
func (o order) run(ctx context.Context, m *vgpu.Manager, out io.Writer) (err error) {
	switch {
	case o.reconcile:
		err = reconcile(ctx, m, out)
	case o.remove:
		err = m.Teardown(ctx, o.vm, vgpu.TeardownOptions{})
	case o.stop:
		_, err = m.Stop(ctx, o.vm, vgpu.StopOptions{})
	case o.typ != "":
		err = o.spawn(ctx, m)
	case o.vm != "":
		_, err = m.Start(ctx, o.vm, vgpu.StartOptions{})
	}
	if err != nil {
		return err
	}
	return show(ctx, m, out)
}

const machine = `<domain type='kvm'>
  <name>%s</name>
  <memory unit='MiB'>%d</memory>
  <os><type arch='x86_64' machine='q35'>hvm</type></os>
  <devices><graphics type='vnc'/><video><model type='none'/></video></devices>
</domain>`

// spawn makes the VM and starts it, or leaves nothing.
func (o order) spawn(ctx context.Context, m *vgpu.Manager) error {
	req := vgpu.ProvisionRequest{Domain: fmt.Sprintf(machine, html.EscapeString(o.vm), o.memory)}
	for range o.count {
		req.VGPUs = append(req.VGPUs, vgpu.Request{Type: o.typ})
	}
	if o.count > 0 {
		req.VGPUs[0].Address = o.address
	}
	if o.release {
		req.Lifetime = vgpu.WhileRunning
	}
	vm, err := m.Provision(ctx, req)
	if err != nil {
		return err
	}
	_, err = m.Start(ctx, vm.Name, vgpu.StartOptions{})
	if err != nil && !vm.Existed { // also when ctx has ended
		down := vgpu.TeardownOptions{Stop: vgpu.StopOptions{SkipGuest: true}}
		err = errors.Join(err, m.Teardown(context.WithoutCancel(ctx), vm.Name, down))
	}
	return err
}

func reconcile(ctx context.Context, m *vgpu.Manager, out io.Writer) error {
	report, err := m.Reconcile(ctx, vgpu.ReconcileOptions{Restore: true})
	for _, a := range report.Actions {
		fmt.Fprintf(out, "%s %s: %s\n", a.Kind, a.VM, a.Reason)
	}
	return err
}

func show(ctx context.Context, m *vgpu.Manager, out io.Writer) error {
	vms, err := m.List(ctx)
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "VM\tSTATE\tVGPU\tGPU\tADDRESS\tPROBLEM")
	for _, vm := range vms {
		for _, v := range vm.VGPUs {
			fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\n", vm.Name, vm.State, v.Type, v.GPU, v.Address, v.Problem)
		}
	}
	return errors.Join(err, table.Flush())
}

// status is the exit status: what a script may do about an error.
func status(err error) int {
	switch vgpu.KindOf(err) {
	case vgpu.ErrInvalid:
		return 2
	case vgpu.ErrNotFound:
		return 3
	case vgpu.ErrNoCapacity:
		return 4
	case vgpu.ErrInUse, vgpu.ErrBusy:
		return 5
	case vgpu.ErrUnavailable, context.DeadlineExceeded:
		return 6
	}
	if err != nil {
		return 1
	}
	return 0
}
