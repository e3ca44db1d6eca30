package vgpu

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/google/uuid"

	"github.com/vgpukit/vgpukit/domain"
	"github.com/vgpukit/vgpukit/internal/statedir"
	"github.com/vgpukit/vgpukit/mdev"
	"github.com/vgpukit/vgpukit/vgpu/placement"
)

// view is one VM as all places know it: what operations decide upon.
type view struct {
	id      uuid.UUID
	name    string // libvirt's, else the grant's
	info    domain.Info
	defined bool
	doc     *domain.Document // nil unless defined
	grant   *grant           // nil: nothing was granted to it
	task    *task            // nil: nothing unfinished
	copy    domain.Metadata  // what the document says of vGPUs
	carries bool             // it says something
	misread error            // what of that could not be read

	devices []device // what the VM was granted, or is about to be
	life    Lifetime

	found   map[string]mdev.Device // devices that exist and are the VM's
	unowned map[string]mdev.Device // that exist, agree with the grant and are nobody's
	stale   map[string]bool        // owner files of the VM whose device does not exist
	foreign map[string]string      // ids that exist, but not as the VM's, with what they are
	// elsewhere is the libvirt that has the VM, if that is not this one.
	elsewhere string
	// outdated is why the grant must not be acted upon: it came from a backup.
	outdated *Error
	// original is the name of the VM that the copy was written for, if that was granted it.
	original string
}

// load observes one VM: domain, grant, task and devices. The VM's lock is held, so that
// damaged entries can be set aside.
func (m *Manager) load(ctx context.Context, id uuid.UUID) (*view, error) {
	v, damaged, err := m.peek(ctx, id)
	for _, d := range damaged {
		to, err := m.store.dir.SetAside(d)
		if statedir.Unwritable(err) { // it counts as absent all the same
			m.log.Warn("damaged entry cannot be set aside", "vm", id, "file", d.Path, "err", err)
			continue
		}
		if err != nil {
			return nil, err
		}
		m.log.Warn("damaged entry set aside", "vm", id, "file", to, "err", d.Err)
	}
	return v, err
}

// peek is load without the VM's lock. Damaged entries count as not there and are left
// to the process that has it.
func (m *Manager) peek(ctx context.Context, id uuid.UUID) (v *view, damaged []*statedir.Damaged, err error) {
	v = &view{id: id}
	if v.grant, err = readEntry(m.store.grants, id, &damaged); err != nil {
		return nil, damaged, err
	}
	if v.task, err = readEntry(m.store.tasks, id, &damaged); err != nil {
		return nil, damaged, err
	}
	err = v.loadDomain(ctx, m.hyper)
	if errors.Is(err, domain.ErrNotFound) {
		err = nil
	}
	if err != nil {
		return nil, damaged, err
	}
	if err := m.heldBack(v.name, id.String()); err != nil {
		return nil, damaged, err
	}
	v.classify(m)
	v.outdated = m.checkNumber(v)
	if v.grant == nil && v.carries && v.copy.VM != v.id {
		if g, ok, err := m.store.grants.Read(v.copy.VM.String()); err == nil && ok {
			v.original = g.Name
		}
	}
	return v, damaged, m.locate(v, func(id string) (mdev.Device, error) { return m.host.Find(ctx, id) },
		func(id string) (mdev.Device, error) { return m.host.Device(ctx, id) }, m.ownerOf)
}

// readEntry reads an entry of a VM, nil if there is none or it is damaged.
func readEntry[T any](entries statedir.Entries[T], id uuid.UUID, damaged *[]*statedir.Damaged) (*T, error) {
	content, ok, err := entries.Read(id.String())
	var harm *statedir.Damaged
	if errors.As(err, &harm) {
		*damaged = append(*damaged, harm)
		return nil, nil
	}
	if err != nil || !ok {
		return nil, err
	}
	return &content, nil
}

// loadDomain takes the domain and its document into the view.
func (v *view) loadDomain(ctx context.Context, hyper Hypervisor) error {
	def, err := hyper.Definition(ctx, v.id.String())
	if err != nil {
		return err
	}
	return v.take(def)
}

func (v *view) take(def domain.Definition) (err error) {
	if def.UUID != v.id {
		return fmt.Errorf("libvirt was asked for the domain %s and gave %s", v.id, def.UUID)
	}
	v.info, v.name, v.defined = def.Info, def.Name, true
	if v.doc, err = domain.Parse([]byte(def.XML)); err != nil {
		return err
	}
	v.copy, v.carries, v.misread = v.doc.Metadata()
	return nil
}

// classify finds out what the VM was granted.
func (v *view) classify(m *Manager) {
	v.life = Reserved
	var g *grant
	switch {
	case v.grant != nil:
		g = v.grant
	case v.task != nil:
		g = v.task.Grant
	}
	if g != nil {
		v.devices, v.life = slices.Clone(g.VGPUs), g.Lifetime
		if g.Libvirt != m.libvirt {
			v.elsewhere = g.Libvirt
		}
		if v.name == "" {
			v.name = g.Name
		}
	}
	if v.name == "" && v.task != nil {
		v.name = v.task.Name
	}
}

// ours tells that something was granted to the VM, at this libvirt.
func (v *view) ours() bool { return v.grant != nil && v.elsewhere == "" }

// locate looks up the VM's devices: which exist, and whose they are.
func (m *Manager) locate(v *view, find, holder func(id string) (mdev.Device, error), ownerOf func(id string) (owner, bool, error)) error {
	v.found, v.unowned, v.stale, v.foreign = map[string]mdev.Device{}, map[string]mdev.Device{}, map[string]bool{}, map[string]string{}
	for _, d := range v.devices {
		found, err := find(d.ID)
		switch {
		case errors.Is(err, mdev.ErrNotFound):
			w, owned, _ := ownerOf(d.ID)
			v.stale[d.ID] = owned && w.VM == v.id
			continue
		case err != nil:
			return err
		case found.State == mdev.StateGhost: // it cannot be used again, and goes by itself
			continue
		}
		w, owned, unread := ownerOf(d.ID)
		switch {
		case unread != nil:
			v.foreign[d.ID] = "whose it is cannot be read: " + unread.Error()
		case owned && w.VM != v.id:
			v.foreign[d.ID] = fmt.Sprintf("it is granted to the VM %s (%s)", w.Name, w.VM)
		case found.Type != "" && !mdev.SameType(found.Type, d.Type):
			v.foreign[d.ID] = fmt.Sprintf("it is of type %s, not %s: another program made it", found.Type, d.Type)
		case owned:
			v.found[d.ID] = found
		default:
			why, err := v.mayOwn(d, found, holder)
			if err != nil {
				return err
			}
			if why != "" {
				v.foreign[d.ID] = why
			} else {
				v.unowned[d.ID] = found
			}
		}
	}
	return nil
}

// mayOwn tells why a device that nobody owns is not what the grant names; "" if it is. A
// virtual function has no UUID that would say so: only the running VM that holds it does.
func (v *view) mayOwn(d device, found mdev.Device, holder func(id string) (mdev.Device, error)) (string, error) {
	if v.grant == nil {
		return "another program made it", nil
	}
	if !d.vf() && found.Parent != d.Parent {
		return fmt.Sprintf("it is on %s, not on %s: another program made it", found.Parent, d.Parent), nil
	}
	held, err := holder(d.ID)
	if errors.Is(err, mdev.ErrNotFound) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	switch h := held.Holder; {
	case h != nil && h.VM != v.name:
		return fmt.Sprintf("process %d (%s %s) holds it", h.PID, h.Command, h.VM), nil
	case d.vf() && (h == nil || !v.info.State.Active()):
		return "another program made the vGPU of this virtual function", nil
	}
	return "", nil
}

// grants tells whether the grant names a device.
func (v *view) grants(id string) bool {
	return v.grant != nil && slices.ContainsFunc(v.grant.VGPUs, func(d device) bool { return d.ID == id })
}

// device is the VM's device of an id.
func (v *view) device(id string) (device, bool) {
	i := slices.IndexFunc(v.devices, func(d device) bool { return d.ID == id })
	if i < 0 {
		return device{}, false
	}
	return v.devices[i], true
}

// placement is where the caller wants the VM's vGPUs.
func (v *view) placement() placement.Options {
	if v.grant != nil {
		return v.grant.Placement
	}
	return placement.Options{}
}

// present tells whether a device of the VM exists.
func (v *view) present(id string) bool {
	_, found := v.found[id]
	_, unowned := v.unowned[id]
	return found || unowned
}

// state derives the VM's state from what was observed.
func (v *view) state() State {
	switch {
	case !v.defined:
		return StateAbsent
	case v.info.State.Active():
		return StateRunning
	case v.life == Reserved && len(v.missing()) > 0:
		return StateIncomplete
	}
	return StateOff
}

// missing lists the vGPUs that do not exist on the host as the VM's.
func (v *view) missing() []device {
	return slices.DeleteFunc(slices.Clone(v.devices), func(d device) bool { return v.present(d.ID) })
}

// existing lists the vGPUs that exist and are the VM's.
func (v *view) existing() []device {
	return slices.DeleteFunc(slices.Clone(v.devices), func(d device) bool { return !v.present(d.ID) })
}

// movesOn tells of a virtual function whether the VM takes another one when it starts: vGPUs
// that live only while it runs have no place while it is off.
func (v *view) movesOn(d device) bool {
	return d.vf() && v.life == WhileRunning && !v.info.State.Active()
}

// removable lists beside these the vGPUs that only an owner file is left of.
func (v *view) removable() []device {
	return slices.DeleteFunc(slices.Clone(v.devices), func(d device) bool { return !v.present(d.ID) && !v.stale[d.ID] })
}

// surplus lists the vGPUs that exist though the VM is off and they live only
// while it runs.
func (v *view) surplus() []device {
	if v.life != WhileRunning || !v.ours() || !v.defined || v.info.State.Active() {
		return nil
	}
	return v.existing()
}

// vm is the view as callers see it.
func (v *view) vm() VM {
	vm := VM{Name: v.name, UUID: v.id, State: v.state(), DomainState: v.info.State, Lifetime: v.life, VGPUs: []VGPU{}, Drift: v.drift()}
	if v.task != nil {
		vm.Unfinished = v.task.Operation
	}
	addresses := map[string]string{}
	if v.doc != nil {
		for _, h := range v.doc.Hostdevs() {
			if h.Address != nil {
				addresses[h.ID()] = h.Address.String()
			}
		}
	}
	for _, d := range v.devices {
		g := VGPU{ID: d.ID, Type: d.Type, Parent: d.Parent, GPU: d.GPU, Address: addresses[d.ID]}
		found, ok := v.found[d.ID]
		if !ok {
			found, ok = v.unowned[d.ID]
		}
		if ok {
			g.Present, g.TypeName, g.Framework, g.GPU, g.Node = true, found.TypeName, found.Framework, found.GPU, found.VFIONode
			switch h := found.Holder; {
			case len(found.Problems) > 0:
				g.Problem = found.Problems[0].Text
			case h != nil && h.VM != "" && h.VM != v.name:
				g.Problem = "the VM " + h.VM + " holds it"
			}
		} else if other, ok := v.foreign[d.ID]; ok {
			if !v.movesOn(d) {
				g.Problem = other
			}
		} else if slices.ContainsFunc(vm.Drift, func(drift Drift) bool { return drift.Object == d.ID }) {
			g.Problem = hostdevLost
		} else if vm.State == StateRunning {
			g.Problem = "it does not exist on the host, though the VM runs; stop the VM and start it to make it again"
		} else if v.life == Reserved {
			g.Problem = "it does not exist on the host; start the VM to make it again"
		}
		vm.VGPUs = append(vm.VGPUs, g)
	}
	return vm
}
