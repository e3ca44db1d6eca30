package vgpu

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/google/uuid"

	"github.com/vgpukit/vgpukit/domain"
	"github.com/vgpukit/vgpukit/internal/fault"
	"github.com/vgpukit/vgpukit/mdev"
)

// carried is what becomes of a VM that an earlier version knew.
type carried struct {
	grant *grant // nil: nothing is granted to it
	task  *task  // nil: nothing is unfinished
	makes []device
}

// carry writes what an earlier version stored of a VM as this one does, and then takes that
// away. Killed at any moment, it is done again and comes to the same.
func (m *Manager) carry(ctx context.Context, f formerVM) error {
	v, libvirt, err := m.findFormer(ctx, f)
	if err != nil {
		return err
	}
	o := &operation{m: m, op: "carry over", vm: f.name, id: v.id, log: m.log}
	unlock, err := m.lockSoon(ctx, lockOfVM, v.id.String(), o.op+" "+f.name)
	if err != nil {
		return err
	}
	defer unlock()
	// With a grant all of it is carried over, and was not taken away.
	if !m.store.grants.Has(v.id.String()) {
		c, err := f.carried(v, libvirt, m.boot())
		if err == nil {
			err = o.writeCarried(ctx, f, c)
		}
		if err != nil {
			return err
		}
	}
	// The intent last: it knows the VM's UUID, and where its vGPUs went.
	if err := m.store.former.claims.Remove(f.name, m.store.former.intents); err != nil {
		return err
	}
	m.log.Info("carried over from an earlier version", "vm", f.name, "uuid", v.id)
	return nil
}

// findFormer finds the VM that an earlier version knew by its name, with its document if libvirt
// has it, and which libvirt that is.
func (m *Manager) findFormer(ctx context.Context, f formerVM) (v *view, libvirt string, err error) {
	id, uri := f.uuid(), f.latest().Hypervisor
	if libvirt, err = m.checkLibvirt(uri); err != nil {
		libvirt = uri
	}
	if libvirt != m.libvirt {
		if id == uuid.Nil || f.intent != nil {
			return nil, "", &Error{
				Object: libvirt, Kind: ErrExists, Err: fmt.Errorf("an earlier version made its vGPUs for a VM of libvirt at %s, and this is %s", libvirt, m.libvirt),
				Next: "reconcile with a connection to that libvirt",
			}
		}
		return &view{id: id}, libvirt, nil
	}
	if id != uuid.Nil {
		v := &view{id: id}
		if err := v.loadDomain(ctx, m.hyper); !errors.Is(err, domain.ErrNotFound) {
			return v, libvirt, err
		}
	}
	there, err := m.hyper.Lookup(ctx, f.name)
	if err == nil {
		v := &view{id: there}
		if err = v.loadDomain(ctx, m.hyper); err == nil && f.names(v.copy) {
			return v, libvirt, nil
		}
	}
	if err != nil && !errors.Is(err, domain.ErrNotFound) {
		return nil, "", err
	}
	if id != uuid.Nil {
		return &view{id: id}, libvirt, nil
	}
	v, err = m.renamed(ctx, f)
	return v, libvirt, err
}

// renamed finds a VM without a known UUID that goes by another name now: the one domain that
// was nobody's else and names the same vGPUs. There is none: the VM is gone, and gets a UUID by
// which Reconcile collects what it had.
func (m *Manager) renamed(ctx context.Context, f formerVM) (*view, error) {
	gone := &view{id: uuid.NewSHA1(formerSpace, []byte(f.name))}
	infos, err := m.hyper.Domains(ctx)
	if err != nil {
		return nil, err
	}
	var found []*view
	for _, info := range infos {
		if _, known := f.all[info.Name]; known || m.store.grants.Has(info.UUID.String()) {
			continue
		}
		v := &view{id: info.UUID}
		if err := v.loadDomain(ctx, m.hyper); errors.Is(err, domain.ErrUnavailable) {
			return nil, err
		} else if err != nil {
			continue // what it names keeps Reconcile from collecting that
		}
		if f.names(v.copy) && v.copy.VM == uuid.Nil {
			found = append(found, v)
		}
	}
	if len(found) == 1 && len(found[0].copy.VGPUs) == len(f.latest().Devices) {
		return found[0], nil
	}
	return gone, nil
}

// carried tells what the VM is granted, and which operation on it is unfinished.
func (f formerVM) carried(v *view, libvirt, boot string) (carried, error) {
	r := f.latest()
	if f.claim != nil {
		r = *f.claim
	}
	g := &grant{
		VM: v.id, Name: f.name, Number: 1, Libvirt: libvirt,
		Lifetime: r.Lifetime, Placement: r.Placement, VGPUs: f.devices(v),
	}
	if v.defined {
		g.Name = v.name
	}
	in := f.intent
	if in == nil || in.Operation == opAdopt {
		return carried{grant: g}, nil
	}
	t := &task{
		VM: v.id, Name: g.Name, Number: uuid.NewSHA1(formerSpace, fmt.Append(nil, in.Operation, in.VM, in.Since.UnixNano(), in.PID)),
		Operation: in.Operation, Since: in.Since, PID: in.PID, Boot: boot, Libvirt: libvirt, Run: v.info.ID,
	}
	c := carried{grant: g, task: t}
	switch in.Operation {
	case opProvision:
		switch {
		case f.provisioned(v):
			c.task = nil
		case f.claim == nil:
			c.grant, t.Grant, c.makes = nil, g, in.made()
		default: // what a VM of that name left stays granted until it is collected
			t.Operation, t.Grant, c.makes = opStart, g, in.made()
		}
	case opStart:
		planned := *g
		planned.VGPUs = in.Devices
		t.Grant, t.Was, c.makes = &planned, in.Was, in.made()
	case opStop, opTeardown:
		t.Stop, t.Teardown = in.Stop, in.Teardown
		if v.defined && !v.carries {
			c.task = nil // by now it is another's VM
		}
	default:
		return carried{}, &Error{
			Object: in.Operation, Kind: ErrInvalid, Err: errors.New("an earlier version began an operation on it that this program does not know"),
			Next: "finish it with the program version that began it",
		}
	}
	return c, nil
}

// provisioned tells that libvirt has the document of an unfinished provision, which was given
// to it when all vGPUs had been made.
func (f formerVM) provisioned(v *view) bool {
	return v.defined && v.carries && v.misread == nil && slices.EqualFunc(v.copy.VGPUs, f.intent.Devices, func(g domain.VGPU, d device) bool {
		return g.ID == d.ID && mdev.SameType(g.Type, d.Type)
	})
}

// made lists the devices that an operation made, or was about to.
func (r record) made() []device {
	return slices.DeleteFunc(slices.Clone(r.Devices), func(d device) bool { return !slices.Contains(r.Makes, d.ID) })
}

// writeCarried writes owner files, task and grant; the grant, which says that all is there, last.
func (o *operation) writeCarried(ctx context.Context, f formerVM, c carried) error {
	if c.task != nil {
		o.number = c.task.Number
	}
	for _, d := range c.makes {
		if err := o.ownFormer(ctx, f, d, true); err != nil {
			return err
		}
	}
	o.number = uuid.Nil
	if c.grant != nil {
		for _, d := range c.grant.VGPUs {
			if err := o.ownFormer(ctx, f, d, false); err != nil {
				return err
			}
		}
	}
	if c.task != nil {
		if err := o.m.store.tasks.Write(*c.task); err != nil {
			return err
		}
	}
	if c.grant != nil {
		return o.m.store.grants.Write(*c.grant)
	}
	return nil
}

// ownFormer makes a device the VM's that an earlier version made for it, or was about to.
func (o *operation) ownFormer(ctx context.Context, f formerVM, d device, coming bool) error {
	if d.vf() && !f.leased(d.ID, o.m.boot()) {
		return nil
	}
	found, err := o.m.host.Find(ctx, d.ID)
	switch {
	case errors.Is(err, mdev.ErrNotFound) && coming:
	case errors.Is(err, mdev.ErrNotFound):
		return nil
	case err != nil:
		return unplaced(err)
	case found.Type != "" && !mdev.SameType(found.Type, d.Type), !d.vf() && found.Parent != d.Parent:
		return nil // another program made it
	}
	err = o.ownFound(ctx, d)
	if fault.Any(err, ErrExists) { // of several that a lost lease allows
		o.m.log.Warn("a vGPU is another VM's", "vm", f.name, "device", d.ID, "err", err)
		return nil
	}
	return err
}
