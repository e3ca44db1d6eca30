// Command demo shows the main job on a real kernel, libvirtd and QEMU: what the
// host offers, a bare vGPU, two VMs that share a parent, one of them with two
// vGPUs, the guest's view of them, a picture of a display, and that nothing is
// left in the end.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/google/uuid"

	"github.com/vgpukit/vgpukit"
	"github.com/vgpukit/vgpukit/domain"
	"github.com/vgpukit/vgpukit/domain/virt"
	"github.com/vgpukit/vgpukit/mdev"
	"github.com/vgpukit/vgpukit/vgpu"
)

// machine is a small q35 VM. The override lets QEMU show the display of a virtual
// function, for which libvirt has no attribute; an mdev does not need it.
const machine = `<domain type='qemu' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>
  <name>%s</name>
  <memory unit='MiB'>64</memory>
  <os><type arch='x86_64' machine='q35'>hvm</type></os>
  <devices>
    <graphics type='vnc' listen='127.0.0.1' autoport='yes'/>
    <video><model type='none'/></video>
  </devices>
  <qemu:override>
    <qemu:device alias='ua-vgpu'><qemu:frontend><qemu:property name='display' type='string' value='on'/></qemu:frontend></qemu:device>
  </qemu:override>
</domain>`

func main() {
	typ := flag.String("type", "mdpy-xga", "vGPU type, by id or name")
	id := flag.String("uuid", "", "UUID of the first VM's vGPU; empty: derived from the VM")
	machines := flag.Int("machines", 2, "1, or 2 with a second VM that has two vGPUs")
	picture := flag.String("picture", "demo.png", "where to save the picture of the VM's display")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	d := &demo{typ: *typ, count: *machines, begin: time.Now()}
	if *id != "" {
		d.uuid = uuid.MustParse(*id)
	}
	if err := d.run(ctx, *picture); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		var hint interface{ Hint() string }
		if errors.As(err, &hint) {
			fmt.Fprintln(os.Stderr, "what to do:", hint.Hint())
		}
		os.Exit(1)
	}
}

type demo struct {
	typ     string
	uuid    uuid.UUID
	count   int
	begin   time.Time
	host    *mdev.Host
	conn    *virt.Conn
	manager *vgpu.Manager
}

func (d *demo) say(format string, args ...any) {
	fmt.Printf("\n[%5.1f s] %s\n", time.Since(d.begin).Seconds(), fmt.Sprintf(format, args...))
}

func (d *demo) run(ctx context.Context, picture string) (err error) {
	kit, err := vgpukit.Open(ctx, vgpukit.Config{})
	if err != nil {
		return err
	}
	defer kit.Close()
	d.host, d.conn, d.manager = kit.Host, kit.Conn, kit.Manager
	before, err := d.inventory(ctx)
	if err != nil {
		return err
	}
	d.say("What this host offers:")
	fmt.Print(summary(before, ""))

	made, err := d.host.Create(ctx, mdev.CreateRequest{Type: d.typ})
	if err != nil {
		return err
	}
	d.say("A bare vGPU of type %s: %s on %s, IOMMU group %s, node %s; removed again.", d.typ, made.ID, made.Parent, made.IOMMUGroup, made.VFIONode)
	if err := d.host.Remove(ctx, made.ID); err != nil {
		return err
	}

	if err := d.machines(ctx, made.Framework, picture); err != nil {
		return err
	}
	return d.nothingLeft(ctx, before)
}

// machines lets the VMs live, the second with two vGPUs.
func (d *demo) machines(ctx context.Context, framework mdev.Framework, picture string) (err error) {
	display := vgpu.Request{Type: d.typ, Address: "0000:00:08.0", Display: "on", RAMFB: "on"}
	if framework == mdev.FrameworkVendorVFIO {
		display = vgpu.Request{Type: d.typ, Address: "0000:00:08.0", Alias: "ua-vgpu"}
	}
	first := display
	first.UUID = d.uuid
	vms := []struct {
		name  string
		vgpus []vgpu.Request
	}{
		{"demo-one", []vgpu.Request{first}},
		{"demo-two", []vgpu.Request{display, {Type: d.typ, Address: "0000:00:09.0"}}},
	}[:d.count]
	for _, vm := range vms {
		made, err := d.manager.Provision(ctx, vgpu.ProvisionRequest{Domain: fmt.Sprintf(machine, vm.name), VGPUs: vm.vgpus})
		if err != nil {
			return err
		}
		if made.Existed {
			return fmt.Errorf("the VM %s is there already; it is left alone", made.Name)
		}
		defer func() {
			down := vgpu.TeardownOptions{Stop: vgpu.StopOptions{SkipGuest: true}}
			err = errors.Join(err, d.manager.Teardown(context.WithoutCancel(ctx), vm.name, down))
		}()
		if made, err = d.manager.Start(ctx, vm.name, vgpu.StartOptions{}); err != nil {
			return err
		}
		d.say("%s is %s:", made.Name, made.State)
		for _, v := range made.VGPUs {
			fmt.Printf("  vGPU %s, %s of %s, guest address %s\n", v.ID, v.Type, v.Parent, v.Address)
		}
		if err := d.guestView(ctx, made); err != nil {
			return err
		}
	}
	inv, err := d.inventory(ctx)
	if err != nil {
		return err
	}
	d.say("What the VMs hold:")
	fmt.Print(summary(inv, d.typ))
	if err := d.host.Remove(ctx, firstDevice(inv)); !errors.Is(err, mdev.ErrInUse) {
		return fmt.Errorf("a vGPU in use was not refused: %v", err)
	} else {
		d.say("A vGPU in use is refused at once: %v", err)
	}
	image, mime, err := d.conn.Screenshot(ctx, "demo-one", 0)
	if err != nil {
		return err
	}
	if err := os.WriteFile(picture, image, 0o644); err != nil {
		return err
	}
	d.say("The display of demo-one is saved as %s (%s, %d bytes).", picture, mime, len(image))
	for _, vm := range vms {
		stopped, err := d.manager.Stop(ctx, vm.name, vgpu.StopOptions{SkipGuest: true})
		if err != nil {
			return err
		}
		fmt.Printf("  %s is %s\n", stopped.Name, stopped.State)
	}
	return nil
}

// guestView shows the lines of the guest's PCI bus that are about its vGPUs, once
// the firmware has given them their place in memory.
func (d *demo) guestView(ctx context.Context, vm vgpu.VM) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for _, v := range vm.VGPUs {
		address, err := domain.ParseAddress(v.Address)
		if err != nil {
			return err
		}
		for about := ""; !strings.Contains(about, " at 0x"); {
			text, err := d.conn.Monitor(ctx, vm.Name, "info pci")
			if err != nil {
				return err
			}
			heading := fmt.Sprintf("Bus %2d, device %3d, function %d:", address.Bus, address.Slot, address.Function)
			_, after, found := strings.Cut(text, heading)
			if !found {
				return fmt.Errorf("the guest does not see a device at %s:\n%s", v.Address, text)
			}
			about, _, _ = strings.Cut(after, "  Bus")
			if strings.Contains(about, " at 0x") {
				fmt.Printf("  the guest sees at %s:%s\n", v.Address, strings.TrimRight(about, "\r\n "))
			}
		}
	}
	return nil
}

// nothingLeft compares the host with what it was.
func (d *demo) nothingLeft(ctx context.Context, before *mdev.Inventory) error {
	after, err := d.inventory(ctx)
	if err != nil {
		return err
	}
	domains, err := d.conn.Domains(ctx)
	if err != nil {
		return err
	}
	d.say("After the teardown:")
	fmt.Print(summary(after, d.typ))
	for _, dom := range domains {
		if strings.HasPrefix(dom.Name, "demo-") {
			return fmt.Errorf("the domain %s is left", dom.Name)
		}
	}
	was, err := json.Marshal(before)
	if err != nil {
		return err
	}
	if is, err := json.Marshal(after); err != nil || !bytes.Equal(was, is) {
		return errors.Join(errors.New("the host is not as before"), err)
	}
	fmt.Println("  no domain, no vGPU, every instance back.")
	return nil
}

func (d *demo) inventory(ctx context.Context) (*mdev.Inventory, error) {
	inv, err := d.host.Inventory(ctx)
	if err == nil && len(inv.GPUs) == 0 {
		err = errors.New("this host offers no vGPUs")
	}
	return inv, err
}

// summary has the room that each GPU has for its types, or for one of them, and
// its vGPUs.
func summary(inv *mdev.Inventory, only string) string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "  GPU\tTYPE\tNAME\tROOM FOR")
	for _, gpu := range inv.GPUs {
		types := gpu.Capacity
		if only != "" {
			types = slices.DeleteFunc(slices.Clone(types), func(c mdev.Capacity) bool { return c.Type != only && c.Name != only })
		}
		for i, c := range types {
			if i == 3 && len(types) > 4 {
				fmt.Fprintf(w, "  %s\t… and %d more types\t\t\n", gpu.Name, len(types)-i)
				break
			}
			fmt.Fprintf(w, "  %s\t%s\t%s\t%d\n", gpu.Name, c.Type, c.Name, c.Available)
		}
		for _, p := range gpu.Parents {
			for _, v := range p.Devices {
				held := ""
				if v.Holder != nil {
					held = "held by VM " + v.Holder.VM
				}
				fmt.Fprintf(w, "    %s\t%s\t%s\t\n", v.ID, v.Type, held)
			}
		}
	}
	w.Flush()
	return b.String()
}

func firstDevice(inv *mdev.Inventory) string {
	for _, gpu := range inv.GPUs {
		for _, p := range gpu.Parents {
			if len(p.Devices) > 0 {
				return p.Devices[0].ID
			}
		}
	}
	return ""
}
