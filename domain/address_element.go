package domain

import "github.com/vgpukit/vgpukit/internal/pci"

// parseAddressElement reads a device's <address type='pci' domain='0x0000' bus='0x00'
// slot='0x08' function='0x0' multifunction='on'/> in the guest. As libvirt does, it
// takes a number that is left out for 0.
//
// ok is false if there is no address: no element, or one of another type, or
// one on slot 0 of bus 0, by which libvirt understands that it may choose.
func parseAddressElement(n *node) (a Address, multifunction, ok bool, err error) {
	if t, typed := n.Attr("type"); n == nil || typed && t != "pci" {
		return a, false, false, nil
	}
	parsed, wrong := pci.FromAttributes(n.Attr)
	if wrong != "" {
		s, _ := n.Attr(wrong)
		return a, false, false, &Error{
			Op: "read", Object: "PCI address of <" + n.Parent.Local + ">",
			Meaning: wrong + "='" + clip(s, 20) + "' is not valid",
			Next:    "write a domain of at most 0xffffffff, a bus of at most 0xff, a slot of at most 0x1f and a function of at most 7",
			Kind:    ErrInvalid,
		}
	}
	a = Address(parsed)
	m, _ := n.Attr("multifunction")
	return a, m == "on", a.Domain != 0 || a.Bus != 0 || a.Slot != 0, nil
}
