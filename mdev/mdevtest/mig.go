package mdevtest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"

	"github.com/vgpukit/vgpukit/internal/nvidia"
)

// instance is a GPU instance: a part of a GPU in MIG mode.
type instance struct {
	id      int
	profile nvidia.Profile
}

// parseInstance reads a profile that the board can have an instance of.
func (m *model) parseInstance(name string) (nvidia.Profile, error) {
	if len(m.series.kinds) == 0 {
		return nvidia.Profile{}, fmt.Errorf("it has no MIG")
	}
	p, ok := nvidia.ParseProfile(name)
	if ok {
		_, ok = m.kind(p)
	}
	if !ok {
		var names []string
		for _, k := range m.series.kinds {
			names = append(names, k.profile.String())
		}
		return p, fmt.Errorf("no vGPU type uses a GPU instance %q; there are %s", name, strings.Join(names, ", "))
	}
	return p, nil
}

// addInstance adds an instance to those of a GPU, where slices, memory and profile leave
// room for it. Its id is the first free one of its size, as NVIDIA counts them.
func (m *model) addInstance(have []instance, p nvidia.Profile) ([]instance, error) {
	used, parts, same := p.Slices, m.parts(p), 1
	for _, i := range have {
		used += i.profile.Slices
		parts += m.parts(i.profile)
		if i.profile == p {
			same++
		}
	}
	kind, _ := m.kind(p)
	switch {
	case used > m.slices():
		return nil, fmt.Errorf("its GPU instances need %d slices of %d", used, m.slices())
	case parts > m.memorySlices():
		return nil, fmt.Errorf("its GPU instances need %d parts of %d of its memory", parts, m.memorySlices())
	case same > kind.most:
		return nil, fmt.Errorf("it has room for %d GPU instances %s, not %d", kind.most, p, same)
	}
	id := m.memorySlices()/m.parts(p) - 1
	for findInstance(have, id) != nil {
		id++
	}
	list := append(slices.Clone(have), instance{id, p})
	slices.SortFunc(list, func(a, b instance) int { return a.id - b.id })
	return list, nil
}

func findInstance(list []instance, id int) *instance {
	if i := slices.IndexFunc(list, func(i instance) bool { return i.id == id }); i >= 0 {
		return &list[i]
	}
	return nil
}

// addInstances adds one of each profile.
func (m *model) addInstances(names []string) (list []instance, err error) {
	for _, name := range names {
		var p nvidia.Profile
		if p, err = m.parseInstance(name); err == nil {
			list, err = m.addInstance(list, p)
		}
		if err != nil {
			return nil, err
		}
	}
	return list, nil
}

// CreateGPUInstance adds a MIG GPU instance, as nvidia-smi does after the VFs
// are enabled: "3g.20gb" on a GPU in MIG mode. It fails when the slices, the memory or
// the instances of that profile that the GPU can have are taken.
func (h *Host) CreateGPUInstance(gpuName, profile string) error {
	return h.onMIG("GPU instance "+profile+" on "+gpuName, gpuName, func(g *gpu) error {
		_, err := g.createInstance(profile)
		return err
	})
}

// DestroyGPUInstance takes a GPU instance away, by its id in [Host.Facts]. It fails while
// a vGPU has it.
func (h *Host) DestroyGPUInstance(gpuName string, id int) error {
	return h.onMIG(fmt.Sprintf("GPU instance %d of %s", id, gpuName), gpuName, func(g *gpu) error {
		return g.destroyInstance(id)
	})
}

// SetMIG turns a GPU's MIG mode on or off, as nvidia-smi -mig does: its GPU instances are
// gone then. It fails while the GPU has vGPUs. VFs stay as they are (chosen).
func (h *Host) SetMIG(gpuName string, on bool) error {
	return h.onMIG("MIG mode of "+gpuName, gpuName, func(g *gpu) error { return g.setMIG(on) })
}

// onMIG does something with a GPU, and names both in its error.
func (h *Host) onMIG(what, gpuName string, do func(*gpu) error) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	err := errors.New("there is no such GPU")
	if g := h.findGPU(gpuName); g != nil {
		err = do(g)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

func (h *Host) findGPU(name string) *gpu {
	if i := slices.IndexFunc(h.gpus, func(g *gpu) bool { return g.name == name }); i >= 0 {
		return h.gpus[i]
	}
	return nil
}

func (g *gpu) setMIG(on bool) error {
	switch {
	case g.model.slices() == 0:
		return errors.New("it has no MIG")
	case len(g.vgpus) > 0:
		return fmt.Errorf("it has %s: %w", g.vgpus[0].id, syscall.EBUSY)
	}
	g.board.MIG = on
	g.setInstances(nil)
	return nil
}

func (g *gpu) createInstance(profile string) (id int, err error) {
	p, err := g.model.parseInstance(profile)
	if err != nil {
		return 0, err
	}
	if !g.board.MIG {
		return 0, errNoMIG
	}
	list, err := g.model.addInstance(g.instances, p)
	if err != nil {
		return 0, err
	}
	for _, i := range list {
		if findInstance(g.instances, i.id) == nil {
			id = i.id
		}
	}
	g.setInstances(list)
	return id, nil
}

func (g *gpu) destroyInstance(id int) error {
	switch users := g.usersOf(id); {
	case !g.board.MIG:
		return errNoMIG
	case findInstance(g.instances, id) == nil:
		return errors.New("there is none")
	case len(users) > 0:
		return fmt.Errorf("%s has it: %w", users[0].id, syscall.EBUSY)
	}
	g.setInstances(slices.DeleteFunc(slices.Clone(g.instances), func(i instance) bool { return i.id == id }))
	return nil
}

var errNoMIG = errors.New("it is not in MIG mode")

// setInstances replaces the GPU instances, also where they are shown.
func (g *gpu) setInstances(list []instance) {
	g.instances = list
	g.showInstances()
}

// usersOf returns the vGPUs that a GPU instance has.
func (g *gpu) usersOf(id int) []*device {
	var users []*device
	for _, d := range g.vgpus {
		if d.instance == id {
			users = append(users, d)
		}
	}
	return users
}

// roomIn is how many more vGPUs of a type an instance holds beside those of other devices
// than d: on boards whose vGPUs share one, all have the same framebuffer size.
func (g *gpu) roomIn(i instance, t *vgpuType, d *device) int {
	room := i.profile.Holds(t.says)
	for _, other := range g.usersOf(i.id) {
		switch {
		case other == d:
		case other.typ.framebuffer != t.framebuffer:
			return 0
		default:
			room--
		}
	}
	return max(0, room)
}

// freeInstance returns the first GPU instance with room for a type.
func (g *gpu) freeInstance(t *vgpuType) int {
	for _, i := range g.instances {
		if g.roomIn(i, t, nil) > 0 {
			return i.id
		}
	}
	return noInstance
}

// moveInstance gives a MIG-backed vGPU another GPU instance, by its id:
// EINVAL is no such instance, EIO is taken or of another profile (chosen).
func (g *gpu) moveInstance(d *device, id int) error {
	i := findInstance(g.instances, id)
	switch {
	case d.instance == noInstance || i == nil:
		return syscall.EINVAL
	case g.roomIn(*i, d.typ, d) == 0:
		return syscall.EIO
	}
	d.instance = id
	return nil
}
