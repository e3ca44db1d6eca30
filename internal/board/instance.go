package board

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/vgpukit/vgpukit/internal/nvidia"
)

// Need is the GPU instance that a MIG-backed type runs in.
type Need struct {
	Slices  int
	GiB     int    // of the vGPU
	Variant string // "ME" in "1-5CME"
	// Shared: several vGPUs of one size share an instance. Else each has its whole instance,
	// of its own size.
	Shared bool
}

// NeedOf tells what instance a type needs; its Slices are 0 if the type is not MIG-backed.
func NeedOf(t nvidia.Type) Need {
	return Need{
		Slices: t.Slices, GiB: t.GiB, Variant: t.Variant,
		// Boards before have MIG for compute only, and a whole instance for each vGPU.
		Shared: t.Slices > 0 && (t.Board == bare || strings.HasSuffix(t.Board, " "+bare) || t.Series != "C"),
	}
}

// Shape is what is known of a GPU instance. Zero Slices: only that it exists.
type Shape struct {
	Slices  int
	GiB     int
	Variant string // as types have it: "ME", "NOME", "MEALL", "GFX"
}

// variants are what follows the size in an instance's profile, and in types' names.
var variants = map[string]string{"": "", "+me": "ME", "-me": "NOME", "+me.all": "MEALL", "+gfx": "GFX"}

// ShapeOf is the shape of an instance with a profile such as "1g.24gb+gfx"; if that cannot be
// read, with so many slices and bytes.
func ShapeOf(profile string, slices int, memory uint64) Shape {
	profile = strings.TrimPrefix(strings.TrimSpace(profile), "MIG ")
	if g, rest, ok := strings.Cut(profile, "g."); ok {
		gib, suffix, okSize := strings.Cut(rest, "gb")
		variant, okVariant := variants[suffix]
		n, errSlices := strconv.Atoi(g)
		size, errSize := strconv.Atoi(gib)
		if okSize && okVariant && errSlices == nil && errSize == nil && n > 0 && size > 0 {
			return Shape{Slices: n, GiB: size, Variant: variant}
		}
	}
	if slices <= 0 || memory == 0 {
		return Shape{}
	}
	return Shape{Slices: slices, GiB: int((memory + 1<<30 - 1) >> 30)} // some of the nominal size is the driver's
}

// Known tells whether the instance's size is known.
func (s Shape) Known() bool { return s.Slices > 0 }

// String is the instance's profile; "" if it is not known.
func (s Shape) String() string {
	if !s.Known() {
		return ""
	}
	for suffix, variant := range variants {
		if variant == s.Variant {
			return fmt.Sprintf("%dg.%dgb%s", s.Slices, s.GiB, suffix)
		}
	}
	return fmt.Sprintf("%dg.%dgb", s.Slices, s.GiB)
}

// Holds is how many vGPUs of a kind an empty instance of the board takes. Where the
// instance's size is not known, it is the most that one of the slices that they need takes.
func (b Board) Holds(s Shape, n Need) int {
	switch {
	case n.Slices == 0:
		return 0
	case !s.Known() && !n.Shared:
		return 1
	case !s.Known():
		return b.holdsAtMost(n)
	case s.Slices != n.Slices || n.Variant != "" && n.Variant != s.Variant:
		return 0
	case n.Shared:
		return s.GiB / max(1, n.GiB)
	case s.Variant != n.Variant || s.GiB < n.GiB-1 || s.GiB > n.GiB+1: // names round
		return 0
	}
	return 1
}

// unbounded is how many vGPUs an instance takes of which nothing is known: room for them is
// bounded by other things.
const unbounded = 1 << 16

// holdsAtMost is how many vGPUs of a kind an instance of unknown size takes at most.
func (b Board) holdsAtMost(n Need) int {
	gib := b.instance(n.Slices)
	if gib == 0 {
		gib = b.GiB
	}
	if gib == 0 {
		return unbounded
	}
	return max(1, gib/max(1, n.GiB))
}

// Profile is the profile of the instance that a type needs on the board: "1g.24gb"; "" if
// its size is not known.
func (b Board) Profile(n Need) string {
	if n.Slices == 0 {
		return ""
	}
	s := Shape{Slices: n.Slices, GiB: n.GiB, Variant: n.Variant}
	if n.Shared {
		s.GiB = b.instance(n.Slices)
	}
	if s.GiB == 0 {
		return ""
	}
	return s.String()
}

// Missing is the shell command that makes the instance which a type needs, on the GPU at a
// PCI address.
func (b Board) Missing(gpu string, n Need) string {
	profile := b.Profile(n)
	if profile == "" {
		return "nvidia-smi mig -i " + gpu + " -lgip lists the profiles, -cgi makes one"
	}
	return "nvidia-smi mig -i " + gpu + " -cgi " + profile
}
