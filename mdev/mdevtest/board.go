package mdevtest

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/vgpukit/vgpukit/internal/pci"
)

// Board is one board of a host: what [NewBoard] found in the catalogue, and
// what can be chosen about it.
type Board struct {
	Name string // in the catalogue, see Boards

	// Address is the PCI address of the board's first GPU, in any PCI domain:
	// "0001:41:00.0", or "10000:41:00.0" as behind Intel's VMD. Empty: the first
	// that is free. Boards without PCI have none.
	Address string
	// NUMANode is what numa_node says; -1 is none.
	NUMANode int

	// VFs is how many virtual functions are enabled at boot, as a service
	// that runs sriov-manage would do. SR-IOV boards only.
	VFs int
	// VendorVFIO makes an SR-IOV board use NVIDIA's vendor-specific VFIO
	// framework, as on Ubuntu 24.04 and kernels from 6.8.
	VendorVFIO bool
	// OldDriver: a GPU that runs a vGPU takes only more of the same type, not
	// of the same framebuffer size; and there are no placement_id and
	// gpu_instance_id files.
	OldDriver bool
	// Mixed is the mixed-size mode: vGPUs of all sizes, each at a placement.
	Mixed bool
	// MIG is the MIG mode; GPUInstances are the instances that exist at boot,
	// by profile: "3g.20gb".
	MIG          bool
	GPUInstances []string

	// CleanUp is how long the driver still works after a VM has closed a
	// vGPU. Meanwhile no VM can open it, and a VF's type cannot be reset
	// (EBUSY). An mdev's removal fails with EBUSY on kernels before 5.14, and
	// blocks on newer ones (chosen).
	CleanUp time.Duration
}

// Boards returns the names that [NewBoard] knows, sorted.
func Boards() []string { return slices.Sorted(maps.Keys(models)) }

// NewBoard returns a board from the catalogue. Its spec is the name, an
// address if one is wanted, and options:
//
//	tesla-m60
//	l40s@0001:41:00.0,numa=1,vfs=4
//
// The options are numa=N, vfs=N, vendor-vfio, old-driver, mixed, mig,
// instance=PROFILE (repeatable) and clean-up=DURATION.
func NewBoard(spec string) (Board, error) {
	parts := strings.Split(spec, ",")
	name, address, _ := strings.Cut(parts[0], "@")
	m, ok := models[name]
	if !ok {
		return Board{}, fmt.Errorf("board %q is not known; there are %s", name, strings.Join(Boards(), ", "))
	}
	b := Board{
		Name: name, Address: address, NUMANode: -1, VFs: m.totalVFs, VendorVFIO: m.vendor,
		MIG: len(m.instances) > 0, GPUInstances: slices.Clone(m.instances),
	}
	for _, option := range parts[1:] {
		key, value, _ := strings.Cut(option, "=")
		var err error
		switch key {
		case "numa":
			b.NUMANode, err = strconv.Atoi(value)
		case "vfs":
			b.VFs, err = strconv.Atoi(value)
		case "vendor-vfio":
			b.VendorVFIO = true
		case "old-driver":
			b.OldDriver = true
		case "mixed":
			b.Mixed = true
		case "mig":
			b.MIG = true
		case "instance":
			b.GPUInstances = append(b.GPUInstances, value)
		case "clean-up":
			b.CleanUp, err = time.ParseDuration(value)
		default:
			err = fmt.Errorf("no such option")
		}
		if err != nil {
			return Board{}, fmt.Errorf("board %q, option %q: %w", name, option, err)
		}
	}
	_, err := b.check()
	return b, err
}

// check tells whether such a board can exist.
func (b Board) check() (*model, error) {
	m, ok := models[b.Name]
	if !ok {
		return nil, fmt.Errorf("board %q is not known; there are %s", b.Name, strings.Join(Boards(), ", "))
	}
	bad := func(format string, args ...any) (*model, error) {
		return nil, fmt.Errorf("board %s: %s", b.Name, fmt.Sprintf(format, args...))
	}
	switch {
	case b.VFs < 0 || b.VFs > m.totalVFs:
		return bad("%d VFs; it has %d", b.VFs, m.totalVFs)
	case b.VendorVFIO && m.totalVFs == 0:
		return bad("the vendor-specific VFIO framework is for SR-IOV boards")
	case b.Mixed && !m.nvidia():
		return bad("it has no mixed-size mode")
	case b.MIG && m.slices == 0:
		return bad("it has no MIG")
	case len(b.GPUInstances) > 0 && !b.MIG:
		return bad("GPU instances need the MIG mode")
	case b.Address != "" && m.gpus == 0:
		return bad("it is not a PCI device")
	case b.NUMANode < -1:
		return bad("NUMA node %d", b.NUMANode)
	case b.CleanUp < 0:
		return bad("a clean-up of %v", b.CleanUp)
	}
	if b.Address != "" {
		a, err := parseAddress(b.Address)
		if err != nil {
			return bad("%v", err)
		}
		if a.Slot != 0 && m.totalVFs > 0 || a.Function != 0 {
			return bad("it cannot be at %s", b.Address)
		}
	}
	used := 0
	for _, profile := range b.GPUInstances {
		p, ok := parseProfile(profile)
		if !ok || !m.offersProfile(p) {
			return bad("no vGPU type uses a GPU instance %q", profile)
		}
		if used += p.slices; used > m.slices {
			return bad("its GPU instances need %d slices of %d", used, m.slices)
		}
	}
	return m, nil
}

func parseAddress(s string) (pci.Address, error) {
	a, ok := pci.Parse(s)
	if !ok {
		return a, fmt.Errorf("%q is not a PCI address such as 0000:05:00.0", s)
	}
	return a, nil
}

// plus returns the address that many functions further, as SR-IOV counts.
func plus(a pci.Address, n int) pci.Address {
	n += int(a.Bus)<<8 | int(a.Slot)<<3 | int(a.Function)
	return pci.Address{Domain: a.Domain, Bus: uint8(n >> 8), Slot: uint8(n >> 3 & pci.MaxSlot), Function: uint8(n & pci.MaxFunction)}
}
