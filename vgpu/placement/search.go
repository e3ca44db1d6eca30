package placement

import (
	"cmp"
	"encoding/binary"
	"math"
	"slices"
	"strconv"
)

// maxSteps bounds the search for one VM.
const maxSteps = 50_000

type hostCandidate struct {
	order uint64
	host  int32
	bound int32
}

// search finds GPUs for several vGPUs, all on one host; nil: there are none.
func (d *decision) search() (picks []int32, gaveUp bool) {
	d.steps, d.tooLong, d.found, d.foundCost = 0, false, nil, math.MaxInt32
	hosts := d.hostOrder[:0]
	for h := d.hosts.from; h < d.hosts.to; h++ {
		if candidate, ok := d.consider(h); ok {
			hosts = append(hosts, candidate)
		}
	}
	d.hostOrder = hosts
	var failed map[string]bool // states of hosts that had no room
	for i := range hosts {
		switch i { // mostly the first host will do
		case 0:
			least := 0
			for j := range hosts {
				if hosts[j].order < hosts[least].order {
					least = j
				}
			}
			hosts[0], hosts[least] = hosts[least], hosts[0]
		case 1:
			slices.SortFunc(hosts[1:], func(a, b hostCandidate) int {
				if a.order != b.order {
					if a.order < b.order {
						return -1
					}
					return 1
				}
				return int(a.host - b.host)
			})
		}
		if hosts[i].bound >= d.foundCost || d.tooLong || d.refinedEnough() {
			break
		}
		d.host, d.bound = d.fleet.hosts[hosts[i].host].gpus, hosts[i].bound
		if failed != nil && failed[d.hostState()] {
			continue
		}
		d.picks, d.overlay, d.choices, d.opened = d.picks[:0], d.overlay[:0], d.choices[:0], 0
		clear(d.seen)
		before := d.foundCost
		d.descend(0, 0)
		if d.foundCost == before && !d.tooLong {
			if failed == nil {
				failed = map[string]bool{}
			}
			failed[d.hostState()] = true
		}
		if d.foundCost <= d.bound {
			break
		}
	}
	return d.found, d.tooLong
}

// consider bounds what a host can do for the VM: ok is false when it surely
// has no room.
func (d *decision) consider(h int32) (hostCandidate, bool) {
	span := d.fleet.hosts[h].gpus
	for i := range d.wants {
		if w := &d.wants[i]; w.pinned && !slices.ContainsFunc(w.spots, func(at spot) bool { return span.has(at.gpu) && d.open(at) }) {
			return hostCandidate{}, false
		}
	}
	var far, open, spare, usable int32
	var openByGroup [MaxVGPUs]int32
	for t := range d.need {
		table := d.standings[t]
		var total, occupied, near, emptyMost, gpus int32
		for rest := span; rest.from < rest.to; {
			segment := d.snapshot.segment(rest)
			for i, class := range segment {
				at := table[class]
				if at.left == 0 || d.forbidden(rest.from+int32(i)) {
					continue
				}
				left := int32(at.left)
				if d.options.AntiAffinity {
					left = 1
				}
				gpus++
				total += left
				if d.policy == NUMA && d.near(rest.from+int32(i)) {
					near += left
				}
				if at.empty {
					emptyMost = max(emptyMost, left)
				} else {
					occupied += left
				}
			}
			rest.from += int32(len(segment))
		}
		need := d.need[t]
		if total < need {
			return hostCandidate{}, false
		}
		far += max(0, need-near)
		// Types that may share the GPU that one of them opens count once.
		if lack := need - occupied; lack > 0 && emptyMost > 0 {
			opens := (lack + emptyMost - 1) / emptyMost
			u := slices.Index(d.groups, d.groups[t])
			openByGroup[u] = max(openByGroup[u], opens)
		}
		spare += total - need
		usable += gpus
	}
	for _, opens := range openByGroup {
		open += opens
	}
	used := uint64(min(d.snapshot.used[h], 1<<rankBits-1))
	c := hostCandidate{host: h}
	switch d.policy {
	case Spread:
		lack := max(0, int32(len(d.wants))-usable)
		c.order = uint64(lack)<<32 | used
		return c, true
	case NUMA:
		c.bound = far * farCost
	}
	c.bound += open
	c.order = uint64(c.bound)<<40 | uint64(min(spare, math.MaxUint16))<<rankBits | (1<<rankBits - 1 - used)
	return c, true
}

// farCost outweighs every empty GPU that could be opened.
const farCost = MaxVGPUs + 1

// descend places the i-th vGPU and those behind it. It returns true when the
// search is over: nothing better can be found, or it took too long.
func (d *decision) descend(i int, cost int32) bool {
	if cost >= d.foundCost {
		return false
	}
	if i == len(d.wants) {
		d.found, d.foundCost = append(d.found[:0], d.picks...), cost
		return cost <= d.bound
	}
	d.steps++
	if d.steps > maxSteps || d.refinedEnough() {
		d.tooLong = d.found == nil
		return true
	}
	if d.steps > 2*MaxVGPUs && d.wasHere(i, cost) {
		return false
	}
	first := len(d.choices)
	d.collect(i)
	slices.SortFunc(d.choices[first:], func(a, b choice) int {
		switch {
		case a.order < b.order:
			return -1
		case a.order > b.order:
			return 1
		}
		return int(a.gpu - b.gpu)
	})
	for j := first; j < len(d.choices); j++ {
		c := d.choices[j]
		class := d.fleet.class(c.class)
		extra := int32(0)
		if class.used == 0 {
			d.opened++
			extra = 1
		}
		if d.policy == Spread {
			extra = 0
		}
		if d.policy == NUMA && !d.near(c.gpu) {
			extra += farCost
		}
		next := d.fleet.after(c.class, d.slot(class.model, d.wants[i].sought))
		d.overlay = append(d.overlay, touched{c.gpu, next})
		d.picks = append(d.picks, c.gpu)
		over := d.descend(i+1, cost+extra)
		d.overlay = d.overlay[:len(d.overlay)-1]
		d.picks = d.picks[:len(d.picks)-1]
		if class.used == 0 {
			d.opened--
		}
		if over {
			return true
		}
	}
	d.choices = d.choices[:first]
	return false
}

// refinedEnough bounds how long a better assignment than the found one is
// looked for.
func (d *decision) refinedEnough() bool { return d.found != nil && d.steps > maxSteps/10 }

// current is the class of a GPU with the vGPUs placed so far.
func (d *decision) current(g int32) (id int32, own bool) {
	for i := len(d.overlay) - 1; i >= 0; i-- {
		if d.overlay[i].gpu == g {
			return d.overlay[i].class, true
		}
	}
	return d.snapshot.class(g), false
}

// collect appends the GPUs that could take the i-th vGPU: of those that
// can be exchanged for one another, the first only.
func (d *decision) collect(i int) {
	w := &d.wants[i]
	if size := 2 * len(d.classes); len(d.stamps) < size || d.stamp == math.MaxUint32 {
		d.stamps = slices.Grow(d.stamps[:0], size)[:max(size, len(d.stamps))]
		clear(d.stamps)
		d.stamp = 0
	}
	d.stamp++
	consider := func(g int32) {
		id, own := d.current(g)
		rank := d.rankOf(id, w.sought)
		if rank == never || (own && d.options.AntiAffinity) || d.forbidden(g) {
			return
		}
		if int(id) < len(d.classes) && !d.isPin(g) {
			sign := 2 * id
			if d.policy == NUMA && d.near(g) {
				sign++
			}
			if d.stamps[sign] == d.stamp {
				return
			}
			d.stamps[sign] = d.stamp
		}
		d.choices = append(d.choices, choice{d.order(g, d.fleet.class(id), rank, w.sought, d.opened), g, id})
	}
	if w.pinned {
		for _, at := range w.spots {
			if d.host.has(at.gpu) && d.open(at) {
				consider(at.gpu)
			}
		}
		return
	}
	for g := d.host.from; g < d.host.to; g++ {
		consider(g)
	}
}

// isPin tells whether some vGPU is pinned to the GPU, which therefore cannot
// be exchanged for another.
func (d *decision) isPin(g int32) bool {
	for i := range d.wants {
		if d.wants[i].pinned {
			if _, ok := d.wants[i].at(g); ok {
				return true
			}
		}
	}
	return false
}

// wasHere tells whether the search has been in an equal state at no higher
// cost, and remembers this one.
func (d *decision) wasHere(i int, cost int32) bool {
	d.states = d.states[:0]
	for j, o := range d.overlay {
		if !slices.ContainsFunc(d.overlay[j+1:], func(later touched) bool { return later.gpu == o.gpu }) {
			d.states = append(d.states, d.state(o.gpu, o.class))
		}
	}
	key := d.stateKey(i)
	if before, ok := d.seen[string(key)]; ok && before <= cost {
		return true
	}
	if d.seen == nil {
		d.seen = map[string]int32{}
	}
	d.seen[string(key)] = cost
	return false
}

// hostState is equal for hosts that can be exchanged for one another.
func (d *decision) hostState() string {
	d.states = d.states[:0]
	for g := d.host.from; g < d.host.to; g++ {
		if !d.forbidden(g) {
			d.states = append(d.states, d.state(g, d.snapshot.class(g)))
		}
	}
	return string(d.stateKey(0))
}

// gpuState is what matters of one GPU during a search. Equal ones can be
// exchanged.
type gpuState struct {
	pin           int32 // 1 + the GPU, if some vGPU is pinned to it
	before, class int32
	near          bool
}

func (d *decision) state(g, class int32) gpuState {
	state := gpuState{before: d.snapshot.class(g), class: class, near: d.policy == NUMA && d.near(g)}
	if d.isPin(g) {
		state.pin = g + 1
	}
	return state
}

func (a gpuState) compare(b gpuState) int {
	near := func(s gpuState) int {
		if s.near {
			return 1
		}
		return 0
	}
	return cmp.Or(cmp.Compare(a.pin, b.pin), cmp.Compare(a.before, b.before), cmp.Compare(a.class, b.class), near(a)-near(b))
}

// stateKey is equal for equal sets of d.states.
func (d *decision) stateKey(i int) []byte {
	slices.SortFunc(d.states, gpuState.compare)
	d.key = append(d.key[:0], byte(i))
	for _, state := range d.states {
		d.key = binary.AppendVarint(d.key, int64(state.pin))
		d.key = binary.AppendVarint(d.key, int64(state.before))
		d.key = binary.AppendVarint(d.key, int64(state.class))
		d.key = strconv.AppendBool(d.key, state.near)
	}
	return d.key
}
