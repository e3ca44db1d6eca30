package placement

import (
	"cmp"
	"slices"

	"github.com/vgpukit/vgpukit/internal/board"
	"github.com/vgpukit/vgpukit/internal/nvidia"
	"github.com/vgpukit/vgpukit/mdev"
)

// kind is a vGPU type as the whole fleet knows it.
type kind struct {
	id, name string
	size     uint64      // framebuffer in bytes; 0: not known, as for all but NVIDIA's
	board    string      // "GRID M60"; "" if the name is not NVIDIA's
	series   string      // "Q", "C", "B", "A"
	named    nvidia.Type // what the name says, if it is NVIDIA's
}

// migBacked tells a type that runs in a GPU instance.
func (k *kind) migBacked() bool { return k.named.Slices > 0 }

// numbered tells a type that is known by its number only, which no GPU lists now.
func (k *kind) numbered() bool {
	_, number := mdev.TypeNumber(k.name)
	return number && k.board == "" && k.size == 0
}

// likeInstance tells whether vGPUs of two MIG-backed types have the same GPU instances.
func (k *kind) likeInstance(l *kind) bool {
	a, b := k.named, l.named
	return a.Slices == b.Slices && a.Variant == b.Variant && k.size == l.size && a.SharesInstance() == b.SharesInstance()
}

func newKind(id, name string, framebuffer uint64) kind {
	k := kind{id: id, name: cmp.Or(name, id), size: framebuffer} // a vGPU that runs may have a number only
	if t, ok := nvidia.Parse(name); ok && t.Board != "" {
		k.board, k.series, k.named = t.Board, t.Series, t
		if k.size == 0 {
			k.size = t.Framebuffer()
		}
	}
	return k
}

// sharing says how vGPUs of different types get along on one GPU.
type sharing uint8

const (
	// shareSize: all vGPUs on a GPU have the same framebuffer size.
	shareSize sharing = iota
	// shareInstance: MIG-backed vGPUs take GPU instances, or room in them.
	shareInstance
	// sharePool: types divide one pool, as in GVT-g, mtty and mixed-size mode.
	sharePool
)

// slot is what a model says about one type.
type slot struct {
	kind  int32
	max   int32 // on an empty GPU
	share sharing
	alone bool   // it cannot be one of several in a VM
	group int    // slots of one group count together; the first of them
	cost  int64  // sharePool: what one vGPU takes of the pool
	size  uint64 // the kind's
}

// model is what GPUs have in common that offer the same types under the same rules.
type model struct {
	index    int
	slots    []slot
	holds    [][]int32     // of GPU instances that are known, what each takes by slot; nil: none are known
	named    []nvidia.Type // by slot, what the types' names say; nil without holds
	single   bool          // one vGPU a parent: virtual functions
	sameType bool          // older drivers: one type, not only one size, at a time
}

// slotOf is the place of the first of some kinds in the model; -1: it has none.
func (m *model) slotOf(kinds []int32) int {
	for _, k := range kinds {
		for n := range m.slots {
			if m.slots[n].kind == k {
				return n
			}
		}
	}
	return -1
}

// gpu is one GPU of a snapshot.
type gpu struct {
	*state
	*device
}

// device is what does not change of a GPU.
type device struct {
	name      string
	pci       string // its PCI device, "20f1"; "" if that is not known
	node      int    // -1: unknown
	anyNode   bool   // its host's kernel knows of no node: it is near all
	framework mdev.Framework
	mig       bool         // MIG mode is known to be on
	noMIG     bool         // MIG mode is known to be off
	instances *instances   // in MIG mode
	idle      mdev.Problem // why it makes no vGPUs; none: Code is empty
	policy    *GPUPolicy   // what an operator allows; nil: everything
	free      []string     // parents that can take a vGPU, in order
	closed    []closedParent
}

// closedParent is a parent that can take no vGPU at all.
type closedParent struct {
	name string
	code ReasonCode
	note string
}

// state is what a GPU runs and can still take. It is not changed, and the GPUs of an
// inventory that are in the same state share it, so that a large fleet is looked through
// in the processor's caches.
type state struct {
	model   *model
	room    []int32      // by slot: how many more, parents not counted
	parents int32        // how many more its free parents allow
	used    int32        // vGPUs on it
	runs    int32        // the kind of one of them; noKind: none, or unknown
	top     int32        // framebuffer of the largest type that it could still take, in MiB
	fills   []board.Fill // what the GPU instances run that model.holds has
	limits  []int32      // by slot: how many more the GPU's policy allows; nil: as many as there is room for
	taken   []bool       // of device.free, those that got a vGPU in this snapshot; nil: none
}

const (
	noKind = int32(-1)

	// poolSize can be divided by every count up to 32, so that pools of unknown
	// size are divided without rounding.
	poolSize = int64(144403552893600)
)

// left is the number of vGPUs of the slot's type that there is room for.
func (s *state) left(n int) int32 {
	if s.limits != nil {
		return min(s.room[n], s.parents, s.limits[n])
	}
	return min(s.room[n], s.parents)
}

// with is the state with one more vGPU of the slot's type.
func (s *state) with(n int) *state {
	slots := s.model.slots
	t := slots[n]
	next := *s
	next.room = slices.Clone(s.room)
	next.limits = s.limitsWith(n)
	next.used++
	if s.used == 0 {
		next.runs = t.kind
	}
	if s.model.single {
		next.parents--
	}
	if t.share == shareInstance && s.model.holds != nil {
		next.fill(n)
		return &next
	}
	var pool int64
	for i, u := range slots {
		if u.share == sharePool {
			pool = max(pool, int64(s.room[i])*u.cost)
		}
	}
	for i, u := range slots {
		room := &next.room[i]
		switch {
		case u.share != t.share:
			continue
		case t.share == shareSize && (u.group != t.group || s.model.sameType && u.kind != t.kind):
			*room = 0
		case u.group == t.group:
			*room = max(0, *room-1)
		}
		if t.share == sharePool {
			*room = int32(min(int64(*room), max(0, pool-t.cost)/u.cost))
		}
	}
	next.setTop()
	return &next
}

// setTop finds the largest type that there is room for.
func (s *state) setTop() {
	s.top = 0
	for n := range s.room {
		if s.left(n) > 0 {
			s.top = max(s.top, int32(s.model.slots[n].size>>20))
		}
	}
}

// on is the state with one more vGPU of the slot's type on one of so many free parents.
func (s *state) on(parent, parents, n int) *state {
	next := s.with(n)
	if s.model.single {
		next.taken = make([]bool, parents)
		copy(next.taken, s.taken)
		next.taken[parent] = true
	}
	return next
}

func (s *state) isTaken(parent int) bool { return s.taken != nil && s.taken[parent] }

// parentNames are those of all parents, free and closed.
func (g *gpu) parentNames() []string {
	names := make([]string, len(g.free), len(g.free)+len(g.closed))
	copy(names, g.free)
	for _, c := range g.closed {
		names = append(names, c.name)
	}
	slices.Sort(names)
	return names
}

// equals tells whether GPUs in the two states can be exchanged for one another.
func (s *state) equals(t *state) bool {
	return s == t || s.model == t.model && s.parents == t.parents && s.used == t.used && s.runs == t.runs && slices.Equal(s.room, t.room) &&
		slices.Equal(s.fills, t.fills) && slices.Equal(s.limits, t.limits)
}
