package placement

import (
	"fmt"
	"slices"
	"sort"
	"strings"

	"github.com/vgpukit/vgpukit/mdev"
)

// HostInventory is one host's offer, as a fleet knows it.
type HostInventory struct {
	// Host names the machine. It may be empty when there is only one.
	Host string `json:"host"`
	// Inventory is what [mdev.Host.Inventory] read there.
	Inventory *mdev.Inventory `json:"inventory"`
	// Policies are those of its GPUs, by name. What is not in it allows everything.
	Policies map[string]GPUPolicy `json:"policies,omitempty"`
}

// Snapshot is what the GPUs of one host or of a fleet run and can still take. It is
// immutable and safe for concurrent use: deciding changes nothing, [Snapshot.After]
// returns another snapshot.
type Snapshot struct {
	*fleet
	hosts []host // by name
}

// fleet is what all snapshots of one fleet have in common.
type fleet struct {
	kinds       []kind
	kindsByName map[string][]int32 // by id, by NVIDIA's number, and by name
	models      []*model
	spots       map[string][]spot // where a parent or GPU of a name is, host by host
}

// host is one machine with its GPUs, by name.
type host struct {
	name  string
	used  int // vGPUs on it
	gpus  []gpu
	first int // how many GPUs the hosts before it have
}

// spot is a GPU, or one parent of it.
type spot struct {
	host, gpu int32
	parent    int32 // index in device.free; anyParent; closedParents
}

const (
	anyParent     = int32(-1)
	closedParents = int32(-2)
)

// NewSnapshot takes in the inventories of one or more hosts. They are not kept: the
// caller may change them afterwards. The order in which hosts are given makes no
// difference to any decision. Hosts need different names; of two with the same name,
// NewSnapshot refuses the second with [ErrInvalid], as it does a nil inventory.
func NewSnapshot(hosts ...HostInventory) (*Snapshot, error) {
	hosts = slices.Clone(hosts)
	slices.SortStableFunc(hosts, func(a, b HostInventory) int { return strings.Compare(a.Host, b.Host) })
	b := newBuilder(hosts)
	s := &Snapshot{fleet: b.fleet, hosts: make([]host, len(hosts))}
	for i, h := range hosts {
		if h.Inventory == nil {
			return nil, invalid(opSnapshot, "read it with mdev.Host.Inventory", "host %q has no inventory", h.Host)
		}
		if i > 0 && hosts[i-1].Host == h.Host {
			return nil, invalid(opSnapshot, "give each host a name of its own", "two hosts are named %q", h.Host)
		}
		s.hosts[i] = b.host(h)
		b.index(int32(i), s.hosts[i].gpus)
	}
	return s, nil
}

// After is the snapshot in which a placement of this snapshot has come true, so
// that further decisions can be played through. A placement that came about before a
// policy forbade it counts all the same. It fails with [ErrNoCapacity]
// when the placement does not fit, and with [ErrNotFound] when it names what
// this snapshot does not have.
func (s *Snapshot) After(p Placement) (*Snapshot, error) {
	at, ok := s.hostNamed(p.Host)
	if !ok {
		return nil, misfit(ErrNotFound, "the snapshot has no host %q", p.Host)
	}
	after := &Snapshot{fleet: s.fleet, hosts: slices.Clone(s.hosts)}
	h := &after.hosts[at]
	h.gpus = slices.Clone(h.gpus)
	for _, v := range p.VGPUs {
		i, ok := h.gpuNamed(v.GPU)
		if !ok {
			return nil, misfit(ErrNotFound, "the snapshot has no GPU %q on host %q", v.GPU, p.Host)
		}
		g := &h.gpus[i]
		parent := slices.Index(g.free, v.Parent)
		shut := parent < 0 && g.isQuarantined(v.Parent)
		if !shut && (parent < 0 || g.isTaken(parent)) {
			return nil, misfit(ErrNoCapacity, "GPU %s has no free parent %q", v.GPU, v.Parent)
		}
		n := g.model.slotOf(s.kindsOf(v.Type))
		if n < 0 || g.room[n] <= 0 || !shut && g.parents <= 0 {
			return nil, misfit(ErrNoCapacity, "%s has no room for %s", v.Parent, v.Type)
		}
		if shut {
			*g = g.onQuarantined(v.Parent, n)
		} else {
			g.state = g.on(parent, len(g.free), n)
		}
		h.used++
	}
	return after, nil
}

// kindsOf are the kinds of types that have an id, in any spelling, or a name.
func (f *fleet) kindsOf(name string) []int32 {
	if number, ok := mdev.TypeNumber(name); ok {
		name = number
	}
	return f.kindsByName[name]
}

// misfit is After's answer to a placement that is not of this snapshot.
func misfit(kind error, meaning string, args ...any) *Error {
	return &Error{Op: opPlace, Kind: kind, Meaning: fmt.Sprintf(meaning, args...), Next: "decide anew, on this snapshot"}
}

func (s *Snapshot) hostNamed(name string) (int, bool) {
	return sort.Find(len(s.hosts), func(i int) int { return strings.Compare(name, s.hosts[i].name) })
}

func (h *host) gpuNamed(name string) (int, bool) {
	return sort.Find(len(h.gpus), func(i int) int { return strings.Compare(name, h.gpus[i].name) })
}
