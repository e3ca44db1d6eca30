package board

import (
	"strings"

	"github.com/vgpukit/vgpukit/internal/nvidia"
)

// Shape is what is known of a GPU instance. Without slices it is only that it exists.
type Shape struct {
	nvidia.Profile
	rough bool // it has no profile by name: the size is from bytes, the attribute not known
}

// ShapeOf is the shape of an instance with a profile such as "1g.24gb+gfx"; if that cannot be
// read, with so many slices and bytes.
func ShapeOf(profile string, slices int, memory uint64) Shape {
	if p, ok := nvidia.ParseProfile(strings.TrimPrefix(strings.TrimSpace(profile), "MIG ")); ok {
		return Shape{Profile: p}
	}
	if slices <= 0 || memory == 0 {
		return Shape{}
	}
	return Shape{Profile: nvidia.Profile{Slices: slices, GiB: nominal(memory)}, rough: true}
}

// nominal is the size in GiB by which NVIDIA calls so many bytes, of which the driver has kept
// about a 64th.
func nominal(memory uint64) int {
	const gib = 1 << 30
	return int((memory + memory/63 + gib/2) / gib)
}

// Known tells whether the instance's size is known.
func (s Shape) Known() bool { return s.Slices > 0 }

// unbounded is how many vGPUs an instance takes of which nothing is known: room for them is
// bounded by other things.
const unbounded = 1 << 16

// Holds is how many vGPUs of a type an empty instance of the board takes. Where the
// instance's size is not known, it is the most that one of the slices that they need takes.
func (b Board) Holds(s Shape, t nvidia.Type) int {
	switch {
	case t.Slices == 0:
		return 0
	case s.Known() && !s.rough:
		return s.Profile.Holds(t)
	case s.Known() && s.Slices != t.Slices:
		return 0
	case !t.SharesInstance():
		if s.Known() && (s.GiB < t.GiB-1 || s.GiB > t.GiB+1) {
			return 0
		}
		return 1
	}
	gib := s.GiB
	if !s.Known() {
		gib = b.instance(t.Slices)
	}
	if gib == 0 {
		gib = b.GiB
	}
	if gib == 0 {
		return unbounded
	}
	return int(uint64(gib) << 30 / t.Framebuffer())
}

// Wanted is the profile of the instance that a type needs on the board; false if it needs
// none, or its size is not known.
func (b Board) Wanted(t nvidia.Type) (nvidia.Profile, bool) {
	if !t.SharesInstance() {
		return t.Profile()
	}
	gib := b.instance(t.Slices)
	for _, attribute := range []string{"", "+gfx", "+me", "+me.all", "-me"} {
		p := nvidia.Profile{Slices: t.Slices, GiB: gib, Attribute: attribute}
		if gib > 0 && p.Holds(t) > 0 {
			return p, true
		}
	}
	return nvidia.Profile{}, false
}

// HowToMake is the shell command that makes the instance which a type needs, on the GPU at a
// PCI address.
func (b Board) HowToMake(gpu string, t nvidia.Type) string {
	if p, ok := b.Wanted(t); ok {
		return "nvidia-smi mig -i " + gpu + " -cgi " + p.String()
	}
	return "nvidia-smi mig -i " + gpu + " -cgi, with a profile of those that -lgip lists"
}

// Fill is what a GPU instance runs: vGPUs of one size.
type Fill struct {
	Size   uint64 // of each vGPU
	VGPUs  int32
	Closed bool // by a vGPU whose type is not known
}

// Add is the fill with one more vGPU of a type.
func (f Fill) Add(t nvidia.Type) Fill { return Fill{t.Framebuffer(), f.VGPUs + 1, f.Closed} }

// Left is how many more vGPUs of a type an instance takes that takes so many when it is empty.
func (f Fill) Left(holds int, t nvidia.Type) int {
	if f.Closed || f.VGPUs > 0 && (f.Size != t.Framebuffer() || !t.SharesInstance()) {
		return 0
	}
	return max(0, holds-int(f.VGPUs))
}
