package mdev

import (
	"math"
	"slices"

	"github.com/vgpukit/vgpukit/internal/board"
	"github.com/vgpukit/vgpukit/internal/nvidia"
)

// Capacity says how many more devices of one type a GPU can hold.
//
// A sum over its parents says too much where the parents are virtual
// functions: each of 32 VFs offers one instance of a type of which the GPU
// can hold four. So the number is the smallest of
//
//   - the instances that the parents offer together;
//   - the type's instances at most, less the devices on the GPU that have
//     the same framebuffer size (they share one division of the memory), or
//     of a MIG-backed type the devices of that type. A device whose type is
//     not known, such as a ghost, counts as one of each;
//   - the framebuffer that the devices on the GPU leave, divided by the
//     type's;
//   - of a MIG-backed type, what the GPU instances hold that exist, as far as they
//     are known: one vGPU each on boards of generations before Blackwell; there as many as
//     fit, all of one framebuffer size.
//
// It stays an upper bound where the kernel does not tell more: where the sizes of GPU
// instances are not known ([MIG.SizesKnown]), for mixed-size placement, where
// the free memory may be in pieces, and where Max is not known: of a newer board
// under NVIDIA's vendor-specific VFIO framework that this process has seen only with vGPUs
// on it.
type Capacity struct {
	// Type is the type's id. Of several spellings by the drivers of virtual functions it is
	// NVIDIA's own; all of them find it.
	Type      string `json:"type"`
	Name      string `json:"name"`
	Available int    `json:"available"`
	Max       int    `json:"max"` // on an empty GPU; 0: not known
}

// offer is a type of a GPU, summed up over its parents.
type offer struct {
	Capacity
	spelling string // of its id, by the parent that was first
	number   string // of its id; "" if that has none
	size     uint64
	named    nvidia.Type // what its name says, if it is NVIDIA's
}

// capacity works out what a GPU can really still hold: see [Capacity].
func capacity(g *GPU, on board.Board) []Capacity {
	var offers []offer
	for i := range g.Parents {
		offers = addOffers(offers, g.Parents[i].Types)
	}
	var memory uint64
	for i := range offers {
		memory = max(memory, offers[i].size*uint64(offers[i].Max))
	}
	used := usageOf(g, offers)
	shared := len(g.Parents) > 1 || len(g.Parents) == 1 && g.Parents[0].PF != ""
	places := newPlaces(g, on)
	list := make([]Capacity, 0, len(offers))
	for i := range offers {
		o := &offers[i]
		room, listed := math.MaxInt, o.Available > 0 && g.vendorVFIO()
		if shared && o.Max > 0 {
			room = max(0, o.Max-used.taken(o))
		}
		switch {
		case o.named.Slices == 0:
		case places != nil:
			room = min(room, max(0, places.room(o.named)-places.unnamed))
		case !o.named.SharesInstance():
			room = min(room, max(0, on.MostSlices()-used.slices)/o.named.Slices)
		}
		if room < math.MaxInt {
			// The driver, which knows all types, still offers one: it fits.
			o.Available = min(o.Available, max(room-used.unknown, min(room, 1)))
		}
		if shared && o.size > 0 && memory > 0 && o.named.Slices == 0 { // GPU instances have memory of their own
			o.Available = min(o.Available, int((memory-min(memory, used.memory))/o.size))
		}
		if listed && o.named.Slices == 0 { // by a driver that lists only what it can make now
			o.Available = max(o.Available, 1)
		}
		list = append(list, o.Capacity)
	}
	slices.SortFunc(list, func(a, b Capacity) int { return compareNames(a.Type, b.Type) })
	return list
}

// addOffers adds one parent's types. Parents of a GPU mostly list the same, in one order.
func addOffers(offers []offer, types []Type) []offer {
	for i := range types {
		t := &types[i]
		at := i
		if at >= len(offers) || offers[at].spelling != t.ID {
			at = slices.IndexFunc(offers, func(o offer) bool { return o.is(t.ID) })
		}
		if at < 0 {
			at = len(offers)
			offers = append(offers, newOffer(t))
		}
		o := &offers[at]
		o.Available += t.Available
		if o.number != "" && t.ID != o.Type && t.ID == "nvidia-"+o.number {
			o.Type = t.ID
		}
	}
	return offers
}

func newOffer(t *Type) offer {
	o := offer{Capacity: Capacity{Type: t.ID, Name: t.Name, Max: t.Description.MaxInstances}, spelling: t.ID, size: t.Description.Framebuffer}
	o.number, _ = TypeNumber(t.ID)
	if named, ok := board.Parse(t.Name); ok {
		o.named = named
	}
	return o
}

func (o *offer) is(id string) bool {
	if o.spelling == id || o.Type == id {
		return true
	}
	if o.number == "" {
		return false
	}
	n, ok := TypeNumber(id)
	return ok && n == o.number
}

// usage is what the devices on a GPU take of it.
type usage struct {
	memory   uint64
	sameSize map[uint64]int
	sameType map[string]int // by the spelling of the offer
	slices   int            // of GPU instances that are taken whole
	unknown  int            // devices whose type is not known
}

func usageOf(g *GPU, offers []offer) usage {
	u := usage{sameSize: map[uint64]int{}, sameType: map[string]int{}}
	for i := range g.Parents {
		for _, dev := range g.Parents[i].Devices {
			if dev.Type == "" {
				u.unknown++
				continue
			}
			size, spelling := uint64(0), dev.Type
			if at := slices.IndexFunc(offers, func(o offer) bool { return o.is(dev.Type) }); at >= 0 {
				size, spelling = offers[at].size, offers[at].spelling
			} else if dev.TypeName != "" {
				size = boardDescription(dev.TypeName).Framebuffer
			}
			if t, ok := board.Parse(dev.TypeName); ok && !t.SharesInstance() {
				u.slices += t.Slices
			}
			u.memory += size
			u.sameSize[size]++
			u.sameType[spelling]++
		}
	}
	return u
}

// taken is how many of a type's instances at most are taken.
func (u *usage) taken(o *offer) int {
	if o.size > 0 && o.named.Slices == 0 {
		return u.sameSize[o.size]
	}
	return u.sameType[o.spelling]
}

// places are a GPU's instances with what they run.
type places struct {
	board   board.Board
	shapes  []board.Shape
	fills   []board.Fill
	unnamed int // vGPUs of which neither type nor place is known
}

// newPlaces are the instances of a GPU that are known; nil: none are known. A vGPU of which
// the driver does not say where it is counts where it would be made.
func newPlaces(g *GPU, on board.Board) *places {
	if g.MIG == nil || !g.MIG.Enabled {
		return nil
	}
	p := &places{board: on, fills: make([]board.Fill, len(g.MIG.Instances))}
	for _, i := range g.MIG.Instances {
		p.shapes = append(p.shapes, i.shape())
	}
	var elsewhere []nvidia.Type
	for i := range g.Parents {
		for j := range g.Parents[i].Devices {
			dev := &g.Parents[i].Devices[j]
			t, named := board.Parse(dev.TypeName)
			at := g.MIG.instanceOf(dev)
			switch {
			case at >= 0 && t.Slices > 0:
				p.fills[at] = p.fills[at].Add(t)
			case at >= 0:
				p.fills[at].Closed = true
			case t.Slices > 0:
				elsewhere = append(elsewhere, t)
			case !named:
				p.unnamed++
			}
		}
	}
	for _, t := range elsewhere {
		if at := p.next(t); at >= 0 {
			p.fills[at] = p.fills[at].Add(t)
		}
	}
	return p
}

// instanceOf is the index of the instance that a device is in; -1: it is not known.
func (m *MIG) instanceOf(dev *Device) int {
	if dev.GPUInstance == nil {
		return -1
	}
	return slices.IndexFunc(m.Instances, func(i GPUInstance) bool { return i.ID == *dev.GPUInstance })
}

// left is how many more vGPUs of a type an instance takes.
func (p *places) left(i int, t nvidia.Type) int {
	return p.fills[i].Left(p.board.Holds(p.shapes[i], t), t)
}

// room is how many more vGPUs of a type all instances take.
func (p *places) room(t nvidia.Type) int {
	n := 0
	for i := range p.fills {
		n += p.left(i, t)
	}
	return n
}

// next is the instance to which the next vGPU of a type goes, the first with room; -1: none.
func (p *places) next(t nvidia.Type) int {
	for i := range p.fills {
		if p.left(i, t) > 0 {
			return i
		}
	}
	return -1
}
