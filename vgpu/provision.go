package vgpu

import (
	"context"
	"errors"
	"slices"

	"github.com/google/uuid"

	"github.com/vgpukit/vgpukit/domain"
)

// Provision makes a VM's vGPUs, puts them into its document and defines it; the
// VM is off afterwards. All or nothing: if any vGPU cannot be had, or anything
// else fails, what was made is removed again. Provisioning what is already there
// as asked succeeds and says so in VM.Existed; a domain of that name that is
// anything else is refused with ErrExists and not touched.
//
// With the life time WhileRunning no vGPU is made yet and no capacity is needed;
// Start makes them.
//
// If ctx ends, what was done is undone, on a deadline of its own
// (Timeouts.Undo).
func (m *Manager) Provision(ctx context.Context, req ProvisionRequest) (vm VM, err error) {
	s, err := req.check()
	if err != nil {
		return VM{}, m.operation(ctx, opProvision, s.name, func(_ context.Context, o *operation) error { return o.wrap("check", "", err) })
	}
	err = m.onVM(ctx, opProvision, s.name, nil, func(ctx context.Context, o *operation, v *view) error {
		there, err := s.isThere(ctx, m, v)
		if err == nil && !there {
			err = legal(opProvision, v.state())
		}
		if err != nil {
			return o.wrap("look", "", err)
		}
		if there {
			vm = v.vm()
			vm.Existed = true
			return nil
		}
		if v.claim != nil {
			if err := o.clear(ctx, v); err != nil {
				return err
			}
		}
		vm, err = o.provision(ctx, s)
		return err
	})
	return vm, err
}

// isThere tells whether the VM is there as the request wants it.
func (s spec) isThere(ctx context.Context, m *Manager, v *view) (bool, error) {
	if !v.defined || !v.ours {
		return false, nil
	}
	inv, err := m.host.Inventory(ctx)
	return err == nil && s.matches(v, newLookup(inv)), err
}

// clear removes what a VM of this name left when it was undefined without this
// library. What another domain has by now, since the VM was renamed, stays with that.
func (o *operation) clear(ctx context.Context, v *view) error {
	s, err := o.m.survey(ctx)
	if err != nil {
		return o.wrap("look", "", err)
	}
	for _, a := range v.findings(s, ReconcileOptions{}) {
		if a = o.act(ctx, v, a); a.Error != nil {
			return a.Error
		}
	}
	return nil
}

func (o *operation) provision(ctx context.Context, s spec) (VM, error) {
	var (
		rec  = o.record(s.id, s.lifetime, s.options)
		all  []int
		cand [][]candidate
		doc  *domain.Document
	)
	err := o.step(ctx, "place", "", func(ctx context.Context) (err error) {
		rec.Devices, cand, err = o.m.place(ctx, s, nil)
		return err
	})
	if err != nil {
		return VM{}, err
	}
	for i, d := range rec.Devices {
		all = append(all, i)
		if s.lifetime == Reserved {
			rec.Makes = append(rec.Makes, d.ID)
		}
	}
	write := func(context.Context) (err error) {
		doc, err = s.document(rec.Devices)
		return err
	}
	// Whatever is wrong with the document shows before anything is touched.
	if err := o.step(ctx, "document", "", write); err != nil {
		return VM{}, err
	}
	if err := o.begin(ctx, rec); err != nil {
		return VM{}, err
	}
	if s.lifetime == Reserved {
		moved, err := o.createAll(ctx, &rec, all, cand)
		if err == nil && moved {
			err = o.step(ctx, "document", "", write)
		}
		if err != nil {
			return VM{}, o.fail(ctx, err)
		}
	}
	if err := o.define(ctx, doc, rec); err != nil {
		return VM{}, o.fail(ctx, err)
	}
	// From here on the VM is as asked; a failure to close the journal leaves an
	// entry that Reconcile finds to be done.
	if err := o.close(ctx, true); err != nil {
		return VM{}, err
	}
	v := &view{name: s.name, claim: &rec, found: o.created}
	err = v.loadDomain(ctx, o.m.hyper) // libvirt may have chosen its UUID and addresses
	if errors.Is(err, domain.ErrNotFound) {
		err = &Error{Kind: ErrState, Err: errors.New("it was defined, and undefined by another program at once"), Next: "reconcile removes its vGPUs"}
	}
	if err != nil {
		return VM{}, o.wrap("look", "", err)
	}
	return v.vm(), nil
}

// matches tells whether a VM that is there has the vGPUs that the request asks for.
// libvirt has its own way to write the rest of a document, so that it is not compared.
func (s spec) matches(v *view, l lookup) bool {
	if len(v.devices) != len(s.requests) || v.life != s.lifetime || s.id != uuid.Nil && s.id != v.info.UUID {
		return false
	}
	have := v.vm().VGPUs
	hostdevs := map[string]domain.Hostdev{}
	for _, h := range v.doc.Hostdevs() {
		hostdevs[h.ID()] = h
	}
	for i, q := range s.requests {
		g, h := have[i], hostdevs[have[i].ID]
		switch {
		case !slices.Equal(q.Params, v.devices[i].Params),
			off(q.Display) != off(h.Display), off(q.RAMFB) != off(h.RAMFB),
			q.Alias != "" && q.Alias != h.Alias:
			return false
		case q.Type != g.Type && q.Type != g.TypeName && !l.sameType(q.Type, g.Type),
			q.UUID != uuid.Nil && q.UUID.String() != g.ID,
			q.Parent != "" && q.Parent != g.Parent && q.Parent != l.gpu(g.Parent),
			q.Address != "" && q.Address != AddressByLibvirt && !sameAddress(q.Address, g.Address):
			return false
		}
	}
	return true
}

// off is a switch as it works: what is not written is off.
func off(s domain.Switch) bool { return s == "" || s == domain.SwitchOff }

func sameAddress(a, b string) bool {
	x, errX := domain.ParseAddress(a)
	y, errY := domain.ParseAddress(b)
	return errX == nil && errY == nil && x == y
}
