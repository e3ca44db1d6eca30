package domain

import "strings"

// parseAddressElement reads <address domain='0x0000' bus='0x00' slot='0x08'
// function='0x0' multifunction='on'/>, of a guest's or of a host's device. As
// libvirt does, it takes a number that is left out for 0.
//
// ok is false if there is no address: no element, or one of another type, or
// one on slot 0 of bus 0, by which libvirt understands that it may choose.
func parseAddressElement(n *node) (a Address, multifunction, ok bool, err error) {
	if t, typed := n.attr("type"); n == nil || typed && t != "pci" {
		return a, false, false, nil
	}
	var v [4]uint64
	limits := [...]uint64{0xffff, 0xff, 0x1f, 7}
	for i, name := range [...]string{"domain", "bus", "slot", "function"} {
		s, written := n.attr(name)
		if !written {
			continue
		}
		number, valid := parseNumber(s)
		if !valid || number > limits[i] {
			return a, false, false, &Error{
				Op: "read", Object: "PCI address of <" + n.parent.local + ">",
				Meaning: name + "='" + clip(s, 20) + "' is not valid",
				Next:    "write a bus of at most 0xff, a slot of at most 0x1f and a function of at most 7",
				Kind:    ErrInvalid,
			}
		}
		v[i] = number
	}
	a = Address{Domain: uint16(v[0]), Bus: uint8(v[1]), Slot: uint8(v[2]), Function: uint8(v[3])}
	m, _ := n.attr("multifunction")
	return a, m == "on", a.Domain != 0 || a.Bus != 0 || a.Slot != 0, nil
}

// parseNumber reads a number as C's strtoul does with base 0: 8, 0x8 or 010.
func parseNumber(s string) (uint64, bool) {
	for len(s) > 0 && isUUIDSpace(s[0]) {
		s = s[1:]
	}
	base := uint64(10)
	switch {
	case strings.HasPrefix(s, "0x"), strings.HasPrefix(s, "0X"):
		s, base = s[2:], 16
	case len(s) > 1 && s[0] == '0':
		s, base = s[1:], 8
	}
	var v uint64
	for _, c := range []byte(s) {
		d := hexDigit(c)
		if d < 0 || uint64(d) >= base || v > 1<<32 {
			return 0, false
		}
		v = v*base + uint64(d)
	}
	return v, s != "" && v < 1<<32
}
