// Package pci reads and writes PCI addresses.
package pci

import (
	"fmt"
	"strconv"
	"strings"
)

// Address is a PCI address. In configuration space, a bus has 8 bits, a device's
// slot 5 and a function 3. A domain of the firmware has the 16 bits of ACPI's _SEG;
// Linux has 32, and numbers those that it makes itself from 0x10000 on, as behind
// Intel's VMD: 10000:41:00.4.
type Address struct {
	Domain   uint32
	Bus      uint8
	Slot     uint8 // 0 to MaxSlot
	Function uint8 // 0 to MaxFunction
}

// The last slot of a bus and the last function of a slot.
const (
	MaxSlot     = 1<<slotBits - 1
	MaxFunction = 1<<functionBits - 1
)

const (
	domainBits   = 32
	busBits      = 8
	slotBits     = 5
	functionBits = 3
)

// Parse reads an address as sysfs and lspci -D write it, 0000:41:00.4, in
// hexadecimal, upper or lower case. A domain has 4 to 8 digits: nvidia-smi writes
// all eight.
func Parse(s string) (Address, bool) {
	domain, rest, ok := strings.Cut(s, ":")
	if !ok || len(domain) < 4 || len(domain) > 8 || len(rest) != len("41:00.4") || rest[2] != ':' || rest[5] != '.' {
		return Address{}, false
	}
	return fromHex(domain, rest[:2], rest[3:5], rest[6:])
}

// ParseShort is Parse that takes an address without a domain, 41:00.4, to be in
// domain 0, as lspci does.
func ParseShort(s string) (Address, bool) {
	if strings.Count(s, ":") == 1 {
		s = "0000:" + s
	}
	return Parse(s)
}

// ParseLoose reads an address however it is spelt: with any number of digits, and
// with : . _ or - between them, such as 5:0.0, or pci_0000_41_00_4, which is a
// name of libvirt's.
func ParseLoose(s string) (Address, bool) {
	fields := strings.FieldsFunc(strings.TrimPrefix(s, "pci_"), func(r rune) bool { return strings.ContainsRune(":._-", r) })
	if len(fields) == 3 {
		fields = append([]string{"0"}, fields...)
	}
	if len(fields) != 4 {
		return Address{}, false
	}
	return fromHex(fields[0], fields[1], fields[2], fields[3])
}

func fromHex(domain, bus, slot, function string) (Address, bool) {
	d, err1 := strconv.ParseUint(domain, 16, domainBits)
	b, err2 := strconv.ParseUint(bus, 16, busBits)
	s, err3 := strconv.ParseUint(slot, 16, slotBits)
	f, err4 := strconv.ParseUint(function, 16, functionBits)
	if err1 != nil || err2 != nil || err3 != nil || err4 != nil {
		return Address{}, false
	}
	return Address{Domain: uint32(d), Bus: uint8(b), Slot: uint8(s), Function: uint8(f)}, true
}

// String returns the address as Linux writes it: in lower case, the domain with
// four digits, or more if it needs them.
func (a Address) String() string {
	return fmt.Sprintf("%04x:%02x:%02x.%x", a.Domain, a.Bus, a.Slot, a.Function)
}

// Valid tells whether slot and function are in range.
func (a Address) Valid() bool { return a.Slot <= MaxSlot && a.Function <= MaxFunction }
