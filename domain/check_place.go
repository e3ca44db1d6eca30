package domain

import (
	"fmt"
	"slices"

	"github.com/vgpukit/vgpukit/internal/pci"
)

// addressTypes are those that an <address> can have.
var addressTypes = []string{
	"pci", "drive", "virtio-serial", "ccid", "usb", "spapr-vio", "virtio-s390", "ccw", "virtio-mmio", "isa", "dimm", "unassigned",
}

// placeComplaints says what libvirt refuses of a vGPU's place in the guest: an address of
// a type that its model cannot have, one that is not valid, or one that is taken, for all
// but PCI addresses, of which CheckAddress knows more.
func (d *Document) placeComplaints(n *node, h Hostdev) (c complaints) {
	a := n.Child("address")
	if a == nil {
		return nil
	}
	kind, written := a.Attr("type")
	const leave = "leave the address out, so that libvirt chooses"
	switch {
	case !written:
		c.say(leave, "Missing required attribute 'type' in element 'address'")
	case !slices.Contains(addressTypes, kind):
		c.say(leave, "Invalid value for attribute 'type' in element 'address': '%s'", clip(kind, 20))
	case h.VF != "" && kind != "pci" && kind != "unassigned":
		c.say(leave, "PCI host devices must use 'pci' or 'unassigned' address type")
	case h.VF == "" && kind != addressTypeOf(h.model()):
		c.say(leave, "Unsupported address type '%s' with mediated device model '%s'", kind, h.model())
	case kind == "pci":
		d.pciComplaints(&c, n, a)
	case kind == "ccw":
		d.ccwComplaints(&c, n, a)
	}
	return c
}

// addressTypeOf is the type of address that a mediated device of that model has, "" if none.
func addressTypeOf(model string) string {
	switch model {
	case ModelPCI:
		return "pci"
	case ModelCCW:
		return "ccw"
	}
	return ""
}

func (d *Document) pciComplaints(c *complaints, n, a *node) {
	if _, wrong := pci.FromAttributes(a.Attr); wrong != "" {
		s, _ := a.Attr(wrong)
		c.say("write bus, slot and function in libvirt's form, such as slot='0x08'", "Invalid value for attribute '%s' in element 'address': '%s'", wrong, clip(s, 20))
	}
	c.oneOf(a, "multifunction", "on", "off")
	z := a.Child("zpci")
	if z == nil {
		return
	}
	m := machineOf(d.root)
	if m.written && m.kind != machineS390 {
		c.say("take <zpci> out", "This QEMU binary doesn't support zPCI")
	}
	if uid, ok := zpciNumber(z, "uid"); ok && (uid == 0 || uid > 0xffff) {
		c.say("write a uid from 0x0001 to 0xffff", "Invalid PCI address uid='0x%.4x', must be > 0x0000 and <= 0xffff", uid)
	}
	for _, name := range []string{"uid", "fid"} {
		own, ok := zpciNumber(z, name)
		for other := range deviceNodes(devicesOf(d.root), n) {
			if their, there := zpciNumber(other.Child("address").Child("zpci"), name); ok && there && their == own {
				c.say(fmt.Sprintf("%s has %s='%#x' too: choose another", describe(other), name, own), "zPCI %s %o is already reserved", name, own)
				break
			}
		}
	}
}

func zpciNumber(z *node, name string) (uint32, bool) {
	s, written := z.Attr(name)
	v, ok := pci.Number(s)
	return v, written && ok
}

func (d *Document) ccwComplaints(c *complaints, n, a *node) {
	if m := machineOf(d.root); m.written && m.kind != machineS390 {
		c.say("leave the address out", "CCW addresses are not supported by machine type '%s'", m.name)
	}
	devno, wrong := parseDevno(a)
	if wrong != "" {
		c.say("write cssid, ssid and devno, or no address", "%s", wrong)
		return
	}
	for other := range deviceNodes(devicesOf(d.root), n) {
		place := other.Child("address")
		if their, _ := parseDevno(place); devno != "" && kindOf(place) == "ccw" && their == devno {
			c.say(fmt.Sprintf("%s has it: choose another, or leave the address out", describe(other)), "The CCW devno '%s' is in use already", devno)
			(*c)[len(*c)-1].kind = ErrInUse
			return
		}
	}
}

// parseDevno reads the address of a channel device as virCCWDeviceAddressParseXML does;
// devno is "" if libvirt is to choose.
func parseDevno(a *node) (devno, wrong string) {
	var v [3]uint32
	count := 0
	for i, name := range [...]string{"cssid", "ssid", "devno"} {
		s, written := a.Attr(name)
		if !written {
			continue
		}
		count++
		var ok bool
		if v[i], ok = pci.Number(s); !ok {
			return "", fmt.Sprintf("Invalid value for attribute '%s' in element 'address': '%s'", name, clip(s, 20))
		}
	}
	switch {
	case v[0] > 0xfe || v[1] > 3 || v[2] > 0xffff:
		return "", fmt.Sprintf("Invalid specification for virtio ccw address: cssid='0x%x' ssid='0x%x' devno='0x%04x'", v[0], v[1], v[2])
	case count == 0:
		return "", ""
	case count < 3:
		return "", "Invalid partial specification for virtio ccw address"
	}
	return fmt.Sprintf("%x.%x.%04x", v[0], v[1], v[2]), ""
}
