package placement

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/vgpukit/vgpukit/mdev"
)

// builder makes the first snapshot of a fleet.
type builder struct {
	*fleet
	kindIDs  map[kindKey]int32
	modelIDs map[string]*model
	states   map[string]*state
	gpus     []gpu   // room for those of the hosts to come, side by side for the scans
	total    int     // GPUs of all hosts
	offers   []offer // of the GPU at hand, in the order of its first parent's list
	room     []int32
	key      []byte
	policy   *GPUPolicy // of the GPU at hand; nil: it allows everything
}

type kindKey struct {
	id, name    string
	framebuffer uint64
}

// offer is a type of the GPU at hand.
type offer struct {
	id        string
	kind      int32
	available int32
	max       int32
	parents   int // free parents that offer it
}

func newBuilder(hosts []HostInventory) *builder {
	gpus := 0
	for _, h := range hosts {
		if h.Inventory != nil {
			gpus += len(h.Inventory.GPUs)
		}
	}
	return &builder{
		gpus: make([]gpu, gpus), total: gpus,
		fleet:   &fleet{kindsByName: map[string][]int32{}, spots: map[string][]spot{}},
		kindIDs: map[kindKey]int32{}, modelIDs: map[string]*model{}, states: map[string]*state{},
	}
}

func (b *builder) host(h HostInventory) host {
	gpus := make([]*mdev.GPU, len(h.Inventory.GPUs))
	for i := range gpus {
		gpus[i] = &h.Inventory.GPUs[i]
	}
	slices.SortStableFunc(gpus, func(a, b *mdev.GPU) int { return strings.Compare(a.Name, b.Name) })
	nodeKnown := slices.ContainsFunc(gpus, func(g *mdev.GPU) bool { return g.NUMANode != nil })
	sameType := slices.ContainsFunc(gpus, oneTypeOnly)
	made := host{name: h.Host, first: b.total - len(b.gpus)}
	made.gpus, b.gpus = b.gpus[:len(gpus):len(gpus)], b.gpus[len(gpus):]
	for i, g := range gpus {
		b.policy = nil
		if p := h.Policies[g.Name]; !p.IsZero() {
			b.policy = &p
		}
		made.gpus[i] = b.gpu(g, sameType)
		made.gpus[i].anyNode = !nodeKnown
		made.used += int(made.gpus[i].used)
	}
	return made
}

// gpu makes a GPU's first state. sameType: its driver has one type a GPU.
func (b *builder) gpu(g *mdev.GPU, sameType bool) gpu {
	d := &device{name: g.Name, node: -1, mig: g.MIG != nil && g.MIG.Enabled, noMIG: g.MIG != nil && !g.MIG.Enabled, instances: newInstances(g), policy: b.policy}
	if at := slices.IndexFunc(g.Problems, func(p mdev.Problem) bool { return p.Code != "" }); at >= 0 {
		d.idle = g.Problems[at]
	} else if len(g.Parents) == 0 && g.SRIOV != nil && g.SRIOV.Enabled == 0 {
		d.idle = mdev.Problem{Code: mdev.ProblemVFsOff, Text: "its virtual functions are not enabled", Next: "enable them: /usr/lib/nvidia/sriov-manage -e " + g.Name}
	}
	if g.PCI != nil {
		d.pci = g.PCI.Device
	}
	if g.NUMANode != nil {
		d.node = *g.NUMANode
	}
	made := state{parents: math.MaxInt32}
	single := false
	for i := range g.Parents {
		p := &g.Parents[i]
		single = single || p.PF != "" || p.Framework == mdev.FrameworkVendorVFIO
		d.framework = p.Framework
		made.used += int32(len(p.Devices))
	}
	b.collect(g, d, single)
	switch {
	case single:
		made.parents = int32(len(d.free))
	case len(d.free) == 0:
		made.parents = 0
	}
	var size uint64
	var mixed bool
	made.runs, size, mixed = b.running(g)
	slices.SortFunc(b.offers, func(a, b offer) int { return cmp.Compare(a.kind, b.kind) })
	b.room = b.room[:0]
	for _, o := range b.offers {
		b.room = append(b.room, o.available)
		k := &b.kinds[o.kind]
		mixed = mixed || size > 0 && !k.migBacked() && k.size > 0 && k.size != size && o.available > 0
	}
	made.room = b.room
	made.model = b.model(rules{single: single, mixed: mixed, sameType: sameType, instances: d.instances})
	made.fills = d.instances.fills(g)
	made.limits = b.limits(g)
	return gpu{b.state(made), d}
}

// state returns the one state that is equal to the given one.
func (b *builder) state(s state) *state {
	b.key = b.key[:0]
	for _, n := range []int32{int32(s.model.index), s.parents, s.used, s.runs} {
		b.key = binary.AppendVarint(b.key, int64(n))
	}
	for _, n := range s.room {
		b.key = binary.AppendVarint(b.key, int64(n))
	}
	for _, f := range s.fills {
		b.key = strconv.AppendBool(binary.AppendVarint(binary.AppendUvarint(b.key, f.Size), int64(f.VGPUs)), f.Closed)
	}
	for _, n := range s.limits {
		b.key = binary.AppendVarint(b.key, int64(n))
	}
	if same, ok := b.states[string(b.key)]; ok {
		return same
	}
	s.room = slices.Clone(s.room)
	s.setTop()
	b.states[string(b.key)] = &s
	return &s
}

// collect fills b.offers with the GPU's types, and the device's parents.
func (b *builder) collect(g *mdev.GPU, d *device, single bool) {
	b.offers = b.offers[:0]
	d.free = make([]string, 0, len(g.Parents))
	for i := range g.Parents {
		p := &g.Parents[i]
		inUse := single && len(p.Devices) > 0
		offers := b.types(p, len(p.Problems) == 0 && !inUse)
		switch {
		case len(p.Problems) > 0:
			d.closed = append(d.closed, closedParent{p.Name, ReasonProblem, p.Problems[0].Text})
		case inUse:
			d.closed = append(d.closed, closedParent{p.Name, ReasonParentInUse, p.Devices[0].ID})
		case single && !offers:
			if d.closed == nil { // the others are likely to be so too
				d.closed = make([]closedParent, 0, len(g.Parents)-len(d.free))
			}
			d.closed = append(d.closed, closedParent{p.Name, ReasonNoRoom, ""})
		default:
			if why, ok := b.quarantined(p.Name); ok {
				d.closed = append(d.closed, closedParent{p.Name, ReasonQuarantined, why})
				continue
			}
			d.free = append(d.free, p.Name)
		}
	}
	for i, c := range g.Capacity {
		at := i // they mostly have the types' order
		if at >= len(b.offers) || b.offers[at].id != c.Type {
			at = b.offered(c.Type)
		}
		if at >= 0 {
			o := &b.offers[at]
			if o.id != c.Type { // the drivers of virtual functions spell it in several ways
				o.id, o.kind = c.Type, b.kind(c.Type, b.kinds[o.kind].name, b.kinds[o.kind].size)
			}
			o.available = min(o.available, clamp(c.Available))
			o.max = max(o.max, clamp(c.Max))
		}
	}
	for i := range b.offers {
		o := &b.offers[i]
		o.max = max(o.max, o.available, 1)
		// Free virtual functions that differ were read while the driver took
		// types away: what all of them offer is what is left.
		if single && o.parents < len(d.free) {
			o.available = 0
		}
	}
}

// types adds one parent's types. any: it is open and offers one.
func (b *builder) types(p *mdev.Parent, open bool) (any bool) {
	offers := b.offers
	for j := range p.Types {
		t := &p.Types[j]
		at := j // virtual functions of a GPU list the same
		if at >= len(offers) || offers[at].id != t.ID && !mdev.SameType(offers[at].id, t.ID) {
			at = b.offer(t)
			offers = b.offers
		}
		if open && t.Available > 0 {
			any = true
			o := &offers[at]
			o.parents++
			o.available = clamp(int(o.available) + t.Available)
		}
	}
	return any
}

// offer is the place of a type in b.offers, to which it is added if it is new.
func (b *builder) offer(t *mdev.Type) int {
	at := b.offered(t.ID)
	if at < 0 {
		at = len(b.offers)
		kind := b.kind(t.ID, t.Name, t.Description.Framebuffer)
		b.offers = append(b.offers, offer{id: t.ID, kind: kind, max: clamp(t.Description.MaxInstances)})
	}
	return at
}

func (b *builder) offered(id string) int {
	if at := slices.IndexFunc(b.offers, func(o offer) bool { return o.id == id }); at >= 0 {
		return at
	}
	return slices.IndexFunc(b.offers, func(o offer) bool { return mdev.SameType(o.id, id) })
}

// running returns the kind of a vGPU on the GPU and a framebuffer size that it runs; 0:
// not known. mixed: it runs several.
func (b *builder) running(g *mdev.GPU) (runs int32, size uint64, mixed bool) {
	runs = noKind
	for i := range g.Parents {
		for j := range g.Parents[i].Devices {
			dev := &g.Parents[i].Devices[j]
			if dev.Type == "" {
				continue
			}
			var n int32
			if at := b.offered(dev.Type); at >= 0 {
				n = b.offers[at].kind
			} else {
				n = b.kind(dev.Type, dev.TypeName, 0)
			}
			if runs == noKind {
				runs = n
			}
			if k := &b.kinds[n]; !k.migBacked() && k.size > 0 {
				mixed = mixed || size > 0 && size != k.size
				size = k.size
			}
		}
	}
	return runs, size, mixed
}

// rules are what a GPU's model is under, beside its types.
type rules struct {
	single    bool // see model
	mixed     bool // framebuffer sizes run side by side
	sameType  bool // see model
	instances *instances
}

// model returns the model of GPUs with these offers, sorted by kind, and rules.
func (b *builder) model(r rules) *model {
	b.key = b.key[:0]
	for _, rule := range []bool{r.single, r.mixed, r.sameType} {
		b.key = strconv.AppendBool(b.key, rule)
	}
	for _, o := range b.offers {
		b.key = binary.AppendVarint(binary.AppendVarint(b.key, int64(o.kind)), int64(o.max))
	}
	if r.instances != nil {
		b.key = fmt.Appendf(b.key, "%v", *r.instances)
	}
	if m, ok := b.modelIDs[string(b.key)]; ok {
		return m
	}
	m := &model{index: len(b.models), single: r.single, sameType: r.sameType}
	for i, o := range b.offers {
		m.slots = append(m.slots, b.slot(m, i, o, r))
	}
	if r.instances != nil {
		for _, t := range m.slots {
			m.named = append(m.named, b.kinds[t.kind].named)
		}
		m.holds = r.instances.holds(m.named)
	}
	b.models = append(b.models, m)
	b.modelIDs[string(b.key)] = m
	return m
}

// slot says under which rules the i-th type of a model is.
func (b *builder) slot(m *model, i int, o offer, r rules) slot {
	k := &b.kinds[o.kind]
	t := slot{kind: o.kind, max: o.max, share: sharePool, group: i, cost: poolSize / int64(max(1, o.max)), size: k.size}
	same := func(slot) bool { return false }
	switch {
	case k.migBacked():
		t.share = shareInstance
		same = func(u slot) bool { return u.share == shareInstance && b.kinds[u.kind].likeInstance(k) }
	case k.size > 0:
		if r.mixed {
			t.cost = int64(k.size)
		} else {
			t.share = shareSize
		}
		same = func(u slot) bool { return u.share == t.share && u.size == k.size }
		// Before Ampere, only the largest Q and C profile can be one of several.
		t.alone = !r.single && (o.max > 1 || k.series != "Q" && k.series != "C" && k.series != "")
	}
	if first := slices.IndexFunc(m.slots, same); first >= 0 {
		t.group = first
	}
	return t
}

// kind returns the number of a type. Same id and name with another framebuffer are
// another kind.
func (b *builder) kind(id, name string, framebuffer uint64) int32 {
	key := kindKey{id, name, framebuffer}
	if n, ok := b.kindIDs[key]; ok {
		return n
	}
	n := int32(len(b.kinds))
	b.kinds = append(b.kinds, newKind(id, name, framebuffer))
	b.kindIDs[key] = n
	names := []string{id, name}
	if number, ok := mdev.TypeNumber(id); ok {
		names = append(names, number)
	}
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		if name != "" {
			b.kindsByName[name] = append(b.kindsByName[name], n)
		}
	}
	return n
}

// index notes where the GPUs of a host and their parents are.
func (b *builder) index(h int32, gpus []gpu) {
	for i := range gpus {
		g, at := &gpus[i], spot{host: h, gpu: int32(i), parent: anyParent}
		b.spots[g.name] = append(b.spots[g.name], at)
		for j, name := range g.free {
			if at.parent = int32(j); name != g.name {
				b.spots[name] = append(b.spots[name], at)
			}
		}
		at.parent = closedParents
		for _, c := range g.closed {
			if c.name != g.name {
				b.spots[c.name] = append(b.spots[c.name], at)
			}
		}
	}
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
