package mdev

import (
	"fmt"
	"strings"

	"github.com/vgpukit/vgpukit/internal/pci"
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
	a, ok := pci.ParseShort(text)
	if !ok {
		return PCIAddress{}, &Error{Op: "parse", Object: fmt.Sprintf("%q", text), Meaning: "it is not domain:bus:slot.function", Next: "write it as lspci -D does: 0000:41:00.4", Kind: ErrInvalid}
	}
	return PCIAddress(a), nil
}

// String returns the address as the kernel writes it.
func (a PCIAddress) String() string { return pci.Address(a).String() }

// pciID returns an id of sysfs ("0x10de") as Error and PCI have it.
func pciID(data []byte) string {
	return strings.ToLower(strings.TrimPrefix(strings.TrimSpace(string(data)), "0x"))
}
