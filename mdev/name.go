package mdev

import (
	"cmp"
	"strings"

	"github.com/vgpukit/vgpukit/internal/closest"
	"github.com/vgpukit/vgpukit/internal/pci"
)

// validName tells whether name can be that of one file in sysfs.
func validName(name string) bool {
	if name == "" || name == "." || name == ".." || len(name) > 255 {
		return false
	}
	return strings.IndexFunc(name, func(r rune) bool { return r == '/' || r < ' ' || r == 0x7f }) < 0
}

// printable tells whether text can be the id or name of a type: it is looked up among those
// that there are, and becomes no path.
func printable(text string) bool {
	return text != "" && len(text) <= 255 && strings.IndexFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f }) < 0
}

// isUUID tells whether name is a UUID as the kernel prints it.
func isUUID(name string) bool {
	if len(name) != 36 {
		return false
	}
	for i := range len(name) {
		c := name[i]
		switch {
		case i == 8 || i == 13 || i == 18 || i == 23:
			if c != '-' {
				return false
			}
		case c >= '0' && c <= '9', c >= 'a' && c <= 'f':
		default:
			return false
		}
	}
	return true
}

// compareNames orders names with the numbers in them by value: nvidia-9
// before nvidia-10.
func compareNames(a, b string) int {
	for a != "" && b != "" {
		na, nb := digits(a), digits(b)
		if na > 0 && nb > 0 {
			da, db := strings.TrimLeft(a[:na], "0"), strings.TrimLeft(b[:nb], "0")
			if c := cmp.Or(cmp.Compare(len(da), len(db)), strings.Compare(da, db), cmp.Compare(na, nb)); c != 0 {
				return c
			}
			a, b = a[na:], b[nb:]
			continue
		}
		if a[0] != b[0] {
			return cmp.Compare(a[0], b[0])
		}
		a, b = a[1:], b[1:]
	}
	return cmp.Compare(len(a), len(b))
}

func digits(s string) int {
	n := 0
	for n < len(s) && s[n] >= '0' && s[n] <= '9' {
		n++
	}
	return n
}

// nearest returns the candidate that name was probably meant to be, or "".
func nearest(name string, candidates []string) string {
	for _, meant := range closest.Names(name, candidates, 1) {
		return meant
	}
	return ""
}

// nearestParent is nearest for the names of parents. A PCI address is meant only
// by another spelling of it: one digit away is another device.
func nearestParent(name string, parents []string) string {
	meant, isAddress := pci.ParseLoose(name)
	var others []string
	for _, parent := range parents {
		switch address, err := ParsePCIAddress(parent); {
		case err != nil:
			others = append(others, parent)
		case isAddress && address == PCIAddress(meant):
			return parent
		}
	}
	return nearest(name, others)
}
