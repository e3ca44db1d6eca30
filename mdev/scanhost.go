package mdev

import (
	"context"
	"slices"
	"strings"
	"time"
)

// Inventory reads the whole host: GPUs, parents, types with what is left of
// them, devices and who holds them.
//
// What cannot be read is told in the Problems of the object that it belongs
// to, and never hides the rest; an error means that nothing could be said:
// the context has ended, or the first directory is unreadable. A host without
// vGPU support has an empty inventory.
//
// It changes and opens no device, and needs root only to see the holders.
func (h *Host) Inventory(ctx context.Context) (*Inventory, error) {
	s := h.newScan()
	parents, pfs, err := s.parents(ctx)
	if err != nil {
		return nil, err
	}
	h.settleGhosts(ctx, parents)
	h.fillHolders(ctx, parents)
	if err := ended(ctx, "inventory", ""); err != nil {
		return nil, err
	}
	inventory := &Inventory{GPUs: s.gpus(parents, pfs), Problems: s.problems}
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

// settleGhosts looks again at devices that were not on the bus: most are just
// being made or removed.
func (h *Host) settleGhosts(ctx context.Context, parents []Parent) {
	wait := newPatience(50 * time.Millisecond)
	for i := range parents {
		p := &parents[i]
		p.Devices = slices.DeleteFunc(p.Devices, func(dev Device) bool {
			for dev.State == StateGhost {
				_, err := h.fs.Stat(dev.Path)
				if absent(err) {
					return true
				}
				if _, err := h.fs.Stat(mdevDevicesDir + "/" + dev.ID); err == nil || !wait.sleep(ctx) {
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
			if _, err := h.fs.Stat(mdevDevicesDir + "/" + dev.ID); err != nil {
				continue
			}
			if again, ok := h.newScan().mdev(p, dev.ID, true); ok {
				*dev = again
			}
		}
	}
}

// fillHolders looks through the processes once for all devices.
func (h *Host) fillHolders(ctx context.Context, parents []Parent) {
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
	found := h.holders(ctx, wanted)
	for i := range parents {
		for j := range parents[i].Devices {
			dev := &parents[i].Devices[j]
			if who, ok := h.pick(dev, found); ok {
				dev.Holder = &who.Holder
			}
		}
	}
}

// gpus groups parents by physical GPU.
func (s *scan) gpus(parents []Parent, pfs []place) []GPU {
	byName := map[string]*GPU{}
	var order []string
	gpu := func(name string) *GPU {
		if g, ok := byName[name]; ok {
			return g
		}
		g := &GPU{Name: name, Parents: []Parent{}, Problems: []Problem{}}
		byName[name] = g
		order = append(order, name)
		return g
	}
	for i := range parents {
		g := gpu(parents[i].GPU)
		g.Parents = append(g.Parents, parents[i])
	}
	for _, at := range pfs {
		gpu(at.name)
	}
	slices.SortFunc(order, compareNames)
	gpus := make([]GPU, 0, len(order))
	for _, name := range order {
		g := byName[name]
		s.describeGPU(g)
		g.Capacity = capacity(g)
		gpus = append(gpus, *g)
	}
	return gpus
}

// describeGPU reads the physical function, or takes what a parent that is the
// GPU itself has.
func (s *scan) describeGPU(g *GPU) {
	if len(g.Parents) > 0 && g.Parents[0].Name == g.Name {
		own := &g.Parents[0]
		g.PCI, g.NUMANode, g.Driver = own.PCI, own.NUMANode, own.Driver
		if own.PCI != nil {
			g.SRIOV = s.sriov(own.Path, &g.Problems)
		}
	} else if where, err := s.follow(pciDevicesDir, g.Name); err == nil {
		pf := s.parent(place{name: g.Name, path: where})
		g.PCI, g.NUMANode, g.Driver, g.Problems = pf.PCI, pf.NUMANode, pf.Driver, pf.Problems
		g.SRIOV = s.sriov(where, &g.Problems)
	} else {
		s.note(&g.Problems, pciDevicesDir+"/"+g.Name, err)
	}
	if g.PCI != nil && g.PCI.Vendor == nvidiaVendor {
		g.MIG = s.mig(g.Name)
	}
}

// sriov reads a physical function's virtual functions; nil when it cannot
// have any.
func (s *scan) sriov(where string, problems *[]Problem) *SRIOV {
	d, err := openDir(s.fs, where, s.buf)
	if err != nil {
		return nil
	}
	defer d.close()
	total, err := d.number("sriov_totalvfs")
	if absent(err) {
		return nil
	}
	if err != nil {
		s.note(problems, where+"/sriov_totalvfs", err)
	}
	state := &SRIOV{Total: total, VFs: []string{}}
	names, err := d.names()
	if err != nil {
		s.note(problems, where, err)
	}
	slices.SortFunc(names, compareNames)
	for _, name := range names {
		number, ok := strings.CutPrefix(name, "virtfn")
		if _, isNumber := parseCount(number); !ok || !isNumber {
			continue
		}
		if vf := d.base(name); vf != "" {
			state.VFs = append(state.VFs, vf)
		}
	}
	state.Enabled = len(state.VFs)
	return state
}

// mig counts a GPU's MIG instances: NVIDIA's driver lists their access files
// by the GPU's device minor.
func (s *scan) mig(address string) *MIG {
	information, err := s.fs.ReadFile("proc/driver/nvidia/gpus/" + address + "/information")
	if err != nil {
		return nil
	}
	minor, ok := parseDeviceMinor(string(information))
	if !ok {
		return nil
	}
	names, err := listDir(s.fs, "proc/driver/nvidia/capabilities/gpu"+minor+"/mig", s.buf)
	if err != nil && !absent(err) {
		return nil
	}
	state := &MIG{Enabled: err == nil}
	for _, name := range names {
		if strings.HasPrefix(name, "gi") {
			state.Instances++
		}
	}
	return state
}

// parseDeviceMinor finds "Device Minor: 	 0" in a GPU's information.
func parseDeviceMinor(text string) (string, bool) {
	for line := range strings.Lines(text) {
		key, value, _ := strings.Cut(line, ":")
		if strings.TrimSpace(key) == "Device Minor" {
			value = strings.TrimSpace(value)
			_, ok := parseCount(value)
			return value, ok
		}
	}
	return "", false
}
