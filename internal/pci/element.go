package pci

import (
	"strconv"
	"strings"
)

// FromAttributes reads the numbers of libvirt's <address domain='0x0000' bus='0x41'
// slot='0x00' function='0x4'/>, of which attr returns one and whether it is
// written. As for libvirt, one that is left out is 0, and a domain has 32 bits.
// wrong names the attribute that is not valid, "" if all are.
func FromAttributes(attr func(name string) (value string, written bool)) (a Address, wrong string) {
	var v [4]uint32
	limits := [...]uint32{1<<domainBits - 1, 1<<busBits - 1, MaxSlot, MaxFunction}
	for i, name := range [...]string{"domain", "bus", "slot", "function"} {
		s, written := attr(name)
		if !written {
			continue
		}
		number, ok := Number(s)
		if !ok || number > limits[i] {
			return Address{}, name
		}
		v[i] = number
	}
	return Address{Domain: v[0], Bus: uint8(v[1]), Slot: uint8(v[2]), Function: uint8(v[3])}, ""
}

// Number reads a number of 32 bits as libvirt reads those of an <address>, which
// is C's strtoul with base 0 (8, 0x8, 010 or, since glibc 2.38, 0b1000), after white
// space and perhaps a plus sign, but not a minus sign.
func Number(s string) (uint32, bool) {
	s = unsigned(s)
	base := 10
	switch {
	case len(s) > 1 && s[0] == '0' && s[1]|0x20 == 'x':
		s, base = s[2:], 16
	case len(s) > 1 && s[0] == '0' && s[1]|0x20 == 'b':
		s, base = s[2:], 2
	case len(s) > 1 && s[0] == '0':
		s, base = s[1:], 8
	}
	v, err := strconv.ParseUint(s, base, 32)
	return uint32(v), err == nil
}

// Decimal is Number where libvirt takes base 10 only: in a controller's index, or a
// boot order.
func Decimal(s string) (uint32, bool) {
	v, err := strconv.ParseUint(unsigned(s), 10, 32)
	return uint32(v), err == nil
}

// unsigned skips what strtoul skips before the digits.
func unsigned(s string) string {
	return strings.TrimPrefix(strings.TrimLeft(s, " \t\n\v\f\r"), "+")
}
