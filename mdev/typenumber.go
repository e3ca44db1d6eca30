package mdev

import (
	"slices"
	"strings"
)

// typeDrivers are what NVIDIA's type directories begin with. The kernel writes the name of the
// driver that the parent had when it was registered, or of its bus, so that the virtual
// functions of one GPU can show one type as nvidia-575, vfio-pci-575 and pci-575.
var typeDrivers = []string{"nvidia", "nvidia-vgpu-vfio", "nvidia_vgpu_vfio", "vfio-pci", "pci"}

// TypeNumber returns the number that NVIDIA gave a type, from any spelling of its id: "575",
// "nvidia-575", "vfio-pci-575"; false if it has none.
func TypeNumber(id string) (string, bool) {
	at := strings.LastIndexByte(id, '-')
	number := id[at+1:]
	if at >= 0 && !slices.Contains(typeDrivers, id[:at]) {
		return "", false
	}
	if _, ok := parseCount(number); !ok || number[0] == '0' {
		return "", false
	}
	return number, true
}

// SameType tells whether two ids are of one type. NVIDIA's types have numbers, which are
// written with or without a driver's name before them: "nvidia-575", "vfio-pci-575", "575".
func SameType(a, b string) bool {
	if a == b {
		return true
	}
	n, ok := TypeNumber(a)
	if !ok {
		return false
	}
	m, ok := TypeNumber(b)
	return ok && n == m
}

// vendorTypeID is how the vendor-specific VFIO framework writes a type's id.
func vendorTypeID(id string) string {
	if number, ok := TypeNumber(id); ok {
		return number
	}
	return id
}
