package placement

import (
	"errors"
	"fmt"
	"math/rand"
	"os"
	"slices"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
)

// simFleet is some hosts, and the truth about placements on them.
type simFleet []*simHost

func (f simFleet) snapshot(t testing.TB) *Snapshot {
	t.Helper()
	var hosts []HostInventory
	for _, h := range f {
		hosts = append(hosts, h.inventory())
	}
	s, err := NewSnapshot(hosts...)
	require.NoError(t, err)
	return s
}

func (f simFleet) host(name string) *simHost {
	for _, h := range f {
		if h.name == name {
			return h
		}
	}
	return nil
}

// allowed tells whether the options let the i-th vGPU onto the GPU.
func allowed(h *simHost, g *simGPU, r Request, several bool, o Options) bool {
	t := g.board.find(r.Type)
	switch {
	case t == nil, o.Host != "" && o.Host != h.name:
		return false
	case g.policy.Reserved && r.Parent == "":
		return false
	case several && g.board.before && t.size > 0 && (t.max > 1 || t.series != "Q" && t.series != "C"):
		return false
	case o.Policy == NUMA && o.Strict && far(h, g, o):
		return false
	case r.Parent != "" && r.Parent != g.name && !slices.Contains(g.parents(), r.Parent):
		return false
	}
	for _, a := range o.Avoid {
		if a.Host == h.name && (a.GPU == "" || a.GPU == g.name) {
			return false
		}
	}
	for _, has := range o.Existing {
		if has.Host != h.name || (o.AntiAffinity && has.GPU == g.name) {
			return false
		}
	}
	return true
}

func far(h *simHost, g *simGPU, o Options) bool {
	known := slices.ContainsFunc(h.gpus, func(g *simGPU) bool { return g.node >= 0 })
	return known && g.node != *o.NUMANode
}

// assignments tries every assignment on one host, and returns the least cost of
// those that work: far GPUs under NUMA, then empty GPUs opened.
func assignments(h *simHost, requests []Request, o Options) (least int, found bool) {
	several := len(requests)+len(o.Existing) > 1
	var try func(h *simHost, i, cost int, used []string)
	try = func(h *simHost, i, cost int, used []string) {
		if i == len(requests) {
			if !found || cost < least {
				least, found = cost, true
			}
			return
		}
		r := requests[i]
		for n, g := range h.gpus {
			if !allowed(h, g, r, several, o) || (o.AntiAffinity && slices.Contains(used, g.name)) {
				continue
			}
			extra := 0
			if len(g.running) == 0 {
				extra = 1
			}
			if o.Policy == NUMA && far(h, g, o) {
				extra += 100
			}
			for _, p := range g.parents() {
				if r.Parent != "" && r.Parent != g.name && r.Parent != p {
					continue
				}
				if r.Parent == "" || r.Parent == g.name { // a pinned one may need it: leave it if others are free
					pinned := slices.ContainsFunc(requests, func(q Request) bool { return q.Parent == p && p != g.name })
					if pinned {
						continue
					}
				}
				next := h.clone()
				if next.gpus[n].create(p, r.Type) {
					try(next, i+1, cost+extra, append(slices.Clone(used), g.name))
					break // which of a GPU's functions it is makes no difference
				}
			}
		}
	}
	try(h, 0, 0, nil)
	return least, found
}

// bad tells why a placement is wrong; "": it is right. The hosts are changed
// to what they are after it.
func (f simFleet) bad(p Placement, requests []Request, o Options) string {
	h := f.host(p.Host)
	if h == nil || len(p.VGPUs) != len(requests) {
		return "wrong host or number of vGPUs"
	}
	several := len(requests)+len(o.Existing) > 1
	for i, v := range p.VGPUs {
		g := h.gpu(v.GPU)
		switch {
		case g == nil || !allowed(h, g, requests[i], several, o):
			return fmt.Sprintf("vGPU %d must not be on %q", i, v.GPU)
		case requests[i].Parent != "" && requests[i].Parent != v.GPU && requests[i].Parent != v.Parent:
			return fmt.Sprintf("vGPU %d is not where it is pinned to", i)
		case o.AntiAffinity && slices.ContainsFunc(p.VGPUs[:i], func(w VGPU) bool { return w.GPU == v.GPU }):
			return fmt.Sprintf("vGPU %d is not apart", i)
		case v.Type != g.board.find(requests[i].Type).id:
			return fmt.Sprintf("vGPU %d is of type %s", i, v.Type)
		case !g.create(v.Parent, v.Type):
			return fmt.Sprintf("the driver refuses vGPU %d on %s", i, v.Parent)
		}
	}
	return ""
}

func randomFleet(r *rand.Rand) simFleet {
	boards := []*simBoard{simM60, simA40, simA40, simL40S, simMtty, simMIG, simShared, simNoMIG, simOld}
	first, second := boards[r.Intn(len(boards))], boards[r.Intn(len(boards))]
	if first == simOld || second == simOld { // the driver is the host's
		first, second = simOld, simOld
	}
	var fleet simFleet
	for h := range 1 + r.Intn(3) {
		host := &simHost{name: fmt.Sprintf("host%d", h)}
		nodes := r.Intn(3)
		for i := range 1 + r.Intn(4) {
			board := first
			if r.Intn(3) == 0 {
				board = second
			}
			g := &simGPU{board: board, name: fmt.Sprintf("0000:%02x:00.0", 0x41+i), node: -1, broken: map[string]bool{}}
			if nodes > 0 && r.Intn(5) > 0 {
				g.node = r.Intn(nodes)
			}
			for range r.Intn(7) {
				if board.vfs > 0 && r.Intn(8) == 0 {
					g.broken[g.parents()[r.Intn(board.vfs)]] = true
				}
				g.createAnywhere(board.types[r.Intn(len(board.types))].id)
			}
			if r.Intn(4) == 0 {
				g.running = nil
			}
			if board == simOld && i == 0 { // by which the driver shows that it is old
				g.running = nil
				g.createAnywhere("GRID K2-1Q")
			}
			if r.Intn(3) == 0 {
				g.policy = randomPolicy(r, g)
			}
			host.gpus = append(host.gpus, g)
		}
		fleet = append(fleet, host)
	}
	r.Shuffle(len(fleet), func(i, j int) { fleet[i], fleet[j] = fleet[j], fleet[i] })
	return fleet
}

func randomRequest(r *rand.Rand, f simFleet) ([]Request, Options) {
	host := f[r.Intn(len(f))]
	board := host.gpus[r.Intn(len(host.gpus))].board
	one := &board.types[r.Intn(len(board.types))]
	n := 1
	if r.Intn(3) > 0 {
		n = 1 + r.Intn(5)
	}
	var requests []Request
	for range n {
		if t := &board.types[r.Intn(len(board.types))]; t.series == one.series && r.Intn(2) == 0 {
			one = t
		}
		q := Request{Type: one.id}
		if r.Intn(2) == 0 {
			q.Type = one.name
		}
		if r.Intn(8) == 0 {
			g := host.gpus[r.Intn(len(host.gpus))]
			q.Parent = g.name
			if p := g.parents()[r.Intn(len(g.parents()))]; r.Intn(2) == 0 {
				taken := slices.ContainsFunc(requests, func(q Request) bool { return q.Parent == p })
				if !taken {
					q.Parent = p
				}
			}
		}
		requests = append(requests, q)
	}
	o := Options{Policy: []Policy{"", Pack, Spread, NUMA}[r.Intn(4)], AntiAffinity: r.Intn(4) == 0, KeepEmpty: r.Intn(3)}
	if o.Policy == NUMA {
		node := r.Intn(2)
		o.NUMANode, o.Strict = &node, r.Intn(2) == 0
	}
	holding := func() Use {
		h := f[r.Intn(len(f))]
		return Use{Host: h.name, GPU: h.gpus[r.Intn(len(h.gpus))].name}
	}
	switch r.Intn(8) {
	case 0:
		o.Avoid = []Use{holding(), holding()}
	case 1:
		o.Avoid = []Use{{Host: f[r.Intn(len(f))].name}}
	case 2:
		has := holding()
		has.Type = one.id
		o.Existing = []Use{has}
	case 3:
		o.Host = f[r.Intn(len(f))].name
	}
	return requests, o
}

// TestPlaceAgreesWithEveryAssignment keeps the promises that a VM is refused
// only when no assignment exists, that what is placed the driver accepts, that
// Pack opens and NUMA strays no more than needed, that equal questions have
// equal answers, and that After is what a new inventory would say.
func TestPlaceAgreesWithEveryAssignment(t *testing.T) {
	t.Parallel()
	rounds, first := 500, rand.Int63n(1<<40)
	if n, err := strconv.ParseInt(os.Getenv("VGPUKIT_SEED"), 10, 64); err == nil {
		first = n
	}
	t.Logf("VGPUKIT_SEED=%d", first)
	if n, err := strconv.Atoi(os.Getenv("VGPUKIT_SEEDS")); err == nil {
		rounds = n
	}
	placed, refusedCount := 0, 0
	for n := range int64(rounds) {
		seed := first + n
		r := rand.New(rand.NewSource(seed))
		fleet := randomFleet(r)
		snapshot := fleet.snapshot(t)
		for step := range 4 {
			requests, options := randomRequest(r, fleet)
			where := fmt.Sprintf("seed %d step %d: %+v %+v", seed, step, requests, options)

			least, exists := 0, false
			for _, h := range fleet {
				if cost, ok := assignments(h, requests, options); ok && (!exists || cost < least) {
					least, exists = cost, true
				}
			}
			placement, err := snapshot.Place(requests, options)
			again, errAgain := snapshot.Place(requests, options)
			if fleet[0].gpus[0].board != simOld { // a full GPU no longer shows that its driver is old
				again, errAgain = fleet.snapshot(t).Place(requests, options)
			}
			require.Equal(t, placement, again, where)
			require.Equal(t, err == nil, errAgain == nil, where)
			if err != nil {
				refusedCount++
				require.False(t, exists, "%s: refused, though an assignment exists: %v", where, err)
				checkRefusal(t, where, fleet, requests, options, err)
				continue
			}
			placed++
			require.True(t, exists, where)
			before := simFleet{}
			for _, h := range fleet {
				before = append(before, h.clone())
			}
			cost := 0
			for i, v := range placement.VGPUs {
				h := before.host(placement.Host)
				if options.Policy == NUMA && far(h, h.gpu(v.GPU), options) {
					cost += 100
				}
				first := !slices.ContainsFunc(placement.VGPUs[:i], func(w VGPU) bool { return w.GPU == v.GPU })
				if first && len(h.gpu(v.GPU).running) == 0 {
					cost++
				}
			}
			require.Empty(t, fleet.bad(placement, requests, options), "%s: %+v", where, placement)
			if options.Policy != Spread {
				require.Equal(t, least, cost, "%s: it costs more than it must: %+v", where, placement)
			}
			checkAlternatives(t, where, before, placement, requests, options)
			snapshot, err = snapshot.After(placement)
			require.NoError(t, err, where)
		}
	}
	t.Logf("%d placed, %d refused", placed, refusedCount)
}

// checkAlternatives sees that each parent that is named as another choice is one.
func checkAlternatives(t *testing.T, where string, before simFleet, p Placement, requests []Request, o Options) {
	t.Helper()
	for i, v := range p.VGPUs {
		require.LessOrEqual(t, len(v.Alternatives), maxAlternatives)
		for _, other := range v.Alternatives {
			require.NotEqual(t, v.Parent, other.Parent, where)
			changed := Placement{Host: p.Host, VGPUs: slices.Clone(p.VGPUs)}
			changed.VGPUs[i].GPU, changed.VGPUs[i].Parent = other.GPU, other.Parent
			// It is made last: the rest stays where it is.
			order := append(slices.Clone(requests[:i]), requests[i+1:]...)
			order = append(order, requests[i])
			changed.VGPUs = append(slices.Delete(slices.Clone(changed.VGPUs), i, i+1), changed.VGPUs[i])
			copied := simFleet{}
			for _, h := range before {
				copied = append(copied, h.clone())
			}
			require.Empty(t, copied.bad(changed, order, o), "%s: other %+v of vGPU %d in %+v", where, other, i, p)
		}
	}
}

// checkRefusal sees that the reasons cover each parent and that none is false.
func checkRefusal(t *testing.T, where string, f simFleet, requests []Request, o Options, err error) {
	t.Helper()
	var refusal *Refusal
	if !errors.As(err, &refusal) {
		return // a rule was broken
	}
	require.NotEmpty(t, err.Error(), where)
	require.NotEmpty(t, refusal.Hint(), where)
	several := len(requests)+len(o.Existing) > 1
	covered := map[string]int{}
	for _, reason := range refusal.Reasons() {
		h := f.host(reason.Host)
		g := h.gpu(reason.GPU)
		require.NotEmpty(t, reason.Text, where)
		for _, p := range reason.Parents {
			covered[fmt.Sprint(reason.Request, reason.Host, p)]++
			require.Equal(t, 1, covered[fmt.Sprint(reason.Request, reason.Host, p)], "%s: %s has two reasons", where, p)
			q := requests[reason.Request]
			alone := allowed(h, g, q, several, o) && (q.Parent == "" || q.Parent == g.name || q.Parent == p) && g.clone().create(p, q.Type)
			require.Equal(t, alone, reason.Code == ReasonNotJointly, "%s: %+v", where, reason)
			plain := g.clone()
			plain.policy = GPUPolicy{}
			without := allowed(h, plain, q, several, o) && (q.Parent == "" || q.Parent == g.name || q.Parent == p) && plain.create(p, q.Type)
			require.Equal(t, without && !alone, reason.Code.byPolicy(), "%s: %+v", where, reason)
		}
	}
	for i, q := range requests {
		if slices.ContainsFunc(requests[:i], func(e Request) bool { return e.Type == q.Type && e.Parent == q.Parent }) {
			continue
		}
		for _, h := range f {
			if o.Host != "" && o.Host != h.name || len(o.Existing) > 0 && o.Existing[0].Host != h.name {
				continue
			}
			for _, g := range h.gpus {
				for _, p := range g.parents() {
					require.Equal(t, 1, covered[fmt.Sprint(i, h.name, p)], "%s: no reason for vGPU %d on %s %s", where, i, h.name, p)
				}
			}
		}
	}
}
