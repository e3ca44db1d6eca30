package mdev

import (
	"github.com/vgpukit/vgpukit/internal/board"
)

// board is what is known of the GPU's board: by the names of its types, by its PCI device, by
// what a [Source] says of its memory, or by the largest type that it was seen to list.
func (s *scan) board(g *GPU) board.Board {
	var memory uint64
	if g.Facts != nil {
		memory = g.Facts.Memory
	}
	names := g.typeNames()
	known := board.Find(names, g.PCI.device(), memory)
	for _, name := range names {
		if t, ok := board.Parse(name); ok && known.GiB == 0 {
			if learnt, ok := s.host.boards.Load(t.Board); ok {
				known = known.Sized(learnt.(int))
			}
		}
	}
	return known
}

// learnBoard remembers how large a board is that no table has. Its largest type has all of
// its framebuffer, and is listed while the GPU runs nothing; what was seen then holds also
// later.
func (s *scan) learnBoard(g *GPU) {
	if !g.vendorVFIO() || !g.listsAll(false) {
		return
	}
	for _, name := range g.typeNames() {
		t, ok := board.Parse(name)
		if !ok || t.Slices > 0 || board.Of(t, g.PCI.device()).GiB > 0 {
			continue
		}
		if known, _ := s.host.boards.Load(t.Board); known == nil || known.(int) < t.GiB {
			s.host.boards.Store(t.Board, t.GiB)
		}
	}
}

// fillMaxima says how many of a type fit where the driver lists names only.
func (s *scan) fillMaxima(g *GPU) {
	if !g.vendorVFIO() {
		return
	}
	on := s.board(g)
	most := map[string]int{}
	for i := range g.Parents {
		for j := range g.Parents[i].Types {
			t := &g.Parents[i].Types[j]
			n, known := most[t.Name]
			if !known {
				if named, ok := board.Parse(t.Name); ok {
					n = on.Max(named)
				}
				most[t.Name] = n
			}
			t.Description.MaxInstances = n
		}
	}
}

// boardDescription reads a type's framebuffer out of its name.
func boardDescription(name string) Description {
	t, ok := board.Parse(name)
	if !ok {
		return Description{}
	}
	return Description{Framebuffer: t.Framebuffer(), MaxInstances: board.Of(t, "").Max(t)}
}
