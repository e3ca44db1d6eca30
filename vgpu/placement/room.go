package placement

import (
	"cmp"
	"encoding/binary"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/vgpukit/vgpukit/mdev"
)

// kind is a vGPU type as the whole fleet knows it.
type kind struct {
	id, name string
	size     uint64 // framebuffer in bytes; 0: not known, as for all but NVIDIA's
	board    string // "GRID M60"; "" if the name is not NVIDIA's
	series   string // "Q", "C", "B", "A"
	slice    string // of a MIG-backed type, what GPU instance it needs: "4-20", "1-5ME"
}

// sharing says how vGPUs of different types get along on one GPU.
type sharing uint8

const (
	// shareSize: all vGPUs on a GPU have the same framebuffer size.
	shareSize sharing = iota
	// shareInstance: each MIG-backed vGPU takes one GPU instance of its kind.
	shareInstance
	// sharePool: types divide one pool, as in GVT-g, mtty and mixed-size mode.
	sharePool
)

// slot is what a model says about one type.
type slot struct {
	kind  int32
	max   int32 // on an empty GPU
	share sharing
	group int32 // slots of one group count together; the smallest of their slots
	cost  int64 // sharePool: what one vGPU takes of the pool
}

// model is what GPUs have in common that offer the same types under the same
// rules.
type model struct {
	index    int32
	slots    []slot
	slotOf   map[int32]int16 // by kind
	single   bool            // one vGPU a parent: virtual functions
	sameType bool            // older drivers: one type, not only one size, at a time
	whole    bool            // before Ampere: a VM's second vGPU and all others take a whole GPU each
}

// class is one state that GPUs of a model can be in. GPUs of one class can be
// exchanged for one another, so a decision looks at classes instead of at
// GPUs. Classes are interned: same state, same number.
type class struct {
	model   *model
	room    []int32 // by slot: how many more, parents not counted
	parents int32   // how many more that its free parents allow
	used    int32   // vGPUs on it
	runs    int32   // the kind of one of them; -1: none, or unknown
	top     uint32  // largest size that it could still take, in sizeUnit

	next []atomic.Int32 // by slot: 1 + the class after one more; 0: not known yet
}

const (
	sizeUnit = 256 << 20
	noKind   = int32(-1)

	// poolSize can be divided by every count up to 32, so that pools of
	// unknown size are divided without rounding.
	poolSize = int64(144403552893600)
)

// left is the number of vGPUs of the slot's type that the GPU can still take.
func (c *class) left(slot int16) int32 { return min(c.room[slot], c.parents) }

// after is the state with one more vGPU of the slot's type.
func (c *class) after(n int16) *class {
	m := c.model
	t := m.slots[n]
	next := &class{model: m, room: slices.Clone(c.room), parents: c.parents, used: c.used + 1, runs: c.runs}
	if c.used == 0 {
		next.runs = t.kind
	}
	if next.parents != math.MaxInt32 {
		next.parents--
	}
	var pool int64
	for i, u := range m.slots {
		if u.share == sharePool {
			pool = max(pool, int64(c.room[i])*u.cost)
		}
	}
	for i, u := range m.slots {
		room := &next.room[i]
		switch {
		case u.share != t.share:
		case t.share == shareInstance:
			if u.group == t.group {
				*room = max(0, *room-1)
			}
		case t.share == sharePool:
			if u.group == t.group {
				*room = max(0, *room-1)
			}
			*room = int32(min(int64(*room), max(0, pool-t.cost)/u.cost))
		case u.group != t.group || (m.sameType && u.kind != t.kind):
			*room = 0
		default:
			*room = max(0, *room-1)
		}
	}
	return next
}

// key is equal for classes that are the same state.
func (c *class) key(b []byte) []byte {
	b = binary.AppendVarint(b[:0], int64(c.model.index))
	b = binary.AppendVarint(b, int64(c.parents))
	b = binary.AppendVarint(b, int64(c.used))
	b = binary.AppendVarint(b, int64(c.runs))
	for _, room := range c.room {
		b = binary.AppendVarint(b, int64(room))
	}
	return b
}

// class returns the class by its number.
func (f *fleet) class(id int32) *class { return (*f.classes.Load())[id] }

// intern gives a state its number. The caller holds f.mu or is the only one.
func (f *fleet) intern(c *class) int32 {
	f.keyBuf = c.key(f.keyBuf)
	if id, ok := f.classIDs[string(f.keyBuf)]; ok {
		return id
	}
	for i := range c.model.slots {
		if c.left(int16(i)) > 0 {
			units := (f.kinds[c.model.slots[i].kind].size + sizeUnit - 1) / sizeUnit
			c.top = max(c.top, uint32(min(units, math.MaxUint16)))
		}
	}
	c.next = make([]atomic.Int32, len(c.model.slots))
	old := *f.classes.Load()
	id := int32(len(old))
	grown := append(old, c) // readers of the shorter slice do not see it
	f.classes.Store(&grown)
	f.classIDs[string(f.keyBuf)] = id
	return id
}

// after is the number of the class that one more vGPU of the slot's type leads to.
func (f *fleet) after(id int32, slot int16) int32 {
	c := f.class(id)
	if next := c.next[slot].Load(); next != 0 {
		return next - 1
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	next := f.intern(c.after(slot))
	c.next[slot].Store(next + 1)
	return next
}

// newKind reads what NVIDIA puts into a type's name: "GRID M60-2B4",
// "NVIDIA L40S-48Q", and MIG-backed "GRID A100-1-5CME".
func newKind(id, name string, framebuffer uint64) kind {
	k := kind{id: id, name: name, size: framebuffer}
	cut := strings.LastIndexByte(name, '-')
	if cut < 0 {
		return k
	}
	board, profile := name[:cut], name[cut+1:]
	digits := len(profile) - len(strings.TrimLeft(profile, "0123456789"))
	if digits == 0 || digits == len(profile) || !strings.ContainsRune("QCBA", rune(profile[digits])) {
		return k
	}
	gib, err := strconv.ParseUint(profile[:digits], 10, 16)
	if err != nil {
		return k
	}
	if cut := strings.LastIndexByte(board, '-'); cut >= 0 {
		if _, err := strconv.ParseUint(board[cut+1:], 10, 8); err == nil {
			k.slice = board[cut+1:] + "-" + profile[:digits] + profile[digits+1:]
			board = board[:cut]
		}
	}
	k.board, k.series = board, profile[digits:digits+1]
	if k.size == 0 {
		k.size = max(gib<<30, 512<<20) // 0Q and 0B have half a GiB
	}
	return k
}

// offer is a type of one GPU while the snapshot is built.
type offer struct {
	kind      int32
	available int32
	max       int32
	parents   int32 // free parents that offer it
}

// newModel finds the rules that a GPU is under. mixed: sizes run side by side.
func (f *fleet) newModel(offers []offer, single, mixed, sameType, whole bool) *model {
	f.keyBuf = f.keyBuf[:0]
	for _, flag := range []bool{single, mixed, sameType, whole} {
		f.keyBuf = strconv.AppendBool(f.keyBuf, flag)
	}
	for _, o := range offers {
		f.keyBuf = binary.AppendVarint(f.keyBuf, int64(o.kind))
		f.keyBuf = binary.AppendVarint(f.keyBuf, int64(o.max))
	}
	if m, ok := f.modelByKey[string(f.keyBuf)]; ok {
		return m
	}
	m := &model{index: int32(len(f.models)), single: single, sameType: sameType, whole: whole, slotOf: map[int32]int16{}}
	for i, o := range offers {
		k := &f.kinds[o.kind]
		t := slot{kind: o.kind, max: o.max, share: sharePool, group: int32(i), cost: poolSize / int64(max(1, o.max))}
		same := func(slot) bool { return false }
		switch {
		case k.slice != "":
			t.share = shareInstance
			same = func(u slot) bool { return u.share == shareInstance && f.kinds[u.kind].slice == k.slice }
		case k.size > 0:
			if mixed {
				t.cost = int64(k.size)
			} else {
				t.share = shareSize
			}
			same = func(u slot) bool { return u.share == t.share && f.kinds[u.kind].size == k.size }
		}
		if first := slices.IndexFunc(m.slots, same); first >= 0 {
			t.group = int32(first)
		}
		m.slots = append(m.slots, t)
		m.slotOf[o.kind] = int16(i)
	}
	f.models = append(f.models, m)
	f.modelByKey[string(f.keyBuf)] = m
	return m
}

// kindOf interns a type and returns its number. Same id and name with another
// framebuffer are another kind.
func (f *fleet) kindOf(id, name string, framebuffer uint64, framework mdev.Framework) int32 {
	type_ := kindKey{id, name, framebuffer}
	if n, ok := f.kindIDs[type_]; ok {
		return n
	}
	n := int32(len(f.kinds))
	f.kinds = append(f.kinds, newKind(id, name, framebuffer))
	f.kindIDs[type_] = n
	names := []string{id, name}
	if _, err := strconv.ParseUint(id, 10, 32); err == nil && framework == mdev.FrameworkVendorVFIO {
		names = append(names, "nvidia-"+id)
	}
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		if name != "" {
			f.kindsByName[name] = append(f.kindsByName[name], n)
		}
	}
	return n
}

func compareOffers(a, b offer) int { return cmp.Compare(a.kind, b.kind) }
