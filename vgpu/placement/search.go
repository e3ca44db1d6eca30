package placement

import (
	"cmp"
	"math"
	"slices"
)

const (
	maxSteps   = 50_000        // of the search for one VM
	maxRefined = maxSteps / 10 // of those, when something has been found
	farCost    = MaxVGPUs + 1  // outweighs every empty GPU that could be opened
)

// search tries assignments of several vGPUs, on one host after the other.
type search struct {
	*decision
	steps     int
	gaveUp    bool
	found     []int // the picks of the cheapest assignment so far; nil: none
	foundHost int
	foundCost int
	failed    []int // hosts on which there is none

	host  int
	bound int      // no assignment on the host costs less
	gpus  []gpu    // the host's
	state []*state // theirs, with the vGPUs placed so far
	picks []int    // where those are
	tried []tried
}

// tried is a GPU that was tried for a request, to the end.
type tried struct{ request, gpu int }

// hostCandidate is a host that may have room for the VM.
type hostCandidate struct {
	order       order
	host, bound int
}

func compareHosts(a, b hostCandidate) int {
	return cmp.Or(a.order.compare(&b.order), a.host-b.host)
}

// search finds GPUs for several vGPUs, all on one host; nil: there are none.
func (d *decision) search() (host int, picks []int, gaveUp bool) {
	s := &search{decision: d, foundCost: math.MaxInt}
	var first hostCandidate
	some := false
	for h := d.from; h < d.to; h++ {
		if c, ok := d.consider(h); ok && (!some || c.order.compare(&first.order) < 0) {
			first, some = c, true
		}
	}
	if some && !s.try(first) { // mostly it does, and the others need no order
		var hosts []hostCandidate
		for h := d.from; h < d.to; h++ {
			if c, ok := d.consider(h); ok && h != first.host {
				hosts = append(hosts, c)
			}
		}
		slices.SortFunc(hosts, compareHosts)
		for _, c := range hosts {
			if s.try(c) {
				break
			}
		}
	}
	return s.foundHost, s.found, s.gaveUp
}

// try looks for an assignment on a host, unless none there can be cheaper than what has
// been found. It returns true when the search is over.
func (s *search) try(c hostCandidate) bool {
	if c.bound >= s.foundCost {
		return true // nor on those behind it
	}
	s.host, s.bound = c.host, c.bound
	if slices.ContainsFunc(s.failed, s.isLike) {
		return false
	}
	s.gpus, s.state, s.tried = s.hosts[s.host].gpus, nil, nil
	s.state = slices.Grow(s.state, len(s.gpus))
	for i := range s.gpus {
		s.state = append(s.state, s.gpus[i].state)
	}
	over := s.descend(0, 0)
	if s.found == nil {
		s.failed = append(s.failed, s.host)
	}
	return over
}

// isLike tells whether a host can be exchanged for the one at hand.
func (s *search) isLike(h int) bool {
	a, b := s.hosts[h].gpus, s.hosts[s.host].gpus
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if !a[i].equals(b[i].state) || a[i].reserved() != b[i].reserved() || s.forbidden(h, i) != s.forbidden(s.host, i) || s.isPin(h, i) || s.isPin(s.host, i) {
			return false
		}
	}
	return true
}

// consider bounds what a host can do for the VM: ok is false when it surely
// has no room.
func (d *decision) consider(h int) (c hostCandidate, ok bool) {
	for i := range d.pinned {
		if w := &d.pinned[i]; !slices.ContainsFunc(spotsOn(h, w.spots), d.isOpen) {
			return c, false
		}
	}
	var far, spare, usable int
	var opens [MaxVGPUs]int // by group of types; those that may share the GPU that one of them opens count once
	for t := range d.types {
		need := d.types[t].need
		room := d.roomFor(h, &d.types[t])
		if room.all < need {
			return c, false
		}
		far += max(0, need-room.near)
		spare += room.all - need
		usable += room.gpus
		if lack := need - room.opened; lack > 0 && room.largest > 0 {
			u := slices.IndexFunc(d.types, func(a sought) bool { return a.group == d.types[t].group })
			opens[u] = max(opens[u], (lack+room.largest-1)/room.largest)
		}
	}
	c.host = h
	used := int32(d.hosts[h].used)
	if d.spread {
		c.order = order{int32(max(0, len(d.wants)-usable)), used}
		return c, true
	}
	c.bound = far * farCost
	for _, n := range opens[:len(d.types)] {
		c.bound += n
	}
	c.order = order{int32(c.bound), int32(spare), -used}
	return c, true
}

// room is what a host has for a type.
type room struct {
	gpus    int // with room for one
	all     int // vGPUs that fit
	near    int // of those, on the VM's NUMA node
	opened  int // of those, on GPUs that run some already
	largest int // that fit on one empty GPU
}

func (d *decision) roomFor(h int, a *sought) room {
	gpus := d.hosts[h].gpus
	open, apart := d.avoid == nil && !d.options.Strict, d.options.AntiAffinity
	var usable, all, near, opened, largest int // in registers, unlike a room's fields
	for i := range gpus {
		g := &gpus[i]
		left := min(a.left(g.state), MaxVGPUs)
		if left <= 0 || !open && d.forbidden(h, i) {
			continue
		}
		if apart {
			left = 1
		}
		usable++
		all += left
		if d.near(g) {
			near += left
		}
		if g.used == 0 {
			largest = max(largest, left)
		} else {
			opened += left
		}
	}
	return room{usable, all, near, opened, largest}
}

// descend places the next vGPU and those behind it. It returns true when the
// search is over: nothing better can be found, or it took too long.
func (s *search) descend(cost, opened int) bool {
	i := len(s.picks)
	if cost >= s.foundCost {
		return false
	}
	if i == len(s.wants) {
		s.found, s.foundHost, s.foundCost = slices.Clone(s.picks), s.host, cost
		return cost <= s.bound
	}
	if s.steps++; s.steps > maxSteps || s.refined() {
		s.gaveUp = s.found == nil
		return true
	}
	before := len(s.tried)
	for _, c := range s.choices(i, opened) {
		state := s.state[c.gpu]
		opens := int(number(state.used == 0))
		extra := opens
		if s.spread {
			extra = 0
		}
		if !s.near(&s.gpus[c.gpu]) {
			extra += farCost
		}
		s.state[c.gpu] = s.placed(i, state)
		s.picks = append(s.picks, c.gpu)
		over := s.descend(cost+extra, opened+opens)
		s.picks = s.picks[:i]
		s.state[c.gpu] = state
		if over {
			return true
		}
		s.tried = append(s.tried, tried{i, c.gpu})
	}
	s.tried = s.tried[:before]
	return false
}

// refined bounds how long a better assignment than the found one is looked for.
func (s *search) refined() bool { return s.found != nil && s.steps > maxRefined }

// choice is a GPU that could take the next vGPU.
type choice struct {
	order order
	gpu   int
}

// choices are the GPUs that could take the i-th vGPU, best first: of those that can be
// exchanged for one another, the first only, and none that was tried for an equal
// request, since their order makes no difference.
func (s *search) choices(i, opened int) []choice {
	found, seen := make([]choice, 0, len(s.gpus)), make([]int, 0, MaxVGPUs)
	a := &s.types[s.wants[i].sought]
	for n := range s.gpus {
		g, state := &s.gpus[n], s.state[n]
		left := a.left(state)
		if left <= 0 || !s.allows(i, n) {
			continue
		}
		pin := s.isPin(s.host, n)
		if !pin {
			if slices.ContainsFunc(seen, func(m int) bool { return s.state[m].equals(state) && s.near(&s.gpus[m]) == s.near(g) }) {
				continue
			}
			seen = append(seen, n)
		}
		if !slices.ContainsFunc(s.tried, func(t tried) bool { return t.gpu == n && s.requests[t.request] == s.requests[i] }) {
			found = append(found, choice{s.order(a, s.host, g, state, left, opened), n})
		}
	}
	slices.SortStableFunc(found, func(a, b choice) int { return a.order.compare(&b.order) })
	return found
}

// allows tells whether the i-th vGPU may go to a GPU, were there room.
func (s *search) allows(i, n int) bool {
	if s.forbidden(s.host, n) || s.options.AntiAffinity && slices.Contains(s.picks, n) {
		return false
	}
	w := &s.wants[i]
	if !w.pinned {
		return !s.gpus[n].reserved()
	}
	at, ok := w.pin(s.host, n)
	if !ok || !s.isOpen(at) {
		return false
	}
	alone := at.parent >= 0 && s.gpus[n].model.single
	return !alone || !slices.ContainsFunc(s.requests[:i], func(r Request) bool { return r.Parent == s.requests[i].Parent })
}

// isPin tells whether some vGPU is pinned to the GPU, which therefore cannot
// be exchanged for another.
func (s *search) isPin(h, n int) bool {
	for i := range s.wants {
		if _, ok := s.wants[i].pin(h, n); ok {
			return true
		}
	}
	return false
}
