package placement

import (
	"fmt"
	"slices"
	"sort"
)

// decision is one question to a snapshot, checked and resolved.
type decision struct {
	*Snapshot
	requests []Request
	options  Options // with a policy
	spread   bool    // the policy is Spread
	numa     bool    // the policy is NUMA
	node     int     // the NUMA node of the VM's memory, under NUMA
	several  bool    // the VM will have more than one vGPU
	from, to int     // the hosts to be considered
	types    []sought
	wants    []want // one for each request
	pinned   []want // those of them that are
	avoid    []bool // the GPUs of all hosts that anti-affinity forbids; nil: none
	empty    []int  // empty GPUs by host; nil: not needed
}

// sought is a type that is asked for.
type sought struct {
	name  string
	kinds []int32
	slots []int  // by model; -1: it has no such type, or only for a VM of one vGPU
	need  int    // vGPUs
	size  int32  // framebuffer, in MiB
	group uint64 // differs if two types never share a GPU
}

// want is one request, resolved.
type want struct {
	sought int
	pinned bool
	spots  []spot // where it is pinned to, host by host
}

// decide resolves and checks what is asked for. An error is a request that breaks a
// rule or names a host that is not there; a type or parent that is not there is left
// to refuse.
func (s *Snapshot) decide(requests []Request, options Options) (*decision, error) {
	d := &decision{Snapshot: s, requests: slices.Clone(requests), options: options, several: len(requests)+len(options.Existing) > 1}
	if err := d.checkOptions(); err != nil {
		return nil, err
	}
	if err := d.narrow(); err != nil {
		return nil, err
	}
	d.wants = make([]want, 0, len(requests))
	for i := range d.requests {
		if err := d.resolve(i); err != nil {
			return nil, err
		}
	}
	if err := d.checkSeveral(); err != nil {
		return nil, err
	}
	d.avoidGPUs()
	d.countEmpty()
	return d, nil
}

func (d *decision) checkOptions() error {
	switch o := &d.options; o.Policy {
	case "":
		o.Policy = Pack
	case Pack, Pinned:
	case Spread:
		d.spread = true
	case NUMA:
		if o.NUMANode == nil {
			return invalid(opPlace, "set Options.NUMANode to the node of the VM's memory", "policy %q has no NUMA node", NUMA)
		}
		d.numa, d.node = true, *o.NUMANode
	default:
		return invalid(opPlace, fmt.Sprintf("use %q, %q, %q or %q", Pack, Spread, NUMA, Pinned), "there is no policy %q", o.Policy)
	}
	if len(d.requests) == 0 {
		return invalid(opPlace, "ask for at least one", "no vGPU requested")
	}
	if all := len(d.requests) + len(d.options.Existing); all > MaxVGPUs {
		return invalid(opPlace, "give the VM fewer", "%d vGPUs in one VM; %d is the most", all, MaxVGPUs)
	}
	return nil
}

// narrow finds the hosts that come into question.
func (d *decision) narrow() error {
	d.to = len(d.hosts)
	name, named := d.options.Host, d.options.Host != ""
	for _, use := range d.options.Existing {
		if named && use.Host != name {
			return invalid(opPlace, "the vGPUs of one VM are on one host", "the VM has vGPUs on host %q, and shall have some on %q", use.Host, name)
		}
		name, named = use.Host, true
	}
	if named {
		at, ok := d.hostNamed(name)
		if !ok {
			return &Error{Op: opPlace, Kind: ErrNotFound, Meaning: fmt.Sprintf("the snapshot has no host %q", name), Next: "name a host of the snapshot"}
		}
		d.from, d.to = at, at+1
	}
	return nil
}

func (d *decision) resolve(i int) error {
	r := &d.requests[i]
	if r.Type == "" {
		return invalid(opPlace, "name a type, such as nvidia-22; the inventory lists them", "vGPU %d has no type", i)
	}
	if r.Parent == "" && d.options.Policy == Pinned {
		return invalid(opPlace, "name a parent for each vGPU, or use another policy", "vGPU %d has no parent, and the policy is %q", i, Pinned)
	}
	w := want{sought: d.seek(r.Type), pinned: r.Parent != ""}
	if w.pinned {
		w.spots = d.spots[r.Parent]
		d.pinned = append(d.pinned, w)
	}
	d.types[w.sought].need++
	d.wants = append(d.wants, w)
	return nil
}

// seek is the index of a type among those asked for, by whichever name.
func (d *decision) seek(name string) int {
	a := sought{name: name, kinds: d.kindsOf(name)}
	if at := slices.IndexFunc(d.types, func(b sought) bool {
		return b.name == name || len(a.kinds) > 0 && slices.Equal(a.kinds, b.kinds)
	}); at >= 0 {
		return at
	}
	a.slots = make([]int, len(d.models))
	for i, m := range d.models {
		n := m.slotOf(a.kinds)
		if n >= 0 {
			a.size = max(a.size, int32(m.slots[n].size>>20))
			if m.slots[n].share == shareSize {
				a.group = m.slots[n].size
			}
			if d.several && m.slots[n].alone {
				n = -1
			}
		}
		a.slots[i] = n
	}
	d.types = append(d.types, a)
	return len(d.types) - 1
}

// checkSeveral keeps NVIDIA's rule that the vGPUs of one VM are of one board
// and series.
func (d *decision) checkSeveral() error {
	if !d.several {
		return nil
	}
	var names []string
	for _, use := range d.options.Existing {
		names = append(names, use.Type)
	}
	for _, a := range d.types {
		names = append(names, a.name)
	}
	var first *kind
	for _, name := range names {
		for _, n := range d.kindsOf(name) {
			k := &d.kinds[n]
			switch {
			case k.board == "":
			case first == nil:
				first = k
			case k.board != first.board || k.series != first.series:
				return invalid(opPlace, "ask for types of one board and one series, such as two Q types of the same board",
					"one VM cannot have both %s and %s", first.name, k.name)
			}
		}
	}
	return nil
}

// avoidGPUs marks the GPUs that anti-affinity forbids.
func (d *decision) avoidGPUs() {
	avoid := d.options.Avoid
	if d.options.AntiAffinity {
		for _, use := range d.options.Existing {
			if use.GPU != "" {
				avoid = append(avoid[:len(avoid):len(avoid)], use)
			}
		}
	}
	for _, use := range avoid {
		h, ok := d.hostNamed(use.Host)
		if !ok {
			continue
		}
		if d.avoid == nil {
			last := &d.hosts[len(d.hosts)-1]
			d.avoid = make([]bool, last.first+len(last.gpus))
		}
		avoid := d.avoid[d.hosts[h].first:]
		for _, at := range spotsOn(h, d.spots[use.GPU]) {
			avoid[at.gpu] = true
		}
		for i := range d.hosts[h].gpus {
			avoid[i] = avoid[i] || use.GPU == ""
		}
	}
}

func (d *decision) countEmpty() {
	if !d.spread || d.options.KeepEmpty <= 0 {
		return
	}
	d.empty = make([]int, len(d.hosts))
	for h := d.from; h < d.to; h++ {
		for i := range d.hosts[h].gpus {
			if g := &d.hosts[h].gpus[i]; g.used == 0 && (g.policy == nil || !g.policy.Reserved && g.policy.Cordoned == "") {
				d.empty[h]++
			}
		}
	}
}

// forbidden tells whether the options keep vGPUs off a GPU, whatever its state.
func (d *decision) forbidden(h, i int) bool {
	if d.avoid != nil && d.avoid[d.hosts[h].first+i] {
		return true
	}
	return d.options.Strict && !d.near(&d.hosts[h].gpus[i])
}

// near tells whether a GPU is on the VM's NUMA node, if that is asked for.
func (d *decision) near(g *gpu) bool {
	return !d.numa || g.anyNode || g.node == d.node
}

// left is how many more vGPUs of a type this VM can have on a GPU in a state.
func (a *sought) left(s *state) int {
	n := a.slots[s.model.index]
	if n < 0 {
		return 0
	}
	return int(s.left(n))
}

// placed is the state after a request has been granted.
func (d *decision) placed(i int, s *state) *state {
	return s.with(d.types[d.wants[i].sought].slots[s.model.index])
}

// spotsOn are those of the spots that are on one host.
func spotsOn(h int, spots []spot) []spot {
	at := sort.Search(len(spots), func(i int) bool { return int(spots[i].host) >= h })
	end := at
	for end < len(spots) && int(spots[end].host) == h {
		end++
	}
	return spots[at:end]
}

// pin is where on a GPU a pinned vGPU is to go; false: on another one.
func (w *want) pin(h, i int) (spot, bool) {
	if !w.pinned {
		return spot{}, false
	}
	for _, at := range spotsOn(h, w.spots) {
		if int(at.gpu) == i {
			return at, true
		}
	}
	return spot{}, false
}

// isOpen tells whether a pinned vGPU could go to the spot, were there room.
func (d *decision) isOpen(at spot) bool {
	return at.parent == anyParent || at.parent != closedParents && !d.hosts[at.host].gpus[at.gpu].isTaken(int(at.parent))
}
