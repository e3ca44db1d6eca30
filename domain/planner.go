package domain

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/vgpukit/vgpukit/internal/devicexml"
)

// Use is a guest PCI address that is taken.
type Use struct {
	Address Address `json:"address"`
	// By says what has it: the element and what tells it from others, as in
	// "interface 52:54:00:6b:3c:58" or "hostdev 0000:41:00.4", or a name for
	// what is implicit, as in "q35 SATA controller".
	By string `json:"by"`
	// Implicit: it is not written in the document. QEMU's chipset has it, or
	// libvirt puts the primary video card or a USB companion there.
	Implicit bool `json:"implicit,omitempty"`
}

// Used returns the guest PCI addresses that are taken, sorted by address. An
// address that the document gives to two devices is there twice.
//
// Written are the <address type='pci'> elements of the devices, controllers
// included. Implicit are
//   - q35: the host bridge 00:00.0 and the chipset's 00:1f.0, 00:1f.2 and
//     00:1f.3, whether or not the document has a SATA controller;
//   - i440fx (pc): the host bridge 00:00.0 and the chipset's 00:01.0, 00:01.1,
//     00:01.3, and 00:01.2 unless the first USB controller is of another model;
//   - virt: the host bridge 00:00.0;
//   - the primary video card's place, 00:01.0 on q35 and 00:02.0 on i440fx, as
//     long as the document has a video card (or graphics, for which libvirt adds
//     one) without an address and nothing else is written there;
//   - the companions of an ICH9 USB controller that has an address.
//
// Where libvirt will put other devices that have no address yet is not
// implicit: it takes what the written addresses leave over.
func (d *Document) Used() []Use {
	t := topologyOf(d.root, nil)
	uses := make([]Use, len(t.uses))
	for i := range t.uses {
		u := &t.uses[i]
		uses[i] = Use{Address: u.Address, By: u.by(), Implicit: u.implicit()}
	}
	slices.SortStableFunc(uses, func(a, b Use) int { return a.Address.Compare(b.Address) })
	return uses
}

// CheckAddress tells whether one more device can be put at a guest PCI
// address. nil means that libvirt takes the address as it is, without adding a
// controller or moving the primary video card, and that QEMU starts with it.
//
// The error is an [*Error] that says why not and, with [ErrInUse], who has the
// address. With [ErrInvalid] nobody has it: it lies outside PCI domain 0, the
// only one that a guest of libvirt's has, on a bus or slot that does not exist or
// takes controllers only, has a function other than 0 where the guest would not
// look for one, or is the last slot while other devices still need one.
//
// Of the function numbers other than 0: function 0 of the slot must be there,
// as guests look no further without it, and must not be marked
// multifunction='off'. libvirt sets multifunction='on' by itself.
func (d *Document) CheckAddress(a Address) error {
	return topologyOf(d.root, nil).check(a)
}

// checkAddressOf is CheckAddress for a device that is in the document already.
func (d *Document) checkAddressOf(dev *node, a Address) error {
	return topologyOf(d.root, dev).check(a)
}

// check follows virDomainPCIAddressValidate and
// virDomainPCIAddressReserveAddrInternal in libvirt's domain_addr.c, then
// do_pci_register_device in QEMU's pci.c.
func (t *topology) check(a Address) error {
	invalid := func(next, format string, args ...any) error {
		return &Error{
			Op: "use", Object: "address " + a.String(),
			Meaning: fmt.Sprintf(format, args...), Next: next, Kind: ErrInvalid,
		}
	}
	const choose = "choose another address, or let the planner choose"
	switch {
	case a.Slot > lastSlot:
		return invalid(choose, "the slot is %#x, the last is %#x", a.Slot, lastSlot)
	case a.Function > lastFunc:
		return invalid(choose, "the function is %d, the last is %d", a.Function, lastFunc)
	case len(t.buses) == 0:
		return invalid("use a machine type with PCI, such as q35", "the machine %s has no PCI bus", t.machine)
	case a.Domain != 0:
		return invalid(choose, "the guest has PCI domain 0 only")
	case a.Bus == 0 && a.Slot == 0 && t.holder(a) == nil:
		return invalid(choose, "0000:00:00 stands for no address in libvirt")
	case int(a.Bus) >= len(t.buses):
		return invalid("put a controller with that index into the document, such as a root port, or choose another bus",
			"bus %d does not exist, the last is %d", a.Bus, len(t.buses)-1)
	}
	b := t.buses[a.Bus]
	switch {
	case !b.endpoint:
		if b.model == "" {
			return invalid("correct the controller's model", "the controller with index %d is none that libvirt takes there", a.Bus)
		}
		return invalid(choose, "bus %d is a %s, which takes controllers and no devices", a.Bus, b.model)
	case t.holder(a) != nil:
		return inUse(a, t.holder(a))
	case a.Slot < b.minSlot:
		return invalid(choose, "the first slot of bus %d, a %s, is %#x", a.Bus, b.model, b.minSlot)
	case a.Slot > b.maxSlot:
		return invalid(choose, "the last slot of bus %d, a %s, is %#x", a.Bus, b.model, b.maxSlot)
	}
	if a.Function != 0 {
		zero := t.holder(Address{Bus: a.Bus, Slot: a.Slot})
		switch {
		case zero == nil:
			return invalid("use function 0, or put another device there first",
				"nothing is on function 0 of the slot, and without it the guest looks at no other function")
		case zero.implicit() && zero.multifunction == "":
			return inUse(a, zero)
		case zero.multifunction == "off":
			return invalid("choose another slot, or set multifunction='on' on the address of "+zero.by(),
				"function 0 of the slot, %s, has multifunction='off'", zero.by())
		}
	} else if b.slotFree(a.Slot) && b.auto && t.roomy(int(a.Bus)) && !t.fits(t.room()-1) {
		return invalid("give the other devices addresses first, or add a PCI bridge to the document",
			"libvirt would find no slot for the %d devices without an address and the bridges for them, with %d slots left", t.pending, t.room()-1)
	} else if b.port() && t.sparePorts() < 1 {
		return invalid("give the bridges addresses first, or add a root port", "the last free PCIe ports are needed by the PCI bridges that have no address yet")
	}
	return nil
}

func inUse(a Address, by *use) error {
	e := &Error{
		Op: "use", Object: "address " + a.String(), Meaning: "in use by " + by.by(),
		Next: "choose another address, or let the planner choose", Kind: ErrInUse,
	}
	if by.implicit() {
		e.Cause = "not written in the document, but always there"
		if by.name == primaryVideo {
			e.Cause = "libvirt puts it there, as it has no address yet"
		}
	}
	return e
}

func (m machine) String() string {
	return strings.TrimSpace(m.name + " (" + m.arch + ")")
}

// describe names a device for a person: its element and what tells it from
// others of the kind.
func describe(dev *node) string {
	attr := func(n *node, name string) string {
		v, _ := n.Attr(name)
		return v
	}
	var what string
	switch dev.Local {
	case "hostdev":
		if h, ok := parseHostdev(dev); ok {
			what = h.ID()
		} else {
			what = attr(dev.Path("source", "address"), "uuid")
		}
	case "interface":
		what = cmp.Or(attr(dev.Child("mac"), "address"), attr(dev.Child("model"), "type"))
	case "disk":
		what = attr(dev.Child("target"), "dev")
	case "controller":
		what = attr(dev, "type")
		if i := attr(dev, "index"); i != "" {
			what += " " + i
		}
		if model := modelOf(dev); model != "" {
			what += " " + model
		}
	case "filesystem":
		what = attr(dev.Child("target"), "dir")
	case "shmem":
		what = attr(dev, "name")
	default:
		what = cmp.Or(modelOf(dev), attr(dev.Child("model"), "type"), attr(dev.Child("model"), "name"))
	}
	if what == "" {
		what = devicexml.Alias(dev)
	}
	return strings.TrimSpace(dev.Local + " " + clip(what, 80))
}
