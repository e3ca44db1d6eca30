package domain

import (
	"fmt"
	"strconv"

	"github.com/vgpukit/vgpukit/internal/devicexml"
	"github.com/vgpukit/vgpukit/internal/pci"
)

// QEMUOptions says how to write QEMU's arguments. The zero value is what
// libvirt does with a QEMU of today.
type QEMUOptions struct {
	// Classic writes -device driver,key=value instead of JSON, for QEMU before
	// 6.2 and for people.
	Classic bool
}

// QEMUArgs returns the arguments with which libvirt 11.3 gives QEMU the vGPUs
// of the document, for those who start QEMU themselves: -uuid, which NVIDIA's
// vGPU manager needs, if the document has a UUID, and a -device for each
// mediated device and for each PCI device of a <hostdev> but those with
// managed='yes'. <qemu:override> is followed.
//
// The buses are named as libvirt names those of the document's controllers:
// pcie.0 is the root bus of q35, pci.0 that of i440fx, and pci.N belongs to the
// controller with index N, which QEMU must have been given under that id.
// Without an address in the document QEMU chooses one itself.
//
// Errors match [ErrInvalid] (a bus that does not exist, an override that is not
// valid) or [ErrUnsupported] (PCI devices on s390x).
func (d *Document) QEMUArgs(opts QEMUOptions) ([]string, error) {
	var args []string
	if id, ok := d.UUID(); ok {
		args = append(args, "-uuid", id.String())
	}
	t := topologyOf(d.root, nil)
	aliases := d.aliases(nil)
	for n := range d.devices("hostdev") {
		alias := aliases[n]
		h, ok := parseHostdev(n)
		managed, _ := n.Attr("managed")
		address, _ := n.Child("address").Attr("type")
		if !ok || h.VF != "" && (managed == "yes" || address == "unassigned") {
			continue
		}
		p, err := t.qemuDevice(n, h, alias)
		if err == nil {
			p, err = d.override(p, alias)
		}
		if err != nil {
			return nil, h.because("write QEMU arguments of", err)
		}
		arg, ok := p.classic()
		if !ok {
			return nil, h.because("write QEMU arguments of", overrideError(alias, "it removes the driver, without which there is no device"))
		}
		if !opts.Classic {
			arg = p.json()
		}
		args = append(args, "-device", arg)
	}
	return args, nil
}

// qemuDevice follows qemuBuildHostdevMediatedDevProps and
// qemuBuildPCIHostdevDevProps in libvirt's qemu_command.c.
func (t *topology) qemuDevice(n *node, h Hostdev, alias string) (properties, error) {
	var p properties
	driver := h.model()
	if driver == ModelPCI && h.RAMFB == SwitchOn {
		driver = "vfio-pci-nohotplug" // the only one that has ramfb
	}
	p.set(driverProperty, driver)
	display := string(h.Display)
	if h.VF == "" {
		if display == "" && h.model() == ModelPCI {
			display = "off"
		}
		p.set("id", alias)
		p.set("sysfsdev", "/sys/bus/mdev/devices/"+h.UUID.String())
	} else {
		p.set("host", h.VF)
		p.set("id", alias)
		if h.BootOrder > 0 {
			p.set("bootindex", uint64(h.BootOrder))
		}
		teaming, _ := n.Child("teaming").Attr("persistent")
		p.set("failover_pair_id", teaming)
	}
	p.set("display", display)
	if h.RAMFB == SwitchOn {
		p.set("ramfb", true)
	}
	if h.VF == "" && h.BootOrder > 0 {
		p.set("bootindex", uint64(h.BootOrder))
	}
	if h.VF == "" {
		loadparm, _ := n.Child("boot").Attr("loadparm")
		p.set("loadparm", loadparm)
	}
	if err := t.qemuAddress(&p, n); err != nil {
		return nil, err
	}
	if h.VF != "" {
		p.setROM(n.Child("rom"))
	}
	return p, nil
}

// qemuAddress follows qemuBuildDeviceAddressProps.
func (t *topology) qemuAddress(p *properties, n *node) error {
	if a := n.Child("address"); a != nil {
		if kind, _ := a.Attr("type"); kind == "ccw" {
			return p.setDevno(a)
		}
	}
	a, written := writtenAddress(n)
	if !written {
		return nil
	}
	if t.machine.kind == machineS390 {
		return &Error{
			Op: "write", Object: "address " + a.String(), Meaning: "PCI devices of s390x need a zpci device",
			Next: "let libvirt start the domain", Kind: ErrUnsupported,
		}
	}
	bus, ok := t.qemuBus(a.Bus)
	if !ok || a.Domain != 0 {
		return &Error{
			Op: "write", Object: "address " + a.String(),
			Meaning: fmt.Sprintf("Could not find PCI controller with index '%d' required for device at address '%s'", a.Bus, a),
			Next:    "put a controller with that index into the document", Kind: ErrInvalid,
		}
	}
	p.set("bus", bus)
	switch multi, _ := n.Child("address").Attr("multifunction"); {
	case multi == "on", multi == "" && a.Function == 0 && t.slotShared(a):
		p.set("multifunction", true)
	case multi == "off":
		p.set("multifunction", false)
	}
	if a.Function == 0 {
		p.set("addr", fmt.Sprintf("%#x", a.Slot))
	} else {
		p.set("addr", fmt.Sprintf("%#x.%#x", a.Slot, a.Function))
	}
	if index, _ := n.Child("acpi").Attr("index"); index != "" {
		if v, ok := pci.Decimal(index); ok && v > 0 {
			p.set("acpi-index", uint64(v))
		}
	}
	return nil
}

// qemuBus names a bus as qemuAssignDeviceControllerAlias and
// qemuBuildDeviceAddressPCIGetBus do.
func (t *topology) qemuBus(number uint8) (string, bool) {
	if int(number) >= len(t.buses) {
		return "", false
	}
	b := t.buses[number]
	target, _ := b.controller.Child("target").Attr("index")
	bridge := t.machine.kind == machinePSeries && b.model == modelPCIRoot && number > 0 && target != "0"
	alias := devicexml.Alias(b.controller)
	user := isUserAlias(alias)
	switch {
	case user && b.model == modelPCIeRoot:
		alias = "pcie.0" // QEMU's own
	case user && (b.model != modelPCIRoot || bridge):
	case !t.machine.multibus():
		alias = "pci"
	case b.model == modelPCIeRoot:
		alias = "pcie." + strconv.Itoa(int(number))
	default:
		alias = "pci." + strconv.Itoa(int(number))
	}
	if bridge {
		alias += ".0"
	}
	return alias, true
}

// slotShared tells whether another function of the slot is in use.
func (t *topology) slotShared(a Address) bool {
	for _, use := range t.buses[a.Bus].slots[a.Slot][1:] {
		if use != 0 {
			return true
		}
	}
	return false
}
