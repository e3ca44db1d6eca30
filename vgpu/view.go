package vgpu

import (
	"context"
	"errors"
	"fmt"

	"github.com/vgpukit/vgpukit/domain"
	"github.com/vgpukit/vgpukit/internal/statedir"
	"github.com/vgpukit/vgpukit/mdev"
	"github.com/vgpukit/vgpukit/vgpu/placement"
)

// view is one VM as all places know it: what operations decide upon.
type view struct {
	name    string
	info    domain.Info
	defined bool
	doc     *domain.Document // nil unless defined
	claim   *record          // nil: none
	intent  *record          // nil: nothing unfinished
	devices []device         // the VM's vGPUs: by its metadata, else by claim, else by intent
	ours    bool             // the document's metadata names vGPUs
	life    Lifetime
	found   map[string]mdev.Device // those of devices that exist
	leased  map[string]bool        // virtual functions that have no vGPU and a lease of the VM
	foreign map[string]string      // ids that exist, but as something else than what we made, with what they are
	// elsewhere is the libvirt through which the VM was provisioned, if that is not
	// this one and the VM is not known here.
	elsewhere string
}

// load observes one VM: domain, metadata, claim, intent and devices. The VM's lock is
// held, so that damaged entries can be set aside.
func (m *Manager) load(ctx context.Context, name string) (*view, error) {
	v, damaged, err := m.peek(ctx, name)
	for _, d := range damaged {
		to, err := m.store.dir.SetAside(d)
		if statedir.Unwritable(err) { // it counts as absent all the same
			m.log.Warn("damaged entry cannot be set aside", "vm", name, "file", d.Path, "err", err)
			continue
		}
		if err != nil {
			return nil, err
		}
		m.log.Warn("damaged entry set aside", "vm", name, "file", to, "err", d.Err)
	}
	return v, err
}

// peek is load without the VM's lock. Damaged entries count as not there and are left
// to the process that has it.
func (m *Manager) peek(ctx context.Context, name string) (v *view, damaged []*statedir.Damaged, err error) {
	v = &view{name: name}
	for _, place := range []struct {
		entries statedir.Entries[record]
		to      **record
	}{{m.store.intents, &v.intent}, {m.store.claims, &v.claim}} {
		r, ok, err := place.entries.Read(name)
		var harm *statedir.Damaged
		if errors.As(err, &harm) {
			damaged = append(damaged, harm)
			continue
		}
		if err != nil {
			return nil, damaged, err
		}
		if ok {
			*place.to = &r
		}
	}
	err = v.loadDomain(ctx, m.hyper)
	if errors.Is(err, domain.ErrNotFound) {
		err = v.classify()
	}
	if err != nil {
		return nil, damaged, err
	}
	return v, damaged, m.locate(v, func(id string) (mdev.Device, error) { return m.host.Find(ctx, id) })
}

// loadDomain takes the domain and its document into the view.
func (v *view) loadDomain(ctx context.Context, hyper Hypervisor) error {
	def, err := hyper.Definition(ctx, v.name)
	if err != nil {
		return err
	}
	v.info, v.defined = def.Info, true
	if v.doc, err = domain.Parse([]byte(def.XML)); err != nil {
		return err
	}
	return v.classify()
}

// classify finds out which vGPUs are the VM's: the document's metadata outranks the
// claim, the claim the intent.
func (v *view) classify() error {
	v.life = Reserved
	switch {
	case v.claim != nil:
		v.devices, v.life = v.claim.Devices, v.claim.Lifetime
	case v.intent != nil:
		v.devices, v.life = v.intent.Devices, v.intent.Lifetime
	}
	if v.doc == nil {
		return nil
	}
	meta, ok, err := v.doc.Metadata()
	if err != nil || !ok {
		return err
	}
	pins := map[string]string{}
	for _, d := range v.devices {
		pins[d.ID] = d.Pin
	}
	v.ours, v.devices = true, nil
	for _, g := range meta.VGPUs {
		v.devices = append(v.devices, device{ID: g.ID, Type: g.Type, Parent: g.Parent, Params: fromMetadata(g.Params), Pin: pins[g.ID]})
		v.life = Lifetime(g.Lifetime)
	}
	return nil
}

// locate looks up the VM's devices. A virtual function that has a vGPU of another
// VM or of a stranger counts as not there: the VM takes the next one.
func (m *Manager) locate(v *view, device func(id string) (mdev.Device, error)) error {
	v.found, v.leased, v.foreign = map[string]mdev.Device{}, map[string]bool{}, map[string]string{}
	for _, r := range []*record{v.intent, v.claim} {
		if r != nil && !v.defined && r.Hypervisor != m.hyper.URI() {
			v.elsewhere = r.Hypervisor
		}
	}
	for _, d := range v.everyDevice() {
		found, err := device(d.ID)
		switch {
		case errors.Is(err, mdev.ErrNotFound):
			if d.vf() {
				l, known, err := m.store.lease(d.ID)
				if err != nil {
					return err
				}
				v.leased[d.ID] = known && l.VM == v.name && l.Boot == m.boot
			}
		case err != nil:
			return err
		case found.State == mdev.StateGhost: // it cannot be used again, and goes by itself
		case d.vf():
			mine, err := m.ownsVF(v, d.ID)
			if err != nil {
				return err
			}
			if mine && found.Type == d.Type {
				v.found[d.ID] = found
			}
		case found.Type != "" && found.Type != d.Type:
			v.foreign[d.ID] = fmt.Sprintf("it is of type %s, not %s: another program made it", found.Type, d.Type)
		default:
			v.found[d.ID] = found
		}
	}
	return nil
}

// everyDevice has the VM's devices and those of an unfinished operation and of
// the claim that the document does not name.
func (v *view) everyDevice() []device {
	all := append([]device(nil), v.devices...)
	seen := map[string]bool{}
	for _, d := range all {
		seen[d.ID] = true
	}
	for _, r := range []*record{v.intent, v.claim} {
		if r == nil {
			continue
		}
		for _, d := range r.Devices {
			if !seen[d.ID] {
				seen[d.ID] = true
				all = append(all, d)
			}
		}
	}
	return all
}

// placement is where the caller wants the VM's vGPUs.
func (v *view) placement() placement.Options {
	for _, r := range []*record{v.claim, v.intent} {
		if r != nil {
			return r.Placement
		}
	}
	return placement.Options{}
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

// missing lists the vGPUs that do not exist on the host as ours.
func (v *view) missing() []device {
	var missing []device
	for _, d := range v.devices {
		if _, ok := v.found[d.ID]; !ok {
			missing = append(missing, d)
		}
	}
	return missing
}

// surplus lists the vGPUs that exist though the VM is off and they live only
// while it runs. Those of a VM that is gone may be another's: see findings.
func (v *view) surplus() []device {
	var surplus []device
	if v.life != WhileRunning || !v.ours || v.state() == StateRunning {
		return nil
	}
	for _, d := range v.devices {
		if _, ok := v.found[d.ID]; ok {
			surplus = append(surplus, d)
		}
	}
	return surplus
}

// surplusOnceOff lists the vGPUs to remove when the VM has stopped.
func (v *view) surplusOnceOff() []device {
	if v.life != WhileRunning {
		return nil
	}
	return v.removable(v.devices)
}

// removable leaves out what is not the VM's. A virtual function without its vGPU
// may soon be another VM's; it stays in the list only while the VM's lease of it is
// to be ended.
func (v *view) removable(devices []device) []device {
	var ours []device
	for _, d := range devices {
		_, foreign := v.foreign[d.ID]
		if _, found := v.found[d.ID]; found || v.leased[d.ID] || !foreign && !d.vf() {
			ours = append(ours, d)
		}
	}
	return ours
}

// made lists the devices that the interrupted operation made, as far as they
// exist and are of the type that it meant.
func (v *view) made() []device {
	var made []device
	for _, id := range v.intent.Makes {
		for _, d := range v.intent.Devices {
			if _, ok := v.found[id]; (ok || v.leased[id]) && d.ID == id {
				made = append(made, d)
			}
		}
	}
	return made
}

// vm is the view as callers see it.
func (v *view) vm() VM {
	vm := VM{Name: v.name, UUID: v.info.UUID, State: v.state(), DomainState: v.info.State, Lifetime: v.life, VGPUs: []VGPU{}}
	if v.intent != nil {
		vm.Unfinished = v.intent.Operation
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
		g := VGPU{ID: d.ID, Type: d.Type, Parent: d.Parent, Address: addresses[d.ID]}
		if found, ok := v.found[d.ID]; ok {
			g.Present, g.TypeName, g.Framework, g.GPU, g.Node = true, found.TypeName, found.Framework, found.GPU, found.VFIONode
			if len(found.Problems) > 0 {
				g.Problem = found.Problems[0].Text
			}
		} else if other, ok := v.foreign[d.ID]; ok {
			g.Problem = other
		} else if v.life == Reserved || vm.State == StateRunning {
			g.Problem = "it does not exist on the host; start the VM to make it again"
		}
		vm.VGPUs = append(vm.VGPUs, g)
	}
	return vm
}
