// Package board knows NVIDIA's boards: how much memory they have, into how many slices MIG
// mode cuts them, and how vGPUs fit into their GPU instances.
package board

import (
	"strings"

	"github.com/vgpukit/vgpukit/internal/nvidia"
)

// Board is what is known of one physical GPU. A zero field is not known.
type Board struct {
	GiB    int // framebuffer
	Slices int // compute slices in MIG mode; 0: the board has none, or it is not known
}

const (
	mostVGPUs = 32 // that share the time of one GPU
	mostVFs   = 48 // that any of these boards has
)

// boards are known by the name before the dash in their types' names, without the brand and
// blanks. From NVIDIA's vGPU user guide, "Virtual GPU Types for Supported GPUs".
var boards = map[string]Board{
	"A2": {GiB: 16}, "A10": {GiB: 24}, "A10M": {GiB: 20}, "A16": {GiB: 16}, "A40": {GiB: 48},
	"A30":  {GiB: 24, Slices: 4},
	"A100": {GiB: 40, Slices: 7}, "A100X": {GiB: 40, Slices: 7}, "A100D": {GiB: 80, Slices: 7}, "A100DX": {GiB: 80, Slices: 7},
	"A800D": {GiB: 80, Slices: 7}, "A800DX": {GiB: 80, Slices: 7},
	"H20": {GiB: 96, Slices: 7}, "H100": {GiB: 80, Slices: 7}, "H100XM": {GiB: 80, Slices: 7}, "H100XL": {GiB: 94, Slices: 7},
	"H100L": {GiB: 94, Slices: 7}, "H200": {GiB: 141, Slices: 7}, "H200X": {GiB: 141, Slices: 7}, "H800": {GiB: 80, Slices: 7},
	"L2": {GiB: 24}, "L4": {GiB: 24}, "L20": {GiB: 48}, "L40": {GiB: 48}, "L40G": {GiB: 24}, "L40S": {GiB: 48},
	"RTXA5000": {GiB: 24}, "RTXA5500": {GiB: 24}, "RTXA6000": {GiB: 48},
	"RTX5000-Ada": {GiB: 32}, "RTX6000-Ada": {GiB: 48}, "RTX5880-Ada": {GiB: 48},
	"RTXPro6000BlackwellDC": pro6000, "RTXPro4500BlackwellDC": {GiB: 32, Slices: 2},
}

var pro6000 = Board{GiB: 96, Slices: 4}

// exceptions are types of which a board takes fewer than its memory has room for, by their
// size in GiB.
var exceptions = map[string]map[int]int{"H200X": {8: 16}}

// bare is what the types of a board are named by whose driver leaves the board out: "DC-1-24Q".
const bare = "DC"

// byDevice are boards that are known by their PCI device too, since a driver may leave the
// board out of its types' names.
var byDevice = map[string]Board{"2bb5": pro6000}

// Parse reads the name of a type of one of NVIDIA's boards: it has the brand before the
// board, or is one of those without a board.
func Parse(name string) (nvidia.Type, bool) {
	t, ok := nvidia.Parse(name)
	if brand, board, _ := strings.Cut(t.Board, " "); !ok || t.Board != bare && (brand == "" || board == "") {
		return nvidia.Type{}, false
	}
	return t, true
}

// Of is the board that a type is of, in a GPU of a PCI device ("2bb5") if that is known.
func Of(t nvidia.Type, device string) Board {
	b, ok := boards[strings.ReplaceAll(t.Model(), " ", "")]
	if !ok && t.Model() == bare {
		b = byDevice[device]
	}
	return b
}

// OfDevice is the board with a PCI device, if that alone tells it.
func OfDevice(device string) Board { return byDevice[device] }

// Sized is the board with a memory in GiB where none is known.
func (b Board) Sized(gib int) Board {
	if b.GiB == 0 {
		b.GiB = gib
	}
	return b
}

// Find is the board of a GPU by the names of its types and its PCI device, as far as they
// tell, and else by the memory in bytes that its driver has: 0 if that is not known.
func Find(names []string, device string, memory uint64) Board {
	for _, name := range names {
		if t, ok := Parse(name); ok {
			if b := Of(t, device); b.GiB > 0 {
				return b
			}
		}
	}
	return OfDevice(device).Sized(nominal(memory))
}

// Max is how many of a type the empty board holds; 0: not known.
func (b Board) Max(t nvidia.Type) int {
	if b.GiB == 0 {
		return 0
	}
	fit := int(uint64(b.GiB) << 30 / t.Framebuffer())
	switch {
	case t.Slices == 0:
		fit = min(fit, mostVGPUs)
		if most, ok := exceptions[t.Model()][t.GiB]; ok {
			fit = most
		}
	case !t.SharesInstance():
		if fit = min(b.MostSlices()/t.Slices, b.parts()/b.partsOf(t)); strings.HasPrefix(t.Variant, "ME") {
			fit = min(fit, 1) // one instance has the media engines
		}
	case b.Slices > 0:
		fit = b.Slices / t.Slices * int(uint64(b.instance(t.Slices))<<30/t.Framebuffer())
	}
	return min(fit, mostVFs)
}

// parts is into how many parts MIG divides the memory: one more than the slices of a GPU of
// seven.
func (b Board) parts() int {
	if b.MostSlices() == 7 {
		return 8
	}
	return b.Slices
}

// partsOf is how many of them a type's instance has, whose name rounds its size.
func (b Board) partsOf(t nvidia.Type) int { return max(1, (2*t.GiB*b.parts()+b.GiB)/(2*b.GiB)) }

// MostSlices is how many slices the board has at most.
func (b Board) MostSlices() int {
	if b.Slices > 0 {
		return b.Slices
	}
	return 7
}

// instance is the memory of a GPU instance of so many slices, in GiB, on boards that share
// their memory out evenly; 0: not known.
func (b Board) instance(slices int) int {
	if b.Slices == 0 || slices > b.Slices {
		return 0
	}
	return b.GiB / b.Slices * slices
}
