package placement

import (
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
// then the error is a [*Refusal], which says for each parent why not. It matches
// [ErrNoCapacity] when nothing has room, [ErrNotFound] when there is no such type,
// parent or host (with the names that are nearest), and [ErrInvalid] when the
// requests break a rule.
//
// A Parent pins a vGPU to a parent or to a GPU. The answer depends on nothing but
// the snapshot and the arguments, and is the same each time.
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
	d, err := s.decide(requests, options)
	if err != nil {
		return Placement{}, err
	}
	if len(requests) == 1 {
		if h, i, ok := d.best(); ok {
			return d.assignment(h, []int{i}).placement(), nil
		}
		return Placement{}, d.refuse(false)
	}
	h, picks, gaveUp := d.search()
	if picks == nil {
		return Placement{}, d.refuse(gaveUp)
	}
	return d.assignment(h, picks).placement(), nil
}

// assignment is a place for each request, on one host.
type assignment struct {
	*decision
	host    int
	picks   []int    // the GPUs
	parents []int    // of each GPU's free ones
	after   []*state // of the host's GPUs, with all vGPUs
	without []*state // of each pick, with all vGPUs but this one
}

// assignment chooses the parents. Those that are pinned to one have theirs before
// others choose.
func (d *decision) assignment(h int, picks []int) *assignment {
	a := &assignment{decision: d, host: h, picks: picks, parents: make([]int, len(picks))}
	for i := range d.hosts[h].gpus {
		a.after = append(a.after, d.hosts[h].gpus[i].state)
	}
	for i, g := range picks {
		a.after[g] = a.placed(i, a.after[g])
		a.without = append(a.without, a.othersOn(i))
		a.parents[i] = -1
		if at, ok := d.wants[i].pin(h, g); ok && at.parent >= 0 {
			a.parents[i] = int(at.parent)
		}
	}
	for i, g := range picks {
		if a.parents[i] < 0 {
			a.parents[i] = a.freeParent(g)
		}
	}
	return a
}

// othersOn is the state of the i-th vGPU's GPU when all others have their places.
func (a *assignment) othersOn(i int) *state {
	for j := range i {
		if a.picks[j] == a.picks[i] && a.wants[j].sought == a.wants[i].sought {
			return a.without[j]
		}
	}
	s := a.hosts[a.host].gpus[a.picks[i]].state
	for j, pick := range a.picks {
		if j != i && pick == a.picks[i] {
			s = a.placed(j, s)
		}
	}
	return s
}

// freeParent is the first parent of the GPU that has room beside the picks; -1: none.
func (a *assignment) freeParent(i int) int {
	g := &a.hosts[a.host].gpus[i]
	for parent := range g.free {
		own := false
		for j, pick := range a.picks {
			own = own || pick == i && a.parents[j] == parent
		}
		if !g.model.single || !own && !g.isTaken(parent) {
			return parent
		}
	}
	return -1
}

// placement names what was assigned.
func (a *assignment) placement() Placement {
	h := &a.hosts[a.host]
	p := Placement{Host: h.name, VGPUs: make([]VGPU, len(a.picks))}
	for i, pick := range a.picks {
		g := &h.gpus[pick]
		k := &a.kinds[g.model.slots[a.types[a.wants[i].sought].slots[g.model.index]].kind]
		p.VGPUs[i] = VGPU{
			Type: k.id, TypeName: k.name, Framework: g.framework, GPU: g.name, Parent: g.free[a.parents[i]],
			Alternatives: a.alternatives(i),
		}
	}
	return p
}

// alternatives finds where else the i-th vGPU could go while the rest stays.
func (a *assignment) alternatives(i int) []Candidate {
	type other struct {
		order order
		Candidate
	}
	found := make([]other, 0, 2*maxAlternatives) // on the stack: few hosts have more GPUs
	w := &a.wants[i]
	for n := range a.hosts[a.host].gpus {
		if w.pinned { // to a GPU whose other parents would do, or to nothing else
			if at, _ := w.pin(a.host, n); n != a.picks[i] || at.parent != anyParent {
				continue
			}
		}
		g := &a.hosts[a.host].gpus[n]
		state := a.after[n]
		if n == a.picks[i] {
			state = a.without[i]
		}
		shared := state != g.state
		left := a.types[w.sought].left(state)
		if left <= 0 || g.keepsOff(w) || a.options.AntiAffinity && shared || a.forbidden(a.host, n) || n == a.picks[i] && !g.model.single {
			continue
		}
		if parent := a.freeParent(n); parent >= 0 {
			found = append(found, other{a.order(&a.types[w.sought], a.host, g, state, left, 0), Candidate{g.name, g.free[parent]}})
		}
	}
	slices.SortStableFunc(found, func(a, b other) int { return a.order.compare(&b.order) })
	var named []Candidate
	for _, o := range found[:min(maxAlternatives, len(found))] {
		named = append(named, o.Candidate)
	}
	return named
}
