package placement

import (
	"fmt"
	"slices"
	"sync"
)

// decision is the working memory of one decision, used again for the next.
type decision struct {
	snapshot *Snapshot
	fleet    *fleet
	options  *Options
	policy   Policy
	several  bool // the VM will have more than one vGPU
	classes  []*class
	hosts    span // to be considered
	gpus     span // those of the hosts

	wants     []want // one for each request
	names     []string
	need      []int32      // by type sought: how many
	sizes     []uint32     // by type sought, in sizeUnit
	groups    []uint32     // by type sought: differs if two types never share a GPU
	slots     []int16      // by type sought and model
	standings [][]standing // by type sought and class
	avoid     []uint64     // a bit for each GPU; empty: none is avoided
	narrowed  bool         // there is something to look up in forbidden
	empty     []int32      // empty GPUs by host; empty slice: not needed

	// The search, on one host after the other.
	hostOrder []hostCandidate
	host      span // its GPUs
	bound     int32
	picks     []int32
	overlay   []touched
	opened    int32
	choices   []choice
	stamps    []uint32
	stamp     uint32
	seen      map[string]int32
	states    []gpuState
	key       []byte
	found     []int32
	foundCost int32
	steps     int
	tooLong   bool
}

// want is one request, resolved.
type want struct {
	sought int
	pinned bool
	spots  []spot // where it is pinned to, in order of GPU
}

// standing is what a class is worth for a type.
type standing struct {
	rank  uint32
	left  int16 // at most MaxVGPUs
	empty bool
}

// touched is the state of a GPU that the search has placed a vGPU on.
type touched struct{ gpu, class int32 }

// choice is a GPU that could take the next vGPU.
type choice struct {
	order uint64
	gpu   int32
	class int32
}

var decisions = sync.Pool{New: func() any { return new(decision) }}

func (d *decision) release() {
	d.snapshot, d.fleet, d.options, d.classes, d.found = nil, nil, nil, nil, nil
	clear(d.wants)
	clear(d.names)
	d.seen = nil
	decisions.Put(d)
}

// prepare resolves and checks what is asked for. An error is a request that
// breaks a rule or names a host that is not there; a type or parent that is
// not there is left to unknown.
func (d *decision) prepare(s *Snapshot, requests []Request, options *Options) error {
	d.snapshot, d.fleet, d.options, d.policy = s, s.fleet, options, options.Policy
	d.wants, d.names, d.need = d.wants[:0], d.names[:0], d.need[:0]
	d.sizes, d.groups, d.slots = d.sizes[:0], d.groups[:0], d.slots[:0]
	d.several = len(requests)+len(options.Existing) > 1
	if err := d.checkOptions(len(requests)); err != nil {
		return err
	}
	if err := d.narrow(); err != nil {
		return err
	}
	for i := range requests {
		if err := d.resolve(i, &requests[i]); err != nil {
			return err
		}
	}
	if err := d.checkSeveral(); err != nil {
		return err
	}
	d.avoidGPUs()
	d.narrowed = len(d.avoid) > 0 || (d.policy == NUMA && options.Strict)
	d.classes = *d.fleet.classes.Load()
	d.tabulate()
	return nil
}

func (d *decision) checkOptions(n int) error {
	switch d.policy {
	case "":
		d.policy = Pack
	case Pack, Spread, Pinned:
	case NUMA:
		if d.options.NUMANode == nil {
			return invalid(opPlace, "set Options.NUMANode to the node of the VM's memory", "policy %q has no NUMA node", NUMA)
		}
	default:
		return invalid(opPlace, fmt.Sprintf("use %q, %q, %q or %q", Pack, Spread, NUMA, Pinned), "there is no policy %q", d.policy)
	}
	if n == 0 {
		return invalid(opPlace, "ask for at least one", "no vGPU requested")
	}
	if all := n + len(d.options.Existing); all > MaxVGPUs {
		return invalid(opPlace, "give the VM fewer", "%d vGPUs in one VM; %d is the most", all, MaxVGPUs)
	}
	return nil
}

// narrow finds the hosts that come into question.
func (d *decision) narrow() error {
	f := d.fleet
	d.hosts = span{0, int32(len(f.hosts))}
	name, named := d.options.Host, d.options.Host != ""
	for _, has := range d.options.Existing {
		if named && has.Host != name {
			return invalid(opPlace, "the vGPUs of one VM are on one host", "the VM has vGPUs on host %q, and shall have some on %q", has.Host, name)
		}
		name, named = has.Host, true
	}
	if named {
		at, ok := f.hostByName(name)
		if !ok {
			return &Error{Op: opPlace, Kind: ErrNotFound, Meaning: fmt.Sprintf("the snapshot has no host %q", name), Next: "name a host of the snapshot"}
		}
		d.hosts = span{at, at + 1}
	}
	d.gpus = span{}
	if d.hosts.from < d.hosts.to {
		d.gpus = span{f.hosts[d.hosts.from].gpus.from, f.hosts[d.hosts.to-1].gpus.to}
	}
	return nil
}

func (d *decision) resolve(i int, r *Request) error {
	if r.Type == "" {
		return invalid(opPlace, "name a type, such as nvidia-22; the inventory lists them", "vGPU %d has no type", i)
	}
	w := want{sought: d.sought(r.Type), pinned: r.Parent != ""}
	if w.sought < 0 {
		w.sought = len(d.names)
		d.seek(r.Type)
	}
	d.need[w.sought]++
	if w.pinned {
		w.spots = d.fleet.spotsNamed(r.Parent)
	} else if d.policy == Pinned {
		return invalid(opPlace, "name a parent for each vGPU, or use another policy", "vGPU %d has no parent, and the policy is %q", i, Pinned)
	}
	d.wants = append(d.wants, w)
	return nil
}

// sought is the index of a type among those sought, by whichever name; -1.
func (d *decision) sought(name string) int {
	kinds := d.fleet.kindsByName[name]
	return slices.IndexFunc(d.names, func(other string) bool {
		return other == name || (len(kinds) > 0 && slices.Equal(kinds, d.fleet.kindsByName[other]))
	})
}

// seek adds a type to those sought.
func (d *decision) seek(name string) {
	kinds := d.fleet.kindsByName[name]
	d.names, d.need = append(d.names, name), append(d.need, 0)
	var size, group uint32
	for _, m := range d.fleet.models {
		n := int16(-1)
		for _, k := range kinds {
			if slot, ok := m.slotOf[k]; ok {
				n = slot
				units := uint32((d.fleet.kinds[k].size + sizeUnit - 1) / sizeUnit)
				size = max(size, units)
				if m.slots[slot].share == shareSize {
					group = units
				}
				break
			}
		}
		d.slots = append(d.slots, n)
	}
	d.sizes, d.groups = append(d.sizes, size), append(d.groups, group)
}

// checkSeveral keeps NVIDIA's rule that the vGPUs of one VM are of one board
// and series.
func (d *decision) checkSeveral() error {
	if !d.several {
		return nil
	}
	var first *kind
	check := func(name string) error {
		for _, n := range d.fleet.kindsByName[name] {
			k := &d.fleet.kinds[n]
			switch {
			case k.board == "":
			case first == nil:
				first = k
			case k.board != first.board || k.series != first.series:
				return invalid(opPlace, "ask for types of one board and one series, such as two Q types of the same board",
					"one VM cannot have both %s and %s", first.name, k.name)
			}
		}
		return nil
	}
	for _, has := range d.options.Existing {
		if err := check(has.Type); err != nil {
			return err
		}
	}
	for _, name := range d.names {
		if err := check(name); err != nil {
			return err
		}
	}
	return nil
}

// avoidGPUs marks the GPUs that anti-affinity forbids.
func (d *decision) avoidGPUs() {
	d.avoid = d.avoid[:0]
	if len(d.options.Avoid) == 0 && (!d.options.AntiAffinity || len(d.options.Existing) == 0) {
		return
	}
	d.avoid = slices.Grow(d.avoid, len(d.fleet.gpus)>>6+1)[:len(d.fleet.gpus)>>6+1]
	clear(d.avoid)
	mark := func(g int32) { d.avoid[g>>6] |= 1 << (g & 63) }
	markGPU := func(h Use) {
		if at, ok := d.fleet.hostByName(h.Host); ok {
			if g, ok := d.fleet.gpuOf(d.fleet.hosts[at].gpus, h.GPU); ok {
				mark(g)
			}
		}
	}
	for _, h := range d.options.Avoid {
		if h.GPU != "" {
			markGPU(h)
		} else if at, ok := d.fleet.hostByName(h.Host); ok {
			for g := d.fleet.hosts[at].gpus.from; g < d.fleet.hosts[at].gpus.to; g++ {
				mark(g)
			}
		}
	}
	if d.options.AntiAffinity {
		for _, h := range d.options.Existing {
			markGPU(h)
		}
	}
}

// tabulate fills the tables of what each class is worth for the types sought.
func (d *decision) tabulate() {
	for len(d.standings) < len(d.names) {
		d.standings = append(d.standings, nil)
	}
	for t := range d.names {
		table := slices.Grow(d.standings[t][:0], len(d.classes))[:len(d.classes)]
		for i, c := range d.classes {
			table[i] = standing{rank: never}
			if rank := d.rank(c, t); rank != never {
				table[i] = standing{rank, int16(min(c.left(d.slot(c.model, t)), MaxVGPUs)), c.used == 0}
			}
		}
		d.standings[t] = table
	}
	d.empty = d.empty[:0]
	if d.policy == Spread && d.options.KeepEmpty > 0 {
		d.empty = slices.Grow(d.empty, len(d.fleet.hosts))[:len(d.fleet.hosts)]
		clear(d.empty)
		for g := d.gpus.from; g < d.gpus.to; g++ {
			if d.classes[d.snapshot.class(g)].used == 0 {
				d.empty[d.fleet.hostOf[g]]++
			}
		}
	}
}

// slot is the place of a sought type in a model; -1: it has no such type.
func (d *decision) slot(m *model, sought int) int16 {
	return d.slots[sought*len(d.fleet.models)+int(m.index)]
}

// rankOf is the rank of a class that may be newer than the tables.
func (d *decision) rankOf(id int32, sought int) uint32 {
	if table := d.standings[sought]; int(id) < len(table) {
		return table[id].rank
	}
	return d.rank(d.fleet.class(id), sought)
}
