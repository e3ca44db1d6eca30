package mdev

import (
	"context"
	"slices"
	"time"
)

// Framework is the kernel interface through which a parent makes vGPUs. It
// is discovered, never configured.
type Framework string

// The frameworks.
const (
	// FrameworkMdev is the kernel's mediated devices: Linux
	// Documentation/driver-api/vfio-mediated-device.rst.
	FrameworkMdev Framework = "mdev"
	// FrameworkVendorVFIO is NVIDIA's vendor-specific VFIO framework on
	// SR-IOV virtual functions, for kernels without mediated devices.
	FrameworkVendorVFIO Framework = "vendor-vfio"
)

// Inventory is one host's offer at one moment. It is plain data, to be read only:
// others who asked at the same moment may have the same one. Its lists are never nil. What is wrong is told with the object
// that it belongs to; see [Inventory.AllProblems] for all of it.
type Inventory struct {
	GPUs     []GPU     `json:"gpus"`     // sorted by name
	Problems []Problem `json:"problems"` // of no GPU
}

// Inventory reads the whole host: GPUs, parents, types with what is left of
// them, devices and who holds them.
//
// What cannot be read is told in the Problems of the object that it belongs
// to, and never hides the rest; an error means that nothing could be said:
// the context has ended, or the first directory is unreadable. A host without
// vGPU support has an empty inventory.
//
// Those who ask at the same time share what is read: each is given a reading that
// began after its call. Without a deadline in ctx, 30 seconds are the bound; the error
// then says at which file the reading is.
//
// It changes and opens no device, and needs root only to see the holders.
func (h *Host) Inventory(ctx context.Context) (*Inventory, error) {
	ctx, cancel := bounded(ctx, readTimeout)
	defer cancel()
	return h.shared.read(ctx, h)
}

func (s *scan) inventory(ctx context.Context) (*Inventory, error) {
	parents, pfs, err := s.parents(ctx)
	if err != nil {
		return nil, err
	}
	s.recheckGhosts(ctx, parents)
	s.fillHolders(ctx, parents)
	if err := ended(ctx, "inventory", ""); err != nil {
		return nil, err
	}
	inventory := &Inventory{GPUs: s.gpus(ctx, parents, pfs), Problems: s.problems}
	if inventory.Problems == nil {
		inventory.Problems = []Problem{}
	}
	return inventory, nil
}

// parents reads all parents, sorted by name, and finds the GPUs that could
// have virtual functions and are no parents.
func (s *scan) parents(ctx context.Context) ([]Parent, []place, error) {
	places, err := s.mdevParents()
	if err != nil {
		return nil, nil, explain("inventory", mdevClassDir, anyFile, err)
	}
	bus, err := s.busDevices()
	if err != nil {
		return nil, nil, explain("inventory", mdevDevicesDir, anyFile, err)
	}
	known := make(map[string]bool, len(places))
	for _, at := range places {
		known[at.name] = true
	}
	vfs, pfs, err := s.pciParents(known)
	if err != nil {
		s.note(&s.problems, pciDevicesDir, err)
	}
	places = append(places, vfs...)
	slices.SortFunc(places, func(a, b place) int { return compareNames(a.name, b.name) })
	parents := make([]Parent, 0, len(places))
	for _, at := range places {
		if err := ended(ctx, "inventory", ""); err != nil {
			return nil, nil, err
		}
		p := s.parent(at)
		if at.framework == FrameworkMdev {
			s.types(&p)
			s.mdevs(&p, bus)
		} else {
			s.vf(&p)
		}
		parents = append(parents, p)
	}
	s.nameVFTypes(parents)
	return parents, pfs, nil
}

// nameVFTypes names the types of configured virtual functions from their
// siblings' lists, which may have been read later.
func (s *scan) nameVFTypes(parents []Parent) {
	for i := range parents {
		for j := range parents[i].Devices {
			dev := &parents[i].Devices[j]
			if dev.Framework == FrameworkVendorVFIO && dev.TypeName == "" {
				dev.TypeName = s.host.vendorTypeName(dev.Type)
			}
		}
	}
}

// recheckGhosts looks again at devices that were not on the bus: most are just
// being made or removed.
func (s *scan) recheckGhosts(ctx context.Context, parents []Parent) {
	wait := newPatience(50 * time.Millisecond)
	for i := range parents {
		p := &parents[i]
		p.Devices = slices.DeleteFunc(p.Devices, func(dev Device) bool {
			for dev.State == StateGhost {
				_, err := s.fs.Stat(dev.Path)
				if absent(err) {
					return true
				}
				if _, err := s.fs.Stat(mdevDevicesDir + "/" + dev.ID); err == nil || !wait.sleep(ctx) {
					break
				}
			}
			return false
		})
		for j := range p.Devices {
			dev := &p.Devices[j]
			if dev.State != StateGhost {
				continue
			}
			if _, err := s.fs.Stat(mdevDevicesDir + "/" + dev.ID); err != nil {
				continue
			}
			if again, ok := s.mdev(p, dev.ID, true); ok {
				*dev = again
			}
		}
	}
}

// fillHolders looks through the processes once for all devices.
func (s *scan) fillHolders(ctx context.Context, parents []Parent) {
	wanted := map[string]bool{}
	for i := range parents {
		for j := range parents[i].Devices {
			for _, node := range parents[i].Devices[j].nodes() {
				wanted[node] = true
			}
		}
	}
	if len(wanted) == 0 {
		return
	}
	found := s.holders(ctx, wanted)
	for i := range parents {
		for j := range parents[i].Devices {
			dev := &parents[i].Devices[j]
			if who, ok := s.pick(dev, found); ok {
				dev.Holder = &who.Holder
			}
		}
	}
}
