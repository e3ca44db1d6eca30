package placement

import (
	"cmp"
	"math"
	"slices"

	"github.com/vgpukit/vgpukit/mdev"
)

// Placement says where the vGPUs of one VM go. It is plain data.
type Placement struct {
	Host  string `json:"host,omitempty"`
	VGPUs []VGPU `json:"vgpus"` // in the order of the requests
}

// VGPU is one vGPU's place.
type VGPU struct {
	Type      string         `json:"type"` // the type's id on that host
	TypeName  string         `json:"type_name"`
	Framework mdev.Framework `json:"framework"`
	GPU       string         `json:"gpu"`
	Parent    string         `json:"parent"`
	// Alternatives are parents on the same host that could take this vGPU instead
	// while the VM's other vGPUs stay where they are: best first, one a GPU, 8 at
	// most. The kernel decides, so on a refusal try the next.
	Alternatives []Candidate `json:"alternatives,omitempty"`
}

// Candidate names a parent and the GPU that it belongs to.
type Candidate struct {
	GPU    string `json:"gpu"`
	Parent string `json:"parent"`
}

const maxAlternatives = 8 // in VGPU.Alternatives

// Place finds a place for each vGPU of one VM, all on one host, or for none:
// then the error is a [*Refusal], which says for each
// parent why not. It matches [ErrNoCapacity] when nothing has room,
// [ErrNotFound] when there is no such type, parent or host (with the names
// that are nearest), and [ErrInvalid] when the requests break a rule.
//
// A Parent pins a vGPU to a parent or to a GPU. The answer depends on nothing but the snapshot and the
// arguments, and is the same each time.
//
// The rules of the frameworks are kept: types per GPU, instances at most, one
// framebuffer size a GPU unless it is seen to mix sizes, one vGPU a virtual
// function, MIG instances, and NVIDIA's rules for several vGPUs in one VM (at
// most [MaxVGPUs]; one board and series; before Ampere each a whole GPU's Q or
// C profile).
//
// For one vGPU the answer is the best by the policy. For several, Pack opens
// the fewest empty GPUs and NUMA takes the fewest far ones that the VM can do
// with. A VM is refused only when no host has an assignment, unless the search
// became too long; then [Refusal.GaveUp] is set, which takes hosts with many
// GPUs in many different states.
func (s *Snapshot) Place(requests []Request, options Options) (Placement, error) {
	d := decisions.Get().(*decision)
	defer d.release()
	if err := d.prepare(s, requests, &options); err != nil {
		return Placement{}, err
	}
	if len(requests) == 1 {
		if g := d.best(); g >= 0 {
			return d.placement([]int32{g}), nil
		}
		return Placement{}, d.refuse(requests, options, false)
	}
	picks, gaveUp := d.search()
	if picks == nil {
		return Placement{}, d.refuse(requests, options, gaveUp)
	}
	return d.placement(picks), nil
}

const never = math.MaxUint32 // the rank of a GPU that cannot

// rank orders the classes for one vGPU of a type: the lowest is the best.
func (d *decision) rank(c *class, sought int) uint32 {
	n := d.slot(c.model, sought)
	if n < 0 {
		return never
	}
	left := c.left(n)
	if left <= 0 || (d.several && breaksWhole(d.fleet, c.model, n)) {
		return never
	}
	if d.policy == Spread {
		most := int64(max(c.model.slots[n].max, left))
		load := uint32(4095 * (most - int64(left) + 1) / most)
		return load<<16 | min(c.top, math.MaxUint16)
	}
	rank := min(c.top, math.MaxUint16)<<10 | uint32(min(left, 1023))
	if c.used == 0 {
		rank |= 1 << 30
	}
	return rank
}

// breaksWhole tells whether the type cannot be one of several in a VM: before
// Ampere, only the largest Q and C profile can.
func breaksWhole(f *fleet, m *model, n int16) bool {
	if !m.whole {
		return false
	}
	k := &f.kinds[m.slots[n].kind]
	return k.size > 0 && k.slice == "" && (m.slots[n].max > 1 || (k.series != "Q" && k.series != "C" && k.series != ""))
}

// The parts of a candidate's order, from the most telling bit down: far from
// the NUMA node, kept empty, rank, the host's use.
const (
	farBit   = uint64(1) << 63
	keptBit  = uint64(1) << 62
	rankBits = 12 // below the rank: the host's use
	noOrder  = uint64(math.MaxUint64)
)

// order is a candidate's key: the lowest is taken. rank is not never.
func (d *decision) order(g int32, c *class, rank uint32, sought int, opened int32) uint64 {
	host := d.fleet.hostOf[g]
	used := uint64(min(d.snapshot.used[host], 1<<rankBits-1))
	order := uint64(rank) << rankBits
	switch d.policy {
	case Spread:
		order |= used
		if c.used == 0 && len(d.empty) > 0 && c.top > d.sizes[sought] && d.empty[host]-opened <= int32(d.options.KeepEmpty) {
			order |= keptBit
		}
	case NUMA:
		if !d.near(g) {
			order |= farBit
		}
		fallthrough
	default:
		order |= 1<<rankBits - 1 - used
	}
	return order
}

// near tells whether a GPU is on the VM's NUMA node.
func (d *decision) near(g int32) bool {
	node := d.fleet.near[g]
	return node == anyNode || int(node) == *d.options.NUMANode
}

// forbidden tells whether the options keep vGPUs off a GPU, whatever its state.
func (d *decision) forbidden(g int32) bool {
	if !d.narrowed {
		return false
	}
	if len(d.avoid) > 0 && d.avoid[g>>6]>>(g&63)&1 != 0 {
		return true
	}
	return d.policy == NUMA && d.options.Strict && !d.near(g)
}

// best is the best GPU of all for the only request; -1: none.
func (d *decision) best() int32 {
	best, least := int32(-1), noOrder
	table := d.standings[0]
	most := uint32(never - 1) // no rank above it can be the best
	try := func(g, class int32) {
		order := d.order(g, d.classes[class], table[class].rank, 0, 0)
		if order >= least || d.forbidden(g) {
			return
		}
		best, least = g, order
		if order&(farBit|keptBit) == 0 {
			most = uint32(order >> rankBits)
		}
	}
	if spots := d.wants[0].spots; d.wants[0].pinned {
		for _, spot := range spots {
			if d.open(spot) {
				if class := d.snapshot.class(spot.gpu); table[class].rank <= most {
					try(spot.gpu, class)
				}
			}
		}
		return best
	}
	for rest := d.gpus; rest.from < rest.to; {
		segment := d.snapshot.segment(rest)
		for i, class := range segment {
			if table[class].rank <= most {
				try(rest.from+int32(i), class)
			}
		}
		rest.from += int32(len(segment))
	}
	return best
}

// open tells whether a pinned vGPU could go to the spot, were there room.
func (d *decision) open(at spot) bool {
	if at.parent == closedSpot || !d.gpus.has(at.gpu) {
		return false
	}
	return at.parent == anyParent || !d.snapshot.taken(at.gpu).has(int(at.parent))
}

// placement names what was picked, one GPU for each request.
func (d *decision) placement(picks []int32) Placement {
	f := d.fleet
	parents := make([]int32, len(picks))
	for i, g := range picks { // those pinned to a parent have theirs before others choose
		parents[i] = anyParent
		if want := &d.wants[i]; want.pinned {
			if at, ok := want.at(g); ok && at.parent != anyParent {
				parents[i] = at.parent
			}
		}
	}
	for i, g := range picks {
		if parents[i] == anyParent {
			parents[i] = d.freeParent(g, picks, parents)
		}
	}
	p := Placement{Host: f.hosts[f.hostOf[picks[0]]].name, VGPUs: make([]VGPU, len(picks))}
	for i, g := range picks {
		m := d.classes[d.snapshot.class(g)].model
		k := &f.kinds[m.slots[d.slot(m, d.wants[i].sought)].kind]
		p.VGPUs[i] = VGPU{
			Type: k.id, TypeName: k.name, Framework: f.gpus[g].framework,
			GPU: f.gpus[g].name, Parent: f.gpus[g].free[parents[i]],
			Alternatives: d.others(i, picks, parents),
		}
	}
	return p
}

// freeParent is the first parent of the GPU that is free and that none of the
// picks has; -1: none.
func (d *decision) freeParent(g int32, picks, parents []int32) int32 {
	taken := d.snapshot.taken(g)
	single := d.classes[d.snapshot.class(g)].model.single
	for i := range d.fleet.gpus[g].free {
		if !single {
			return 0
		}
		if taken.has(i) {
			continue
		}
		own := false
		for j := range picks {
			own = own || (picks[j] == g && parents[j] == int32(i))
		}
		if !own {
			return int32(i)
		}
	}
	return -1
}

// others finds where else the i-th vGPU could go while the rest stays.
func (d *decision) others(i int, picks, parents []int32) []Candidate {
	want := &d.wants[i]
	type other struct {
		order uint64
		gpu   int32
	}
	var best [maxAlternatives]other
	n := 0
	consider := func(g int32) {
		id, shared := d.without(i, g, picks)
		rank := d.rankOf(id, want.sought)
		if rank == never || (d.options.AntiAffinity && shared) || d.forbidden(g) {
			return
		}
		order := d.order(g, d.fleet.class(id), rank, want.sought, 0)
		if n == maxAlternatives && order >= best[n-1].order {
			return
		}
		if g == picks[i] && !d.fleet.class(id).model.single {
			return // the same parent again
		}
		if d.freeParent(g, picks, parents) < 0 {
			return
		}
		at := n
		for at > 0 && order < best[at-1].order {
			at--
		}
		copy(best[at+1:], best[at:min(n, maxAlternatives-1)])
		best[at] = other{order, g}
		n = min(n+1, maxAlternatives)
	}
	if want.pinned {
		if at, ok := want.at(picks[i]); ok && at.parent == anyParent {
			consider(picks[i])
		}
	} else {
		gpus := d.fleet.hosts[d.fleet.hostOf[picks[i]]].gpus
		for g := gpus.from; g < gpus.to; g++ {
			consider(g)
		}
	}
	if n == 0 {
		return nil
	}
	spots := make([]Candidate, n)
	for j, o := range best[:n] {
		spots[j] = Candidate{d.fleet.gpus[o.gpu].name, d.fleet.gpus[o.gpu].free[d.freeParent(o.gpu, picks, parents)]}
	}
	return spots
}

// without is the class that a GPU is in when all picks but the i-th have been
// made; shared: it has some of them.
func (d *decision) without(i int, g int32, picks []int32) (id int32, shared bool) {
	id = d.snapshot.class(g)
	for j, pick := range picks {
		if j == i || pick != g {
			continue
		}
		id = d.fleet.after(id, d.slot(d.fleet.class(id).model, d.wants[j].sought))
		shared = true
	}
	return id, shared
}

func (s spot) compare(g int32) int { return cmp.Compare(s.gpu, g) }

// at finds the spot on a GPU that a pinned vGPU may go to.
func (w *want) at(g int32) (spot, bool) {
	i, ok := slices.BinarySearchFunc(w.spots, g, spot.compare)
	if !ok {
		return spot{}, false
	}
	return w.spots[i], true
}
