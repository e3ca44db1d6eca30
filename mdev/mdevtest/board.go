package mdevtest

import (
	"fmt"
	"slices"
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
	// Driver is the release of the host's driver: "550.54.10". Types, their names and their
	// resolutions are those that it lists. Empty: the board's default.
	Driver string
	// VFIOPCITypes is how many virtual functions, the last ones, name their types'
	// directories after vfio-pci, "vfio-pci-575" for "nvidia-575", as is seen where
	// they were bound to it before. Without the vendor-specific framework only.
	VFIOPCITypes int
	// ECC is error correction, which [Host.Facts] tells of.
	ECC bool
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

// NewBoard returns a board from the catalogue. Its spec is the name, an
// address if one is wanted, and options:
//
//	tesla-m60
//	l40s@0001:41:00.0,numa=1,vfs=4
//
// The options are numa=N, vfs=N, driver=RELEASE, vendor-vfio, vfio-pci-types=N, ecc,
// old-driver, mixed, mig, mig=PROFILE:N and instance=PROFILE (both repeatable), and
// clean-up=DURATION.
func NewBoard(spec string) (Board, error) {
	parts := strings.Split(spec, ",")
	name, address, _ := strings.Cut(parts[0], "@")
	m, err := findModel(name)
	if err != nil {
		return Board{}, err
	}
	instances := presets[name].instances
	b := Board{
		Name: name, Address: address, NUMANode: -1, VFs: m.series.totalVFs, VendorVFIO: m.series.vendor,
		MIG: len(instances) > 0, GPUInstances: slices.Clone(instances),
	}
	for _, option := range parts[1:] {
		if err := b.set(option); err != nil {
			return Board{}, fmt.Errorf("board %q, option %q: %w", name, option, err)
		}
	}
	if m.series.vendor && !slices.Contains(parts, "vendor-vfio") { // its default needs a driver that has it
		b.VendorVFIO = !b.before(m, driverVendorVFIO)
	}
	_, err = b.check()
	return b, err
}

// release is the host driver's.
func (b Board) release(m *model) string {
	switch {
	case b.Driver != "":
		return b.Driver
	case b.VendorVFIO && !m.series.vendor && b.OldDriver:
		return "550.144.02"
	case b.VendorVFIO && !m.series.vendor:
		return "570.133.10"
	}
	return m.series.release
}

// before tells whether the host's driver is older.
func (b Board) before(m *model, driver int) bool {
	n, err := major(b.release(m))
	return err == nil && n < driver
}

// check tells whether such a board can exist.
func (b Board) check() (*model, error) {
	m, err := findModel(b.Name)
	if err != nil {
		return nil, err
	}
	bad := func(format string, args ...any) (*model, error) {
		return nil, fmt.Errorf("board %s: %s", b.Name, fmt.Sprintf(format, args...))
	}
	switch {
	case b.VFs < 0 || b.VFs > m.series.totalVFs:
		return bad("%d VFs; it has %d", b.VFs, m.series.totalVFs)
	case b.VendorVFIO && m.series.totalVFs == 0:
		return bad("the vendor-specific VFIO framework is for SR-IOV boards")
	case b.Driver != "" && !m.nvidia():
		return bad("it has no driver of NVIDIA's")
	case b.VendorVFIO && b.before(m, driverVendorVFIO):
		return bad("the vendor-specific VFIO framework is in drivers from %d on", driverVendorVFIO)
	case b.VFIOPCITypes < 0 || b.VFIOPCITypes > b.VFs || b.VFIOPCITypes > 0 && b.VendorVFIO:
		return bad("%d of its %d VFs cannot have types named after vfio-pci", b.VFIOPCITypes, b.VFs)
	case b.Mixed && !m.nvidia():
		return bad("it has no mixed-size mode")
	case b.MIG && m.slices() == 0:
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
		if a.Slot != 0 && m.series.totalVFs > 0 || a.Function != 0 {
			return bad("it cannot be at %s", b.Address)
		}
	}
	if _, err := m.addInstances(b.GPUInstances); err != nil {
		return bad("%v", err)
	}
	if !m.nvidia() {
		return m, nil
	}
	driver, err := major(b.release(m))
	if err != nil {
		return bad("%v", err)
	}
	return m.under(driver), nil
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
