package placement

import (
	"slices"

	"github.com/vgpukit/vgpukit/internal/board"
	"github.com/vgpukit/vgpukit/internal/nvidia"
	"github.com/vgpukit/vgpukit/mdev"
)

// instances are the GPU instances of a GPU in MIG mode, as far as they are known.
type instances struct {
	board  board.Board
	shapes []board.Shape
	names  string // "2 of 1g.24gb"
}

// newInstances are those of a GPU; nil: it is not in MIG mode, or that is not known.
func newInstances(g *mdev.GPU) *instances {
	if g.MIG == nil || !g.MIG.Enabled {
		return nil
	}
	var names []string
	for i := range g.Parents {
		for _, t := range g.Parents[i].Types {
			names = append(names, t.Name)
		}
		for _, dev := range g.Parents[i].Devices {
			names = append(names, dev.TypeName)
		}
	}
	device, memory := "", uint64(0)
	if g.PCI != nil {
		device = g.PCI.Device
	}
	if g.Facts != nil {
		memory = g.Facts.Memory
	}
	in := &instances{board: board.Find(names, device, memory), names: g.MIG.Profiles()}
	for _, i := range g.MIG.Instances {
		in.shapes = append(in.shapes, board.ShapeOf(i.Profile, i.Slices, i.Memory))
	}
	return in
}

// holds is what each instance takes of each slot's type when it is empty.
func (in *instances) holds(named []nvidia.Type) [][]int32 {
	all := make([][]int32, len(in.shapes))
	for i, shape := range in.shapes {
		all[i] = make([]int32, len(named))
		for n := range named {
			all[i][n] = int32(in.board.Holds(shape, named[n]))
		}
	}
	return all
}

// fills are what the instances run. A vGPU of which the driver does not say where it is counts
// where it would be made.
func (in *instances) fills(g *mdev.GPU) []board.Fill {
	if in == nil {
		return nil
	}
	fills := make([]board.Fill, len(in.shapes))
	var elsewhere []nvidia.Type
	for i := range g.Parents {
		for _, dev := range g.Parents[i].Devices {
			t, _ := board.Parse(dev.TypeName)
			at := -1
			if dev.GPUInstance != nil {
				at = slices.IndexFunc(g.MIG.Instances, func(i mdev.GPUInstance) bool { return i.ID == *dev.GPUInstance })
			}
			switch {
			case at >= 0 && t.Slices > 0:
				fills[at] = fills[at].Add(t)
			case at >= 0:
				fills[at].Closed = true
			case t.Slices > 0:
				elsewhere = append(elsewhere, t)
			}
		}
	}
	for _, t := range elsewhere {
		for at := range fills {
			if fills[at].Left(in.board.Holds(in.shapes[at], t), t) > 0 {
				fills[at] = fills[at].Add(t)
				break
			}
		}
	}
	return fills
}

// fitting counts the instances that take a type when they are empty.
func (in *instances) fitting(t nvidia.Type) int {
	n := 0
	for _, shape := range in.shapes {
		if in.board.Holds(shape, t) > 0 {
			n++
		}
	}
	return n
}

// fill puts a vGPU of the slot's type into the first GPU instance that has room for it, as the
// driver does, and bounds the room for all types by what is left.
func (s *state) fill(n int) {
	slots, holds, named := s.model.slots, s.model.holds, s.model.named
	s.fills = slices.Clone(s.fills)
	for i := range s.fills {
		if s.fills[i].Left(int(holds[i][n]), named[n]) > 0 {
			s.fills[i] = s.fills[i].Add(named[n])
			break
		}
	}
	for u := range slots {
		if slots[u].share != shareInstance {
			continue
		}
		left := 0
		for i := range s.fills {
			left += s.fills[i].Left(int(holds[i][u]), named[u])
		}
		if slots[u].group == slots[n].group {
			s.room[u]--
		}
		s.room[u] = max(0, min(s.room[u], clamp(left)))
	}
	s.setTop()
}
