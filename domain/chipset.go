package domain

import "strings"

// machineKind groups the machine types by what is on their root bus.
type machineKind int

const (
	machineUnknown machineKind = iota // QEMU may hold addresses that we do not know of
	machineQ35
	machineI440FX
	machineVirt
	machinePSeries
	machineS390 // devices have channel addresses; PCI only by zPCI
	machineNoPCI
)

// primaryVideo is what Used calls the primary video card that has no address.
const primaryVideo = "primary video"

// machine is a machine type and its architecture.
type machine struct {
	kind       machineKind
	arch, name string
	written    bool // the architecture, which else is the host's
}

// machineOf reads <os><type arch= machine=>. What is left out is what libvirt
// takes: x86_64 (on such a host) and the architecture's usual machine.
func machineOf(root *node) machine {
	arch, _ := root.PathAttr("arch", "os", "type")
	name, _ := root.PathAttr("machine", "os", "type")
	written := arch != ""
	if arch == "" {
		arch = "x86_64"
	}
	if name == "" {
		name = map[string]string{
			"x86_64": "pc", "i686": "pc", "ppc64": "pseries", "ppc64le": "pseries", "s390x": "s390-ccw-virtio",
			"aarch64": "virt", "armv7l": "virt", "riscv64": "virt", "riscv32": "virt", "loongarch64": "virt",
		}[arch]
	}
	return machine{kind: machineKindOf(arch, name), arch: arch, name: name, written: written}
}

// machineKindOf follows libvirt's qemuDomainDefAddDefaultDevices and
// qemuDomainMachineIs…: which machines have a PCI root bus, and which.
func machineKindOf(arch, name string) machineKind {
	virt := name == "virt" || strings.HasPrefix(name, "virt-")
	switch arch {
	case "x86_64", "i686":
		switch {
		case name == "q35", strings.HasPrefix(name, "pc-q35-"):
			return machineQ35
		case name == "pc", strings.HasPrefix(name, "pc-i440fx-"), strings.HasPrefix(name, "pc-0."),
			strings.HasPrefix(name, "pc-1."), strings.HasPrefix(name, "rhel"):
			return machineI440FX
		}
		return machineNoPCI // isapc, microvm
	case "aarch64", "armv7l", "armv6l":
		switch {
		case virt:
			return machineVirt
		case name == "versatilepb":
			return machineUnknown
		}
		return machineNoPCI
	case "riscv64", "riscv32":
		if virt {
			return machineVirt
		}
		return machineNoPCI
	case "loongarch64":
		return machineVirt
	case "ppc64", "ppc64le":
		if name == "pseries" || strings.HasPrefix(name, "pseries-") {
			return machinePSeries
		}
		return machineUnknown
	case "s390x", "s390":
		return machineS390
	case "ppc", "ppcemb", "alpha", "sh4", "sh4eb", "sparc64":
		return machineUnknown
	case "mips", "mipsel", "mips64", "mips64el":
		if name == "malta" {
			return machineUnknown
		}
	}
	return machineNoPCI
}

// root is the model of the root bus that libvirt gives every such machine,
// written or not; "" if it gives it none.
func (m machine) root() string {
	switch m.kind {
	case machineQ35, machineVirt:
		return modelPCIeRoot
	case machineNoPCI:
		return ""
	default:
		return modelPCIRoot
	}
}

// multibus tells whether QEMU numbers the machine's PCI buses; the others have one, "pci"
// (qemuDomainSupportsPCIMultibus).
func (m machine) multibus() bool {
	virt := m.name == "virt" || strings.HasPrefix(m.name, "virt-")
	switch m.arch {
	case "x86_64", "i686", "ppc", "ppcle", "ppc64", "ppc64le", "ppcemb", "s390", "s390x":
		return true
	case "aarch64", "armv7l", "armv6l", "riscv64", "riscv32", "loongarch64":
		return virt
	}
	return false
}

// videoSlot is the slot on bus 0 where the primary video card goes.
func (m machine) videoSlot() (uint8, bool) {
	switch m.kind {
	case machineQ35:
		return 1, true
	case machineI440FX:
		return 2, true
	}
	return 0, false
}

// chipset lists what QEMU puts on bus 0 of the machine without being told.
// q35: libvirt's qemuDomainValidateDevicePCISlotsQ35 and QEMU's pc_q35.c;
// i440fx: qemuDomainValidateDevicePCISlotsPIIX3 and pc_piix.c; virt: gpex.c.
func (t *topology) chipset(devices *node) []use {
	at := func(slot, function uint8, name string) use {
		return use{Address: Address{Slot: slot, Function: function}, name: name, multifunction: "on"}
	}
	switch t.machine.kind {
	case machineQ35:
		return []use{
			at(0, 0, "q35 host bridge"),
			at(0x1f, 0, "q35 ISA bridge"),
			at(0x1f, 2, "q35 SATA controller"),
			at(0x1f, 3, "q35 SMBus"),
		}
	case machineI440FX:
		uses := []use{
			at(0, 0, "i440fx host bridge"),
			at(1, 0, "i440fx ISA bridge"),
			at(1, 1, "i440fx IDE controller"), // even if no IDE controller is written
		}
		if t.hasPIIX3USB(devices) {
			uses = append(uses, at(1, 2, "i440fx USB controller"))
		}
		return append(uses, at(1, 3, "i440fx power management"))
	case machineVirt:
		return []use{at(0, 0, "virt host bridge")}
	}
	return nil
}

// addImplicit enters what is not written but will be there: the chipset, the
// primary video card's place, and the companions of USB 2 controllers.
func (t *topology) addImplicit(devices *node) {
	if len(t.buses) == 0 {
		return
	}
	for _, u := range t.chipset(devices) {
		if t.holder(u.Address) == nil {
			t.hold(u)
		}
	}
	if slot, ok := t.machine.videoSlot(); ok && videoPending(devices) && t.buses[0].slotFree(slot) {
		t.hold(use{Address: Address{Slot: slot}, name: primaryVideo})
		t.videoPlaced = true
	}
	for _, u := range t.usbCompanions() {
		if t.holder(u.Address) == nil {
			t.hold(u)
		}
	}
}

// hasPIIX3USB tells whether the i440fx has its own USB controller: the first
// USB controller, unless the document gives it another model or none.
func (t *topology) hasPIIX3USB(devices *node) bool {
	for c := range devices.All("controller") {
		if kindOf(c) == "usb" && t.isFirst(c) {
			model := modelOf(c)
			return model == "" || model == "piix3-uhci"
		}
	}
	return true
}

// isFirst tells whether a controller is the first of its type, which may be the chipset's.
func (t *topology) isFirst(c *node) bool {
	i, numbered := t.index[c]
	return numbered && i == 0
}

// videoPending tells whether the primary video card has no address yet: it is
// the one marked as primary, or the first. libvirt adds one where the document
// has graphics and no video.
func videoPending(devices *node) bool {
	var primary *node
	for v := range devices.All("video") {
		mark, _ := v.Child("model").Attr("primary")
		if primary == nil || mark == "yes" {
			primary = v
		}
		if mark == "yes" {
			break
		}
	}
	if primary == nil {
		return devices.Child("graphics") != nil
	}
	switch kind, _ := primary.Child("model").Attr("type"); kind {
	case "none", "ramfb":
		return false
	}
	return wantsAddress(primary)
}

// usbCompanions returns the addresses of USB 2 controllers that have none
// written although another of the same index has: libvirt puts all of them on
// one slot, each on its function.
func (t *topology) usbCompanions() []use {
	place := map[int]Address{}
	for _, c := range t.ordered["usb"] {
		if a, ok := writtenAddress(c); ok && isUSB2(c) {
			if _, seen := place[t.index[c]]; !seen {
				place[t.index[c]] = a
			}
		}
	}
	var uses []use
	for _, c := range t.ordered["usb"] {
		if a, ok := place[t.index[c]]; ok && isUSB2(c) && wantsAddress(c) {
			a.Function = usbFunctions[modelOf(c)]
			uses = append(uses, use{Address: a, name: describe(c)})
		}
	}
	return uses
}
