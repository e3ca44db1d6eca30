package placement

import (
	"math"
	"slices"
	"strings"

	"github.com/vgpukit/vgpukit/mdev"
)

// builder makes the first snapshot of a fleet.
type builder struct {
	fleet   *fleet
	classes []int32 // by GPU

	offers []offer
	kinds  []int32 // of the last parent's types, by position
	last   []mdev.Type
	ids    map[string]int32 // position in offers by type id
}

func (b *builder) host(h HostInventory) (used int32) {
	f := b.fleet
	first := int32(len(f.gpus))
	gpus := make([]*mdev.GPU, len(h.Inventory.GPUs))
	for i := range gpus {
		gpus[i] = &h.Inventory.GPUs[i]
	}
	slices.SortStableFunc(gpus, func(a, b *mdev.GPU) int { return strings.Compare(a.Name, b.Name) })
	nodeKnown := slices.ContainsFunc(gpus, func(g *mdev.GPU) bool { return g.NUMANode != nil })
	sameType := slices.ContainsFunc(gpus, oneTypeOnly)
	for _, g := range gpus {
		used += b.gpu(g, sameType)
		near := anyNode
		if nodeKnown {
			near = f.gpus[len(f.gpus)-1].node
		}
		f.near = append(f.near, near)
		f.hostOf = append(f.hostOf, int32(len(f.hosts)))
	}
	f.hosts = append(f.hosts, host{h.Host, span{first, int32(len(f.gpus))}})
	return used
}

func (b *builder) gpu(g *mdev.GPU, sameType bool) (used int32) {
	f := b.fleet
	entry := gpu{
		name: g.Name, node: -1,
		mig: g.MIG != nil && g.MIG.Enabled, noMIG: g.MIG != nil && !g.MIG.Enabled,
	}
	if g.NUMANode != nil {
		entry.node = int32(*g.NUMANode)
	}
	single := false
	for i := range g.Parents {
		p := &g.Parents[i]
		single = single || p.PF != "" || p.Framework == mdev.FrameworkVendorVFIO
		entry.framework = p.Framework
		used += int32(len(p.Devices))
	}
	b.collect(g, &entry, single)
	slices.SortFunc(b.offers, compareOffers)
	runs, sizes := b.running(g)
	mixed := len(sizes) > 1
	whole := false
	for _, o := range b.offers {
		k := &f.kinds[o.kind]
		if k.slice == "" && k.size > 0 {
			whole = !single
			mixed = mixed || (len(sizes) == 1 && !sizes[k.size] && o.available > 0)
		}
	}
	m := f.newModel(b.offers, single, mixed, sameType, whole)
	c := &class{model: m, parents: math.MaxInt32, used: used, runs: runs}
	switch {
	case single && entry.mig:
		c.parents = int32(max(0, min(len(entry.free), g.MIG.Instances-int(used))))
	case single:
		c.parents = int32(len(entry.free))
	case len(entry.free) == 0:
		c.parents = 0
	}
	c.room = make([]int32, len(b.offers))
	for i, o := range b.offers {
		c.room[i] = o.available
	}
	b.classes = append(b.classes, f.intern(c))
	f.gpus = append(f.gpus, entry)
	return used
}

// collect fills b.offers with the GPU's types, and the entry's parents.
func (b *builder) collect(g *mdev.GPU, entry *gpu, single bool) {
	b.offers, b.kinds, b.last = b.offers[:0], b.kinds[:0], nil
	if b.ids == nil {
		b.ids = map[string]int32{}
	}
	clear(b.ids)
	open := 0
	for i := range g.Parents {
		p := &g.Parents[i]
		switch {
		case len(p.Problems) > 0:
			entry.closed = append(entry.closed, closedParent{p.Name, ReasonProblem, p.Problems[0].Text})
		case single && len(p.Devices) > 0:
			entry.closed = append(entry.closed, closedParent{p.Name, ReasonParentInUse, p.Devices[0].ID})
		case single && !offersAny(p):
			entry.closed = append(entry.closed, closedParent{p.Name, ReasonNoRoom, ""})
		default:
			entry.free = append(entry.free, p.Name)
		}
		b.types(p, len(entry.free) > open, single)
		open = len(entry.free)
	}
	for _, c := range g.Capacity {
		if at, ok := b.ids[c.Type]; ok {
			o := &b.offers[at]
			o.available = min(o.available, clamp(c.Available))
			o.max = max(o.max, clamp(c.Max))
		}
	}
	for i := range b.offers {
		o := &b.offers[i]
		o.max = max(o.max, o.available, 1)
		// Free virtual functions that differ were read while the driver took
		// types away: what all of them offer is what is left.
		if single && int(o.parents) < len(entry.free) {
			o.available = 0
		}
	}
}

func offersAny(p *mdev.Parent) bool {
	for j := range p.Types {
		if p.Types[j].Available > 0 {
			return true
		}
	}
	return false
}

// types adds one parent's types. Virtual functions of a GPU offer the same
// types, so only the first of them is looked up by name.
func (b *builder) types(p *mdev.Parent, free, single bool) {
	for j := range p.Types {
		t := &p.Types[j]
		var at int32
		if j < len(b.last) && b.last[j].ID == t.ID {
			at = b.kinds[j]
		} else {
			known := false
			if at, known = b.ids[t.ID]; !known {
				at = int32(len(b.offers))
				b.ids[t.ID] = at
				kind := b.fleet.kindOf(t.ID, t.Name, t.Description.Framebuffer, p.Framework)
				b.offers = append(b.offers, offer{kind: kind, max: clamp(t.Description.MaxInstances)})
			}
			if b.last == nil {
				b.kinds = append(b.kinds, at)
			}
		}
		if free && t.Available > 0 {
			b.offers[at].parents++
			b.offers[at].available = clamp(int(b.offers[at].available) + t.Available)
		}
	}
	if b.last == nil && len(p.Types) > 0 {
		b.last = p.Types
	}
}

// running returns the kind of a vGPU on the GPU, and the framebuffer sizes of
// all of them.
func (b *builder) running(g *mdev.GPU) (runs int32, sizes map[uint64]bool) {
	runs = noKind
	for i := range g.Parents {
		for j := range g.Parents[i].Devices {
			dev := &g.Parents[i].Devices[j]
			if dev.Type == "" {
				continue
			}
			var k int32
			if at := slices.IndexFunc(b.offers, func(o offer) bool { return b.fleet.kinds[o.kind].id == dev.Type }); at >= 0 {
				k = b.offers[at].kind
			} else {
				k = b.fleet.kindOf(dev.Type, dev.TypeName, 0, dev.Framework)
			}
			if runs == noKind {
				runs = k
			}
			if kind := &b.fleet.kinds[k]; kind.slice == "" && kind.size > 0 {
				if sizes == nil {
					sizes = map[uint64]bool{}
				}
				sizes[kind.size] = true
			}
		}
	}
	return runs, sizes
}

// oneTypeOnly tells whether a GPU shows that its driver is an older one, under
// which a GPU runs one type at a time: it has room for the type that it runs
// and none for another of the same size.
func oneTypeOnly(g *mdev.GPU) bool {
	if len(g.Parents) != 1 || g.Parents[0].PF != "" || len(g.Parents[0].Devices) == 0 {
		return false
	}
	types, devices := g.Parents[0].Types, g.Parents[0].Devices
	id := devices[0].Type
	if slices.ContainsFunc(devices, func(d mdev.Device) bool { return d.Type != id }) {
		return false
	}
	at := slices.IndexFunc(types, func(t mdev.Type) bool { return t.ID == id })
	if at < 0 || types[at].Available == 0 || types[at].Description.Framebuffer == 0 {
		return false
	}
	return slices.ContainsFunc(types, func(t mdev.Type) bool {
		return t.ID != id && t.Description.Framebuffer == types[at].Description.Framebuffer &&
			t.Available == 0 && t.Description.MaxInstances > len(devices)
	})
}

func clamp(n int) int32 { return int32(min(max(n, 0), math.MaxInt32)) }
