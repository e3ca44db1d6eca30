package mdev

import (
	"strconv"
	"strings"
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

// profile is what the name of an NVIDIA type says: "NVIDIA L40S-12Q" has
// 12 GiB of an L40S, "GRID A100-4-20C" 20 GiB of a GPU instance with 4 slices.
type profile struct {
	brand, board string // "NVIDIA", "L40S"
	slices       int    // of a MIG-backed type; else 0
	gib          int
}

// parseProfile reads a type's name; false when it is not NVIDIA's way of naming.
func parseProfile(name string) (profile, bool) {
	brand, rest, _ := strings.Cut(name, " ")
	cut := strings.LastIndexByte(rest, '-')
	if brand == "" || cut <= 0 {
		return profile{}, false
	}
	p := profile{brand: brand, board: rest[:cut]}
	size := rest[cut+1:]
	n := digits(size)
	gib, err := strconv.ParseUint(size[:n], 10, 16)
	if err != nil || gib == 0 || !isSeries(size[n:]) {
		return profile{}, false
	}
	p.gib = int(gib)
	if cut = strings.LastIndexByte(p.board, '-'); cut > 0 {
		if slices, ok := parseCount(p.board[cut+1:]); ok {
			p.board, p.slices = p.board[:cut], slices
		}
	}
	return p, true
}

// isSeries tells whether text is one of NVIDIA's series of types, with what may
// follow it: "Q", "B4", "CME".
func isSeries(text string) bool {
	if text == "" || !strings.Contains("ABCQ", text[:1]) {
		return false
	}
	return strings.IndexFunc(text, func(r rune) bool { return (r < 'A' || r > 'Z') && (r < '0' || r > '9') }) < 0
}

// memory is the board's framebuffer in GiB; 0: not known.
func (p *profile) memory() int { return boardMemory[strings.ReplaceAll(p.board, " ", "")] }

// max is how many of a type a board with so much memory holds; 0: not known.
func (p *profile) max(memory int) int {
	if p.slices > 0 { // that depends on the GPU instances
		return 0
	}
	return min(memory/p.gib, maxVGPUs)
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
		if !ok || p.slices > 0 || p.memory() > 0 {
			continue
		}
		if known, _ := s.host.boards.Load(p.board); g.listsAll(false) && (known == nil || known.(int) < p.gib) {
			s.host.boards.Store(p.board, p.gib)
		}
	}
	for i := range g.Parents {
		for j := range g.Parents[i].Types {
			t := &g.Parents[i].Types[j]
			p, ok := parseProfile(t.Name)
			if memory, known := s.host.boards.Load(p.board); ok && known && t.Description.MaxInstances == 0 {
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
	return Description{Framebuffer: uint64(p.gib) << 30, MaxInstances: p.max(p.memory())}
}
