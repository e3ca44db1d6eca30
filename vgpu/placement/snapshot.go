package placement

import (
	"fmt"
	"slices"
	"sort"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/vgpukit/vgpukit/mdev"
)

// HostInventory is one host's offer, as a fleet knows it.
type HostInventory struct {
	// Host names the machine. It may be empty when there is only one.
	Host string `json:"host"`
	// Inventory is what [mdev.Host.Inventory] read there.
	Inventory *mdev.Inventory `json:"inventory"`
}

// Snapshot is what the GPUs of one host or of a fleet run and can still take,
// indexed for decisions. It is immutable and safe for concurrent use: deciding
// changes nothing, [Snapshot.After] returns another snapshot.
type Snapshot struct {
	fleet *fleet
	pages []*page
	used  []int32 // by host: vGPUs on it
}

// pageSize is the number of GPUs whose state is copied when one changes.
const (
	pageSize  = 1 << pageShift
	pageShift = 7
)

// page is the state of some GPUs. It is not changed once a snapshot has it.
type page struct {
	class [pageSize]int32
	taken [pageSize]*bits // of gpu.free; nil: none
}

// bits is an immutable set of indices.
type bits []uint64

func (b *bits) has(i int) bool { return b != nil && i>>6 < len(*b) && (*b)[i>>6]>>(i&63)&1 != 0 }

func (b *bits) with(i int) *bits {
	grown := make(bits, max(i>>6+1, len(b.words())))
	copy(grown, b.words())
	grown[i>>6] |= 1 << (i & 63)
	return &grown
}

func (b *bits) words() []uint64 {
	if b == nil {
		return nil
	}
	return *b
}

// fleet is what does not change between the snapshots of one fleet.
type fleet struct {
	hosts []host
	gpus  []gpu // those of one host side by side, in order of host and name

	// What decisions look at for each GPU, side by side in memory.
	hostOf []int32
	near   []int32 // NUMA node; -1: unknown; anyNode

	kinds       []kind
	kindIDs     map[kindKey]int32
	kindsByName map[string][]int32 // by id and by name
	models      []*model
	modelByKey  map[string]*model

	classes  atomic.Pointer[[]*class]
	mu       sync.Mutex // guards growing classes
	classIDs map[string]int32
	keyBuf   []byte

	spotsOnce sync.Once
	spots     map[string][]spot // by the name of a parent or GPU
}

type kindKey struct {
	id, name    string
	framebuffer uint64
}

type host struct {
	name string
	gpus span
}

// span is a range of indices.
type span struct{ from, to int32 }

func (s span) has(i int32) bool { return i >= s.from && i < s.to }

type gpu struct {
	name      string
	node      int32 // -1: unknown
	framework mdev.Framework
	mig       bool     // MIG mode is known to be on
	noMIG     bool     // MIG mode is known to be off
	free      []string // parents that can take a vGPU, in order
	closed    []closedParent
}

// closedParent is a parent that can take no vGPU at all.
type closedParent struct {
	name string
	code ReasonCode
	note string
}

// spot is a GPU, or one free parent of it.
type spot struct {
	gpu    int32
	parent int32 // index in gpu.free; anyParent; closedSpot
}

// anyNode is the NUMA node of GPUs on hosts whose kernel knows of none.
const anyNode = int32(-2)

const (
	anyParent  = int32(-1)
	closedSpot = int32(-2)
)

// NewSnapshot indexes the inventories of one or more hosts. They are not kept:
// the caller may change them afterwards. The order in which hosts are given
// makes no difference to any decision. Hosts need different names; of two with
// the same name, NewSnapshot refuses the second with [ErrInvalid], as it does a
// nil inventory.
func NewSnapshot(hosts ...HostInventory) (*Snapshot, error) {
	hosts = slices.Clone(hosts)
	slices.SortStableFunc(hosts, func(a, b HostInventory) int { return strings.Compare(a.Host, b.Host) })
	b := builder{fleet: &fleet{
		kindIDs: map[kindKey]int32{}, kindsByName: map[string][]int32{},
		modelByKey: map[string]*model{}, classIDs: map[string]int32{},
	}}
	b.fleet.classes.Store(&[]*class{})
	s := &Snapshot{fleet: b.fleet}
	for i, h := range hosts {
		if h.Inventory == nil {
			return nil, invalid(opSnapshot, "read it with mdev.Host.Inventory", "host %q has no inventory", h.Host)
		}
		if i > 0 && hosts[i-1].Host == h.Host {
			return nil, invalid(opSnapshot, "give each host a name of its own", "two hosts are named %q", h.Host)
		}
		s.used = append(s.used, b.host(h))
	}
	for i, class := range b.classes {
		if i&(pageSize-1) == 0 {
			s.pages = append(s.pages, new(page))
		}
		s.pages[i>>pageShift].class[i&(pageSize-1)] = class
	}
	return s, nil
}

const afterNext = "decide anew, on this snapshot"

// After is the snapshot in which a placement of this snapshot has come true, so
// that further decisions can be played through. It fails with [ErrNoCapacity]
// when the placement does not fit, and with [ErrNotFound] when it names what
// this snapshot does not have.
func (s *Snapshot) After(p Placement) (*Snapshot, error) {
	f := s.fleet
	hostIndex, ok := f.hostByName(p.Host)
	if !ok {
		return nil, &Error{Op: opPlace, Kind: ErrNotFound, Meaning: fmt.Sprintf("the snapshot has no host %q", p.Host), Next: afterNext}
	}
	after := &Snapshot{fleet: f, pages: slices.Clone(s.pages), used: slices.Clone(s.used)}
	after.used[hostIndex] += int32(len(p.VGPUs))
	for _, v := range p.VGPUs {
		g, ok := f.gpuByName(f.hosts[hostIndex].gpus, v.GPU)
		if !ok {
			return nil, &Error{Op: opPlace, Kind: ErrNotFound, Meaning: fmt.Sprintf("the snapshot has no GPU %q on host %q", v.GPU, p.Host), Next: afterNext}
		}
		parent := slices.Index(f.gpus[g].free, v.Parent)
		if parent < 0 {
			return nil, &Error{Op: opPlace, Kind: ErrNoCapacity, Meaning: fmt.Sprintf("GPU %s has no free parent %q", v.GPU, v.Parent), Next: afterNext}
		}
		if !after.take(g, int32(parent), v.Type) {
			return nil, &Error{Op: opPlace, Kind: ErrNoCapacity, Meaning: fmt.Sprintf("%s has no room for %s", v.Parent, v.Type), Next: afterNext}
		}
	}
	return after, nil
}

// take changes a snapshot that nobody else has yet.
func (s *Snapshot) take(g, parent int32, typeName string) bool {
	p := *s.pages[g>>pageShift]
	at := g & (pageSize - 1)
	class := s.fleet.class(p.class[at])
	n := int16(-1)
	for _, k := range s.fleet.kindsByName[typeName] {
		if slot, ok := class.model.slotOf[k]; ok {
			n = slot
			break
		}
	}
	if n < 0 || class.left(n) <= 0 || p.taken[at].has(int(parent)) {
		return false
	}
	p.class[at] = s.fleet.after(p.class[at], n)
	if class.model.single {
		p.taken[at] = p.taken[at].with(int(parent))
	}
	s.pages[g>>pageShift] = &p
	return true
}

// segment is the classes of the first GPUs of a span, as many as lie side by
// side.
func (s *Snapshot) segment(gpus span) []int32 {
	from := gpus.from & (pageSize - 1)
	return s.pages[gpus.from>>pageShift].class[from:min(pageSize, from+gpus.to-gpus.from)]
}

func (s *Snapshot) class(g int32) int32 { return s.pages[g>>pageShift].class[g&(pageSize-1)] }

func (s *Snapshot) taken(g int32) *bits { return s.pages[g>>pageShift].taken[g&(pageSize-1)] }

func (f *fleet) hostByName(name string) (int32, bool) {
	at, ok := sort.Find(len(f.hosts), func(i int) int { return strings.Compare(name, f.hosts[i].name) })
	return int32(at), ok
}

func (f *fleet) gpuByName(gpus span, name string) (int32, bool) {
	at, ok := sort.Find(int(gpus.to-gpus.from), func(i int) int { return strings.Compare(name, f.gpus[gpus.from+int32(i)].name) })
	return gpus.from + int32(at), ok
}

// gpuOf finds a GPU by its own name or by that of one of its parents.
func (f *fleet) gpuOf(gpus span, name string) (int32, bool) {
	if g, ok := f.gpuByName(gpus, name); ok {
		return g, true
	}
	for g := gpus.from; g < gpus.to; g++ {
		if slices.Contains(f.gpus[g].free, name) || slices.ContainsFunc(f.gpus[g].closed, func(c closedParent) bool { return c.name == name }) {
			return g, true
		}
	}
	return 0, false
}

// spotsNamed returns where a parent or GPU of that name is, on all hosts, in
// order of GPU. The index is made when it is first needed.
func (f *fleet) spotsNamed(name string) []spot {
	f.spotsOnce.Do(func() {
		f.spots = map[string][]spot{}
		for i := range f.gpus {
			g := &f.gpus[i]
			f.spots[g.name] = append(f.spots[g.name], spot{int32(i), anyParent})
			for j, parent := range g.free {
				if parent != g.name {
					f.spots[parent] = append(f.spots[parent], spot{int32(i), int32(j)})
				}
			}
			for _, parent := range g.closed {
				if parent.name != g.name {
					f.spots[parent.name] = append(f.spots[parent.name], spot{int32(i), closedSpot})
				}
			}
		}
	})
	return f.spots[name]
}
