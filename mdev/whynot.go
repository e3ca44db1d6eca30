package mdev

import (
	"fmt"

	"github.com/vgpukit/vgpukit/internal/board"
	"github.com/vgpukit/vgpukit/internal/nvidia"
)

const (
	nextRoom     = "remove a vGPU, or choose a type whose capacity in the inventory is not 0"
	nextAnother  = "choose a type whose capacity in the inventory is not 0"
	nextNotReady = "see the kernel log (dmesg), and whether NVIDIA's vGPU manager runs (systemctl status nvidia-vgpu-mgr)"
)

// whyNot says why a GPU has no room for a type at the moment, by what is known, and what to do
// about it. The type is given by its name, where that is known.
func (s *scan) whyNot(g *GPU, typ string) (cause, next string) {
	t, _ := board.Parse(typ)
	running := runningOn(g.Parents)
	on := s.board(g)
	mig, modeKnown := g.migMode()
	known, told := g.diagnosis()
	switch {
	case told && known.Code != ProblemNoInstance && len(g.Parents) == 0:
		return known.Text, known.Next
	case mig && g.MIG != nil && len(g.MIG.Instances) == 0:
		next = "make one (" + on.HowToMake(g.Name, t) + "), or disable MIG mode (nvidia-smi -i " + g.Name + " -mig 0)"
		if t.Slices == 0 {
			next = "disable MIG mode (nvidia-smi -i " + g.Name + " -mig 0), or make GPU instances and choose a MIG-backed type"
		}
		return "is in MIG mode without GPU instances", next
	case mig && t.Board != "" && t.Slices == 0:
		return "is in MIG mode, and this type is not MIG-backed", "choose a MIG-backed type, or disable MIG mode (nvidia-smi -i " + g.Name + " -mig 0)"
	case modeKnown && !mig && t.Slices > 0:
		return "is not in MIG mode, and this type is MIG-backed",
			"enable MIG mode (nvidia-smi -i " + g.Name + " -mig 1), enable the virtual functions anew and make a GPU instance; or choose a type that is not MIG-backed"
	case mig && t.Slices > 0 && g.MIG != nil:
		return g.noInstance(on, t)
	case running != "":
		return "already runs " + running, nextRoom
	case told:
		return known.Text, known.Next
	}
	return "", nextAnother
}

// noInstance says why none of a GPU's instances takes a type.
func (g *GPU) noInstance(on board.Board, t nvidia.Type) (cause, next string) {
	places := newPlaces(g, on)
	fitting, taken := 0, 0
	for i, fill := range places.fills {
		if on.Holds(places.shapes[i], t) > 0 {
			fitting++
			if fill.VGPUs > 0 || fill.Closed {
				taken++
			}
		}
	}
	wanted := fmt.Sprintf("of %d slices", t.Slices)
	if p, ok := on.Wanted(t); ok {
		wanted = p.String()
	}
	makeOne := "make a GPU instance (" + on.HowToMake(g.Name, t) + ")"
	running := runningOn(g.Parents)
	switch {
	case fitting == 0:
		return fmt.Sprintf("has no GPU instance %s; it has %s", wanted, g.MIG.Profiles()), makeOne + ", or choose a type for one that is there"
	case taken == fitting:
		return fmt.Sprintf("has no room in its GPU instances for this type (%s): it runs %s", g.MIG.Profiles(), running), "remove a vGPU, or " + makeOne
	case running != "":
		return "runs " + running + " in its GPU instances (" + g.MIG.Profiles() + ")", "remove a vGPU, or " + makeOne
	}
	return "has GPU instances (" + g.MIG.Profiles() + "), and none takes this type", makeOne + ", or choose another type"
}

// lackOf puts together why GPUs have no room for a type. Equal reasons are told once.
func (s *scan) lackOf(gpus []*GPU, typ string) (cause, next string) {
	var reasons []string
	for _, g := range gpus {
		why, what := s.whyNot(g, typ)
		if next == "" {
			next = what
		}
		if why != "" {
			reasons = append(reasons, "GPU "+g.Name+" "+why)
		}
	}
	return few(reasons), next
}
