package mdev

import "slices"

// Capacity says how many more devices of one type a GPU can hold.
//
// A sum over its parents says too much where the parents are virtual
// functions: each of 32 VFs offers one instance of a type of which the GPU
// can hold four. So the number is the smallest of
//
//   - the instances that the parents offer together;
//   - the type's instances at most, less the devices on the GPU that have
//     the same framebuffer size (they share one division of the memory), or
//     of a MIG-backed type the devices of that type. A device whose type is
//     not known, such as a ghost, counts as one of each;
//   - the framebuffer that the devices on the GPU leave, divided by the
//     type's.
//
// It stays an upper bound where the kernel does not tell more: for MIG-backed
// types whose GPU instances are partly taken, for mixed-size placement, where
// the free memory may be in pieces, and where Max is not known: of MIG-backed
// types under NVIDIA's vendor-specific VFIO framework, and of a newer board there
// that this process has seen only with vGPUs on it.
type Capacity struct {
	Type      string `json:"type"` // the type's id
	Name      string `json:"name"`
	Available int    `json:"available"`
	Max       int    `json:"max"` // on an empty GPU; 0: not known
}

// capacity works out what a GPU can really still hold: see [Capacity].
func capacity(g *GPU) []Capacity {
	byID := map[string]*Capacity{}
	kinds := map[string]Type{}
	framebuffers := map[string]uint64{} // by type id, of types and devices
	var memory, used uint64
	sameSize := map[uint64]int{}
	sameType := map[string]int{}
	unknown := 0
	for i := range g.Parents {
		for _, t := range g.Parents[i].Types {
			c, ok := byID[t.ID]
			if !ok {
				c = &Capacity{Type: t.ID, Name: t.Name, Max: t.Description.MaxInstances}
				byID[t.ID], kinds[t.ID] = c, t
				framebuffers[t.ID] = t.Description.Framebuffer
			}
			c.Available += t.Available
			memory = max(memory, t.Description.Framebuffer*uint64(t.Description.MaxInstances))
		}
	}
	for i := range g.Parents {
		for _, dev := range g.Parents[i].Devices {
			if dev.Type == "" {
				unknown++
				continue
			}
			size, ok := framebuffers[dev.Type]
			if !ok && dev.TypeName != "" {
				size = boardDescription(dev.TypeName).Framebuffer
			}
			used += size
			sameSize[size]++
			sameType[dev.Type]++
		}
	}
	shared := len(g.Parents) > 1 || len(g.Parents) == 1 && g.Parents[0].PF != ""
	list := make([]Capacity, 0, len(byID))
	for id, c := range byID {
		size := kinds[id].Description.Framebuffer
		if shared && c.Max > 0 {
			taken := sameType[id]
			if size > 0 && !isMIGBacked(c.Name) {
				taken = sameSize[size]
			}
			room := max(0, c.Max-taken)
			// The driver, which knows all types, still offers one: it fits.
			room = max(room-unknown, min(room, 1))
			c.Available = min(c.Available, room)
		}
		if shared && size > 0 && memory > 0 {
			c.Available = min(c.Available, int((memory-min(memory, used))/size))
		}
		list = append(list, *c)
	}
	slices.SortFunc(list, func(a, b Capacity) int { return compareNames(a.Type, b.Type) })
	return list
}

// isMIGBacked tells a type that has a GPU instance of its own by the slices in
// its name: "GRID A100-4-20C".
func isMIGBacked(name string) bool {
	p, ok := parseProfile(name)
	return ok && p.Slices > 0
}
