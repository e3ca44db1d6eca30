package mdev

import (
	"strings"

	"github.com/vgpukit/vgpukit/internal/nvidia"
)

// boardMemory is the framebuffer of the boards whose virtual functions have
// NVIDIA's vendor-specific VFIO framework, in GiB, by the name before the
// dash in their types' names: that framework shows names only. From NVIDIA's
// vGPU user guide, "Virtual GPU Types for Supported GPUs".
var boardMemory = map[string]int{
	"A2": 16, "A10": 24, "A16": 16, "A30": 24, "A40": 48, "A100": 40, "A100D": 80, "A800D": 80,
	"L2": 24, "L4": 24, "L20": 48, "L40": 48, "L40G": 24, "L40S": 48,
	"H20": 96, "H100": 80, "H100XL": 94, "H100L": 94, "H200": 141, "H200X": 141, "H800": 80,
	"RTXA5000": 24, "RTXA5500": 24, "RTXA6000": 48,
	"RTX5000-Ada": 32, "RTX6000-Ada": 48, "RTX5880-Ada": 48,
}

// maxVGPUs is the most that NVIDIA makes of one GPU of these generations.
const maxVGPUs = 32

// profile is what the name of an NVIDIA type says.
type profile struct{ nvidia.Type }

// parseProfile reads a type's name; false when it is not NVIDIA's way of naming, which
// has the brand before the board.
func parseProfile(name string) (profile, bool) {
	t, ok := nvidia.Parse(name)
	if brand, board, _ := strings.Cut(t.Board, " "); !ok || brand == "" || board == "" {
		return profile{}, false
	}
	return profile{t}, true
}

// memory is the board's framebuffer in GiB; 0: not known.
func (p *profile) memory() int {
	_, board, _ := strings.Cut(p.Board, " ")
	return boardMemory[strings.ReplaceAll(board, " ", "")]
}

// max is how many of a type a board with so much memory holds; 0: not known.
func (p *profile) max(memory int) int {
	if p.Slices > 0 { // that depends on the GPU instances
		return 0
	}
	return min(int(uint64(memory)<<30/p.Framebuffer()), maxVGPUs)
}

// learnBoard fills in the maxima of a board that boardMemory does not know. Its
// largest type has all of its framebuffer, and is listed while the GPU runs
// nothing; what was seen then holds also later.
func (s *scan) learnBoard(g *GPU) {
	if !g.vendorVFIO() {
		return
	}
	for _, name := range g.typeNames() {
		p, ok := parseProfile(name)
		if !ok || p.Slices > 0 || p.memory() > 0 {
			continue
		}
		if known, _ := s.host.boards.Load(p.Board); g.listsAll(false) && (known == nil || known.(int) < p.GiB) {
			s.host.boards.Store(p.Board, p.GiB)
		}
	}
	for i := range g.Parents {
		for j := range g.Parents[i].Types {
			t := &g.Parents[i].Types[j]
			p, ok := parseProfile(t.Name)
			if memory, known := s.host.boards.Load(p.Board); ok && known && t.Description.MaxInstances == 0 {
				t.Description.MaxInstances = p.max(memory.(int))
			}
		}
	}
}

// boardDescription reads a type's framebuffer out of its name. Of a MIG-backed
// type, and of a board that boardMemory does not know, it says no maximum.
func boardDescription(name string) Description {
	p, ok := parseProfile(name)
	if !ok {
		return Description{}
	}
	return Description{Framebuffer: uint64(p.GiB) << 30, MaxInstances: p.max(p.memory())}
}
