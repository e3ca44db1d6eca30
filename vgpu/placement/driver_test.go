package placement

import (
	"fmt"
	"slices"
	"strings"

	"github.com/vgpukit/vgpukit/mdev"
)

// This simulator of drivers is the oracle that decisions are judged by: it shares no
// code with the placement, nor with package mdevtest, and is small enough to be right.

// simType is a vGPU type of a simulated board.
type simType struct {
	id, name string
	size     uint64 // MiB; 0: the board divides a pool
	max      int
	units    int    // of the pool
	slice    string // MIG: what GPU instance it takes: "1-5"
	series   string
}

type simBoard struct {
	name    string
	types   []simType
	vfs     int // 0: the GPU itself is the parent
	vendor  bool
	pool    int
	before  bool     // Ampere
	mig     []string // GPU instances: "1-5"; nil: MIG mode is off
	shares  bool     // several vGPUs of one size share a GPU instance
	oldOnly bool     // older driver: one type at a time
}

// simGPU is a GPU that refuses what a driver refuses. It shares no code with
// the placement.
type simGPU struct {
	board   *simBoard
	name    string
	node    int // -1: unknown
	running []simVGPU
	broken  map[string]bool // parents with a problem
	policy  GPUPolicy
}

type simVGPU struct {
	parent   string
	typ      *simType
	instance int // of board.mig; -1: none
}

func (g *simGPU) clone() *simGPU {
	c := *g
	c.running = slices.Clone(g.running)
	return &c
}

func (b *simBoard) find(name string) *simType {
	for i := range b.types {
		if b.types[i].id == name || b.types[i].name == name {
			return &b.types[i]
		}
	}
	return nil
}

func (g *simGPU) parents() []string {
	if g.board.vfs == 0 {
		return []string{g.name}
	}
	names := make([]string, g.board.vfs)
	for i := range names {
		names[i] = fmt.Sprintf("%s.%02d", g.name[:len(g.name)-2], i+1)
	}
	return names
}

// creatable is what the driver would say to a create of the type, whichever
// parent is used.
func (g *simGPU) creatable(t *simType) bool {
	b := g.board
	if b.pool > 0 {
		left := b.pool
		for _, v := range g.running {
			left -= v.typ.units
		}
		return left >= t.units
	}
	if b.mig != nil || t.slice != "" {
		if t.slice == "" {
			return false
		}
		return g.instance(t) >= 0
	}
	count := 0
	for _, v := range g.running {
		if b.oldOnly && v.typ != t || v.typ.size != t.size {
			return false
		}
		count++
	}
	return count < t.max
}

// roomIn is how many more of a type a GPU instance takes.
func (g *simGPU) roomIn(i int, t *simType) int {
	if g.board.mig[i] != t.slice {
		return 0
	}
	left := 1
	if g.board.shares {
		var slices, gib uint64
		_, _ = fmt.Sscanf(t.slice, "%d-%d", &slices, &gib)
		left = int(gib << 10 / t.size)
	}
	for _, v := range g.running {
		if v.instance == i {
			if left--; v.typ.size != t.size {
				return 0
			}
		}
	}
	return left
}

// instance is the GPU instance that the driver gives the next vGPU of a type; -1: none has room.
func (g *simGPU) instance(t *simType) int {
	for i := range g.board.mig {
		if t.slice != "" && g.roomIn(i, t) > 0 {
			return i
		}
	}
	return -1
}

// instances is how many more of a type all GPU instances take.
func (g *simGPU) instances(t *simType) int {
	sum := 0
	for i := range g.board.mig {
		sum += g.roomIn(i, t)
	}
	return sum
}

func (g *simGPU) free(parent string) bool {
	if g.broken[parent] || !slices.Contains(g.parents(), parent) {
		return false
	}
	return g.board.vfs == 0 || !slices.ContainsFunc(g.running, func(v simVGPU) bool { return v.parent == parent })
}

func (g *simGPU) create(parent, typeName string) bool {
	t := g.board.find(typeName)
	if t == nil || !g.free(parent) || !g.creatable(t) || !g.permits(parent, t) {
		return false
	}
	g.running = append(g.running, simVGPU{parent, t, g.instance(t)})
	return true
}

// permits tells whether the operator lets a vGPU be made on a parent.
func (g *simGPU) permits(parent string, t *simType) bool {
	if _, quarantined := g.policy.Quarantined[parent]; quarantined || g.policy.Cordoned != "" {
		return false
	}
	for _, limit := range g.policy.Types {
		if limit.Type != t.id && limit.Type != t.name {
			continue
		}
		n := 0
		for _, v := range g.running {
			if v.typ == t {
				n++
			}
		}
		return limit.Most == 0 || n < limit.Most
	}
	return g.policy.Types == nil
}

// createAnywhere uses the first free parent.
func (g *simGPU) createAnywhere(typeName string) (string, bool) {
	for _, p := range g.parents() {
		if g.create(p, typeName) {
			return p, true
		}
	}
	return "", false
}

// gpu is what an inventory says of it.
func (g *simGPU) gpu() mdev.GPU {
	b := g.board
	out := mdev.GPU{Name: g.name, Problems: []mdev.Problem{}, Capacity: []mdev.Capacity{}}
	if g.node >= 0 {
		out.NUMANode = &g.node
	}
	migTypes := slices.ContainsFunc(b.types, func(t simType) bool { return t.slice != "" })
	if migTypes {
		out.MIG = &mdev.MIG{Enabled: b.mig != nil}
		for i, slice := range b.mig {
			profile := strings.Replace(slice, "-", "g.", 1) + "gb"
			out.MIG.Instances = append(out.MIG.Instances, mdev.GPUInstance{Instance: mdev.Instance{ID: i + 1, Profile: profile}})
		}
	}
	sums := make([]int, len(b.types))
	for _, name := range g.parents() {
		p := mdev.Parent{Name: name, GPU: g.name, Framework: mdev.FrameworkMdev, Types: []mdev.Type{}, Devices: []mdev.Device{}, Problems: []mdev.Problem{}}
		if b.vfs > 0 {
			p.PF = g.name
		}
		if b.vendor {
			p.Framework = mdev.FrameworkVendorVFIO
		}
		if g.broken[name] {
			p.Problems = append(p.Problems, mdev.Problem{Object: name, Text: "its types cannot be read"})
		}
		for i, v := range g.running {
			if v.parent == name {
				dev := mdev.Device{ID: fmt.Sprintf("%s/%d", g.name, i), Parent: name, GPU: g.name, Type: v.typ.id, TypeName: v.typ.name, Framework: p.Framework}
				if id := v.instance + 1; id > 0 && b.shares {
					dev.GPUInstance = &id
				}
				p.Devices = append(p.Devices, dev)
			}
		}
		for i := range b.types {
			t := &b.types[i]
			n := g.available(t, name)
			if b.vendor && !g.creatable(t) {
				continue // the driver lists only what it can make
			}
			sums[i] += n
			p.Types = append(p.Types, mdev.Type{ID: t.id, Name: t.name, Available: n, Description: mdev.Description{Framebuffer: t.size << 20, MaxInstances: b.maxOf(t)}})
		}
		out.Parents = append(out.Parents, p)
	}
	for i := range b.types {
		t := &b.types[i]
		c := mdev.Capacity{Type: t.id, Name: t.name, Available: sums[i], Max: b.maxOf(t)}
		if b.vfs > 0 && b.mig == nil {
			same := 0
			for _, v := range g.running {
				if v.typ.size == t.size {
					same++
				}
			}
			c.Available = min(c.Available, t.max-same)
		}
		if t.slice != "" && b.mig != nil {
			c.Available = min(c.Available, g.instances(t))
		}
		if !b.vendor || g.creatable(t) {
			out.Capacity = append(out.Capacity, c)
		}
	}
	return out
}

// maxOf is what the driver's description says; those of pools say nothing, and
// their capacity is not known but from an empty one.
func (b *simBoard) maxOf(t *simType) int {
	if b.pool > 0 {
		return b.pool / t.units
	}
	return t.max
}

// available is what a parent's available_instances says.
func (g *simGPU) available(t *simType, parent string) int {
	switch {
	case !g.free(parent) && !g.broken[parent] || !g.creatable(t):
		return 0
	case g.board.vfs > 0:
		return 1
	case g.board.pool > 0:
		left := g.board.pool
		for _, v := range g.running {
			left -= v.typ.units
		}
		return left / t.units
	}
	return t.max - len(g.running)
}

// simHost is one machine.
type simHost struct {
	name string
	gpus []*simGPU
}

func (h *simHost) inventory() HostInventory {
	inv, policies := &mdev.Inventory{GPUs: []mdev.GPU{}, Problems: []mdev.Problem{}}, map[string]GPUPolicy{}
	for _, g := range h.gpus {
		inv.GPUs = append(inv.GPUs, g.gpu())
		policies[g.name] = g.policy
	}
	return HostInventory{Host: h.name, Inventory: inv, Policies: policies}
}

func (h *simHost) clone() *simHost {
	c := &simHost{name: h.name}
	for _, g := range h.gpus {
		c.gpus = append(c.gpus, g.clone())
	}
	return c
}

func (h *simHost) gpu(name string) *simGPU {
	for _, g := range h.gpus {
		if g.name == name {
			return g
		}
	}
	return nil
}

// sized makes types of one size each out of a board's name.
func sized(board string, firstID int, memory uint64, most int, profiles ...string) []simType {
	var types []simType
	for i, p := range profiles {
		var gib uint64
		var series string
		_, _ = fmt.Sscanf(p, "%d%s", &gib, &series)
		size := max(gib<<10, 512)
		types = append(types, simType{
			id: fmt.Sprintf("nvidia-%d", firstID+i), name: board + "-" + p,
			size: size, max: min(most, int(memory/size)), series: series[:1],
		})
	}
	return types
}

var (
	simM60  = &simBoard{name: "GRID M60", before: true, types: sized("GRID M60", 11, 8<<10, 16, "0B", "0Q", "1A", "1B", "1Q", "2A", "2B", "2Q", "4A", "4Q", "8A", "8Q")}
	simOld  = &simBoard{name: "GRID K2", before: true, oldOnly: true, types: sized("GRID K2", 900, 4<<10, 8, "1Q", "1B", "2Q", "4Q")}
	simA40  = &simBoard{name: "NVIDIA A40", vfs: 5, types: sized("NVIDIA A40", 555, 48<<10, 32, "1B", "2B", "1Q", "8Q", "12Q", "24Q", "48Q", "16C", "48C")}
	simL40S = &simBoard{name: "NVIDIA L40S", vfs: 4, vendor: true, types: vendorIDs(sized("NVIDIA L40S", 1145, 48<<10, 32, "1B", "2B", "8Q", "24Q", "48Q"))}
	simMtty = &simBoard{name: "mtty", pool: 6, types: []simType{{id: "mtty-1", name: "Single port serial", units: 1}, {id: "mtty-2", name: "Dual port serial", units: 2}}}
	simMIG  = &simBoard{
		name: "GRID A100", vfs: 6, mig: []string{"1-5", "1-5", "2-10", "3-20"},
		types: append(sized("GRID A100", 468, 40<<10, 10, "4C", "10C", "40C"),
			simType{id: "nvidia-474", name: "GRID A100-1-5C", size: 5 << 10, max: 7, slice: "1-5", series: "C"},
			simType{id: "nvidia-475", name: "GRID A100-2-10C", size: 10 << 10, max: 3, slice: "2-10", series: "C"},
			simType{id: "nvidia-476", name: "GRID A100-3-20C", size: 20 << 10, max: 2, slice: "3-20", series: "C"}),
	}
	simShared = &simBoard{
		name: "NVIDIA RTX Pro 4500 Blackwell DC", vfs: 9, vendor: true, shares: true, mig: []string{"1-16", "2-32", "1-16"},
		types: []simType{
			{id: "9201", name: "NVIDIA RTX Pro 4500 Blackwell DC-1-4Q", size: 4 << 10, max: 8, slice: "1-16", series: "Q"},
			{id: "9202", name: "NVIDIA RTX Pro 4500 Blackwell DC-1-4A", size: 4 << 10, max: 8, slice: "1-16", series: "A"},
			{id: "9203", name: "NVIDIA RTX Pro 4500 Blackwell DC-1-8Q", size: 8 << 10, max: 4, slice: "1-16", series: "Q"},
			{id: "9204", name: "NVIDIA RTX Pro 4500 Blackwell DC-1-16Q", size: 16 << 10, max: 2, slice: "1-16", series: "Q"},
			{id: "9205", name: "NVIDIA RTX Pro 4500 Blackwell DC-2-16Q", size: 16 << 10, max: 2, slice: "2-32", series: "Q"},
			{id: "9206", name: "NVIDIA RTX Pro 4500 Blackwell DC-2-32Q", size: 32 << 10, max: 1, slice: "2-32", series: "Q"},
		},
	}
	simNoMIG = &simBoard{name: simMIG.name, vfs: 6, types: simMIG.types}
)

func vendorIDs(types []simType) []simType {
	for i := range types {
		types[i].id = types[i].id[len("nvidia-"):]
	}
	return types
}
