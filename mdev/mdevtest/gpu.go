package mdevtest

import (
	"syscall"
)

// gpu is what shares one capacity: a physical GPU, or a virtual parent.
type gpu struct {
	h         *Host
	name      string
	board     Board
	model     *model
	pf        *function // nil: not a PCI device
	virtual   *node     // then: its directory
	parents   []*parent
	vgpus     []*device  // in the order in which they were made
	instances []instance // GPU instances, by id
	mixed     bool
	minor     int // of NVIDIA's device node
}

// room returns how many more of a type the GPU can still hold.
func (g *gpu) room(t *vgpuType) int {
	switch g.model.rule {
	case ruleCount:
		return g.model.pool["instances"] - len(g.vgpus)
	case ruleShared:
		room := -1
		for resource, need := range t.needs {
			free := g.model.pool[resource]
			for _, d := range g.vgpus {
				free -= d.typ.needs[resource]
			}
			if n := free / need; room < 0 || n < room {
				room = n
			}
		}
		return room
	}
	switch {
	case g.board.MIG != t.migBacked():
		return 0
	case g.board.MIG:
		room := 0
		for _, i := range g.instances {
			room += g.roomIn(i, t, nil)
		}
		return room
	case g.mixed:
		return len(g.freePlacements(t))
	case len(g.vgpus) > 0 && !g.agrees(t, g.vgpus[0].typ):
		return 0
	}
	return max(0, t.max-len(g.vgpus))
}

// agrees tells whether two types can be on a GPU in equal-size mode.
func (g *gpu) agrees(t, first *vgpuType) bool {
	if g.board.OldDriver {
		return t == first
	}
	return t.framebuffer == first.framebuffer
}

// admit takes the room for a new vGPU.
func (g *gpu) admit(d *device) error {
	if g.room(d.typ) <= 0 {
		return g.full()
	}
	if g.model.nvidia() {
		d.placement, d.instance = noPlacement, noInstance
		if g.board.MIG {
			d.instance = g.freeInstance(d.typ)
		} else if g.mixed {
			d.placement = g.freePlacements(d.typ)[0]
		}
	}
	g.vgpus = append(g.vgpus, d)
	return nil
}

func (g *gpu) full() error {
	switch {
	case g.model.rule == ruleNVIDIA:
		return syscall.EIO
	case g.model.rule == ruleShared:
		return syscall.ENOSPC
	case !g.h.before(6, 1):
		return syscall.EUSERS
	case g.model.api == "vfio-pci":
		return syscall.ENOMEM
	}
	return syscall.EPERM
}

func (g *gpu) dismiss(d *device) {
	for i, other := range g.vgpus {
		if other == d {
			g.vgpus = append(g.vgpus[:i:i], g.vgpus[i+1:]...)
			return
		}
	}
}

// userOf returns a device of the GPU that a VM has open.
func (g *gpu) userOf() *device {
	for _, d := range g.vgpus {
		if d.vfio.holder != nil {
			return d
		}
	}
	return nil
}
