package domain

import (
	"cmp"
	"strconv"
	"strings"

	"github.com/vgpukit/vgpukit/internal/pci"
)

// Address is a PCI address, of a device as the guest sees it or of a virtual
// function on the host. The zero Address is 0000:00:00.0. In a domain document
// Bus is libvirt's number of a controller; the guest's own numbering of the
// buses below it may differ.
//
// A host's Domain has 32 bits: Linux numbers the domains behind Intel's VMD from
// 0x10000 on. A guest has domain 0 only, see [Document.CheckAddress].
type Address struct {
	Domain   uint32
	Bus      uint8
	Slot     uint8 // 0 to 0x1f
	Function uint8 // 0 to 7
}

// ParseAddress reads an address as lspci and sysfs write it: 0000:00:08.0, in
// hexadecimal, upper or lower case. The domain may be left out, 00:08.0, or have
// up to eight digits, 10000:41:00.4.
func ParseAddress(s string) (Address, error) {
	a, ok := parseAddress(s)
	if !ok {
		return Address{}, &Error{
			Op: "parse", Object: "PCI address " + strconv.Quote(clip(s, 40)), Meaning: "it is not domain:bus:slot.function",
			Next: "write it as 0000:00:08.0: domain, bus, slot (at most 1f) and function (at most 7) in hexadecimal",
			Kind: ErrInvalid,
		}
	}
	return a, nil
}

// String returns the address as 0000:00:08.0, in lower case. A domain above
// 0xffff takes more digits.
func (a Address) String() string { return pci.Address(a).String() }

// Compare orders addresses by domain, bus, slot and function. It is negative
// if a comes before b, 0 if they are equal, positive otherwise.
func (a Address) Compare(b Address) int {
	return cmp.Or(cmp.Compare(a.Domain, b.Domain), cmp.Compare(a.Bus, b.Bus),
		cmp.Compare(a.Slot, b.Slot), cmp.Compare(a.Function, b.Function))
}

// MarshalText implements [encoding.TextMarshaler] with String's form. An
// address whose slot or function is out of range is an error.
func (a Address) MarshalText() ([]byte, error) {
	if !a.valid() {
		return nil, &Error{
			Op: "write", Object: "PCI address " + a.String(), Meaning: "slot or function out of range",
			Next: "use a slot of at most 0x1f and a function of at most 7", Kind: ErrInvalid,
		}
	}
	return []byte(a.String()), nil
}

// UnmarshalText implements [encoding.TextUnmarshaler] by [ParseAddress].
func (a *Address) UnmarshalText(text []byte) error {
	v, err := ParseAddress(string(text))
	if err != nil {
		return err
	}
	*a = v
	return nil
}

func (a Address) valid() bool { return pci.Address(a).Valid() }

func parseAddress(s string) (Address, bool) {
	a, ok := pci.ParseShort(s)
	return Address(a), ok
}

// clip shortens what came from outside so that it can be quoted in an error.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + "…"
}
