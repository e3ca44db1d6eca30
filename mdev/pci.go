package mdev

import (
	"fmt"
	"strconv"
	"strings"
)

const (
	nvidiaVendor = "10de"
	displayClass = "03" // base class of display controllers
)

// PCIAddress is a host's PCI address.
type PCIAddress struct {
	Domain   uint32
	Bus      uint8
	Slot     uint8 // 0 to 31
	Function uint8 // 0 to 7
}

// ParsePCIAddress reads "0000:41:00.4". A domain may have up to eight digits,
// as behind Intel's VMD; without one it is 0000.
func ParsePCIAddress(text string) (PCIAddress, error) {
	invalid := func() (PCIAddress, error) {
		return PCIAddress{}, &Error{Op: "parse", Object: fmt.Sprintf("%q", text), Meaning: "not a PCI address", Next: "write it as lspci -D does: 0000:41:00.4", Kind: ErrInvalid}
	}
	rest, function, ok := strings.Cut(text, ".")
	if !ok {
		return invalid()
	}
	parts := strings.Split(rest, ":")
	if len(parts) == 2 {
		parts = append([]string{"0000"}, parts...)
	}
	if len(parts) != 3 || len(parts[0]) < 4 || len(parts[0]) > 8 || len(parts[1]) != 2 || len(parts[2]) != 2 || len(function) != 1 {
		return invalid()
	}
	domain, err1 := strconv.ParseUint(parts[0], 16, 32)
	bus, err2 := strconv.ParseUint(parts[1], 16, 8)
	slot, err3 := strconv.ParseUint(parts[2], 16, 5)
	fn, err4 := strconv.ParseUint(function, 16, 3)
	if err1 != nil || err2 != nil || err3 != nil || err4 != nil {
		return invalid()
	}
	return PCIAddress{uint32(domain), uint8(bus), uint8(slot), uint8(fn)}, nil
}

// String returns the address as the kernel writes it.
func (a PCIAddress) String() string {
	return fmt.Sprintf("%04x:%02x:%02x.%x", a.Domain, a.Bus, a.Slot, a.Function)
}

// looseAddress reads an address as people and libvirt write it: "5:0.0",
// "pci_0000_05_00_0".
func looseAddress(text string) (PCIAddress, bool) {
	fields := strings.FieldsFunc(strings.TrimPrefix(text, "pci_"), func(r rune) bool { return strings.ContainsRune(":._-", r) })
	if len(fields) == 3 {
		fields = append([]string{"0"}, fields...)
	}
	if len(fields) != 4 {
		return PCIAddress{}, false
	}
	var numbers [4]uint64
	for i, bits := range []int{32, 8, 5, 3} {
		n, err := strconv.ParseUint(fields[i], 16, bits)
		if err != nil {
			return PCIAddress{}, false
		}
		numbers[i] = n
	}
	return PCIAddress{uint32(numbers[0]), uint8(numbers[1]), uint8(numbers[2]), uint8(numbers[3])}, true
}

// pciID returns an id of sysfs ("0x10de") as Error and PCI have it.
func pciID(data []byte) string {
	return strings.ToLower(strings.TrimPrefix(strings.TrimSpace(string(data)), "0x"))
}
