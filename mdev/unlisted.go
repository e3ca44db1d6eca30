package mdev

import (
	"maps"
	"slices"

	"github.com/vgpukit/vgpukit/internal/board"
)

// MayOffer tells whether the host offers a type, by id or name, or may do so
// once a GPU has room for it. A virtual function of the vendor-specific VFIO
// framework lists only what fits at the moment: beside a running vGPU, or in
// another MIG mode, a type that has no room cannot be told from one that does
// not exist.
func (inv *Inventory) MayOffer(typ string) bool {
	return lists(inv.GPUs, typ) || len(unlisted(inv.GPUs, typ)) > 0
}

func lists(gpus []GPU, typ string) bool {
	for i := range gpus {
		for j := range gpus[i].Parents {
			if _, ok := gpus[i].Parents[j].typeNamed(typ); ok {
				return true
			}
		}
	}
	return false
}

// unlisted returns the GPUs that may offer a type although none lists it: those
// whose list is not whole, when the type has the name that their board would
// give it, or is given by its id.
func unlisted(gpus []GPU, typ string) []*GPU {
	p, named := board.Parse(typ)
	if b := board.Of(p, ""); named && b.GiB > 0 && p.GiB > b.GiB {
		return nil
	}
	if _, isID := parseCount(vendorTypeID(typ)); !named && !isID {
		return nil
	}
	whole := map[string]bool{} // boards of which a GPU lists all types
	for i := range gpus {
		if gpus[i].listsAll(p.Slices > 0) {
			for _, board := range gpus[i].boards() {
				whole[board] = true
			}
		}
	}
	var found []*GPU
	for i := range gpus {
		g := &gpus[i]
		boards := g.boards()
		switch {
		case !g.vendorVFIO() || g.listsAll(p.Slices > 0):
			// what it does not list, it does not have
		case slices.ContainsFunc(boards, func(board string) bool { return whole[board] }):
			// nor has one like it, which lists all
		case named && len(boards) > 0 && !slices.Contains(boards, p.Board):
			// the name is another board's
		case named && whole[p.Board]:
			// that board lists all, on another GPU
		default:
			found = append(found, g)
		}
	}
	return found
}

func (g *GPU) vendorVFIO() bool {
	return len(g.Parents) > 0 && g.Parents[0].Framework == FrameworkVendorVFIO
}

// migMode tells whether the GPU is in MIG mode: by the types that it runs or has room for,
// where NVIDIA's driver does not say.
func (g *GPU) migMode() (on, known bool) {
	if g.MIG != nil {
		return g.MIG.Enabled, true
	}
	for i := range g.Parents {
		var names []string
		for _, t := range g.Parents[i].Types {
			if t.Available > 0 {
				names = append(names, t.Name)
			}
		}
		for _, dev := range g.Parents[i].Devices {
			names = append(names, dev.TypeName)
		}
		for _, name := range names {
			if t, ok := board.Parse(name); ok {
				return t.Slices > 0, true
			}
		}
	}
	return false, false
}

func (g *GPU) inMIGMode() bool {
	on, _ := g.migMode()
	return on
}

// listsAll tells whether the GPU's lists have all its types, the MIG-backed ones
// if those are meant: so they do while it runs nothing.
func (g *GPU) listsAll(migBacked bool) bool {
	runs := slices.ContainsFunc(g.Parents, func(p Parent) bool { return len(p.Devices) > 0 || len(p.Problems) > 0 })
	return g.vendorVFIO() && !runs && !migBacked && !g.inMIGMode() && len(g.typeNames()) > 0
}

// typeNames are the names of all types that the GPU lists or runs, as far as
// they are known.
func (g *GPU) typeNames() []string {
	names := map[string]bool{}
	for i := range g.Parents {
		for j := range g.Parents[i].Types {
			names[g.Parents[i].Types[j].Name] = true
		}
		for j := range g.Parents[i].Devices {
			names[g.Parents[i].Devices[j].TypeName] = true
		}
	}
	return slices.Sorted(maps.Keys(names))
}

// boards are what the names of the GPU's types begin with: "NVIDIA L40S".
func (g *GPU) boards() []string {
	var boards []string
	for _, name := range g.typeNames() {
		if p, ok := board.Parse(name); ok && !slices.Contains(boards, p.Board) {
			boards = append(boards, p.Board)
		}
	}
	return boards
}

// explainUnlisted says of a type that no virtual function lists why that may be.
func (s *scan) explainUnlisted(e *Error, gpus []*GPU, typ string, known bool) {
	e.Kind = ErrNoCapacity
	e.Meaning = "no virtual function lists such a type at the moment"
	beside := "it has no room beside that, or there is no such type"
	if known {
		e.Meaning = "it cannot be made at the moment"
		beside = "the GPU is full or runs vGPUs of another framebuffer size"
	}
	e.Cause, e.Next = s.lackOf(gpus, typ)
	switch {
	case e.Cause == "":
		e.Cause = "the virtual functions list no types at all: their driver is not ready, or the GPU is in a mode without"
		e.Next = nextNotReady
	case slices.ContainsFunc(gpus, func(g *GPU) bool { return !g.inMIGMode() && runningOn(g.Parents) != "" }):
		e.Cause += ": " + beside
	}
	if !known {
		e.Next += "; see NVIDIA's list of the board's types for the name"
	}
}
