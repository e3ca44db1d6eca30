package vgpu

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/google/uuid"

	"github.com/vgpukit/vgpukit/domain"
	"github.com/vgpukit/vgpukit/mdev"
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
func (m *Manager) Provision(ctx context.Context, req ProvisionRequest) (VM, error) {
	s, err := req.check()
	o := m.operation(opProvision, s.name)
	if err != nil {
		return VM{}, o.wrap("check", "", err)
	}
	return m.withVM(ctx, o, func(v *view) (VM, error) {
		there, err := s.isThere(ctx, m, v)
		if err == nil && !there {
			err = legal(opProvision, v.state())
		}
		if err != nil {
			return VM{}, o.wrap("look", "", err)
		}
		if there {
			vm := v.vm(s.name)
			vm.Existed = true
			return vm, nil
		}
		if v.claim != nil {
			if err := o.clear(ctx, v); err != nil {
				return VM{}, err
			}
		}
		return o.provision(ctx, s)
	})
}

// isThere tells whether the VM is there as the request wants it.
func (s spec) isThere(ctx context.Context, m *Manager, v *view) (bool, error) {
	if !v.defined || !v.ours {
		return false, nil
	}
	inv, err := m.host.Inventory(ctx)
	return err == nil && s.matches(v, newLookup(inv)), err
}

// clear removes what a VM of this name left that somebody undefined by hand. What
// another domain has by now, since the VM was renamed, stays with that.
func (o *operation) clear(ctx context.Context, v *view) error {
	s, err := o.m.survey(ctx)
	if err != nil {
		return o.wrap("look", "", err)
	}
	for _, a := range v.findings(o.vm, s, ReconcileOptions{}) {
		if a = o.m.act(ctx, o, v, a); a.err != nil {
			return a.err
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
	err := o.step("place", "", func() (err error) {
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
	// Whatever is wrong with the document shows before anything is touched.
	err = o.step("document", "", func() (err error) {
		doc, err = s.document(rec.Devices)
		return err
	})
	if err != nil {
		return VM{}, err
	}
	if err := o.begin(rec); err != nil {
		return VM{}, err
	}
	if s.lifetime == Reserved {
		moved, err := o.make(ctx, &rec, all, cand)
		if err == nil && moved {
			err = o.step("document", "", func() (err error) {
				doc, err = s.document(rec.Devices)
				return err
			})
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
	if err := o.step("close", "", func() error { return o.m.store.settle(s.name) }); err != nil {
		return VM{}, err
	}
	v := &view{claim: &rec, found: o.created}
	err = v.read(ctx, o.m.hyper, s.name) // libvirt may have chosen its UUID and addresses
	if errors.Is(err, domain.ErrNotFound) {
		err = &Error{Kind: ErrState, Err: errors.New("it was defined, and somebody undefined it at once"), Next: "reconcile removes its vGPUs"}
	}
	if err != nil {
		return VM{}, o.wrap("look", "", err)
	}
	return v.vm(s.name), nil
}

// define gives libvirt the document. libvirt goes on working when a caller stops
// waiting, so that the outcome is open if there is no answer.
func (o *operation) define(ctx context.Context, doc *domain.Document, rec record) error {
	o.onFailure("define", rec.VM, func(ctx context.Context) error { return o.m.undefineOurs(ctx, rec) })
	return o.redefine(ctx, doc)
}

func (o *operation) redefine(ctx context.Context, doc *domain.Document) error {
	return o.step("define", o.vm, func() error {
		info, err := o.m.hyper.Define(ctx, string(doc.Bytes()))
		if err == nil && info.Name != o.vm {
			return fmt.Errorf("libvirt defined it as %q", info.Name)
		}
		o.unsure = o.unsure || unanswered(err)
		return err
	})
}

// undefineOurs takes a definition away if it is the one that names these devices.
func (m *Manager) undefineOurs(ctx context.Context, rec record) error {
	v, err := m.look(ctx, rec.VM)
	if err != nil {
		return err
	}
	if !v.defined || !v.ours || !sameDevices(v.devices, rec.Devices) {
		return nil
	}
	// An NVRAM file was there before: none is made before a VM starts.
	err = m.hyper.Undefine(ctx, rec.VM, domain.UndefineOptions{KeepNVRAM: true})
	if errors.Is(err, domain.ErrNotFound) {
		return nil
	}
	return err
}

func sameDevices(a, b []device) bool {
	return slices.EqualFunc(a, b, func(x, y device) bool { return x.ID == y.ID && x.Type == y.Type })
}

// matches tells whether a VM that is there has the vGPUs that the request asks for.
// libvirt has its own way to write the rest of a document, so that it is not compared.
func (s spec) matches(v *view, l lookup) bool {
	if len(v.devices) != len(s.requests) || v.life != s.lifetime || s.id != uuid.Nil && s.id != v.info.UUID {
		return false
	}
	have := v.vm(s.name).VGPUs
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

// document puts the vGPUs and our metadata into the VM's document. What does not
// fit there is the caller's to mend.
func (s spec) document(devices []device) (*domain.Document, error) {
	doc, err := s.write(devices)
	if err != nil {
		return nil, &Error{Kind: ErrInvalid, Err: err}
	}
	return doc, nil
}

// write takes the addresses that the caller chose before the planner chooses the
// others.
func (s spec) write(devices []device) (*domain.Document, error) {
	hostdevs := make([]domain.Hostdev, len(devices))
	scratch := s.doc
	for i, d := range devices {
		q := s.requests[i]
		h := domain.Hostdev{Display: q.Display, RAMFB: q.RAMFB, Alias: q.Alias}
		if d.vf() {
			h.VF = d.ID
		} else {
			h.UUID = uuid.MustParse(d.ID)
		}
		if q.Address != "" && q.Address != AddressByLibvirt {
			a, err := domain.ParseAddress(q.Address)
			if err != nil {
				return nil, err
			}
			h.Address = &a
			if scratch, err = scratch.Add(h); err != nil {
				return nil, err
			}
		}
		hostdevs[i] = h
	}
	doc := s.doc
	for i := range hostdevs {
		if s.requests[i].Address != "" {
			continue
		}
		free, err := scratch.Free(1, domain.AddressRequest{})
		if err != nil {
			return nil, err
		}
		hostdevs[i].Address = &free[0]
		if scratch, err = scratch.Add(hostdevs[i]); err != nil {
			return nil, err
		}
	}
	for _, h := range hostdevs {
		var err error
		if doc, err = doc.Add(h); err != nil {
			return nil, err
		}
	}
	return doc.WithMetadata(metadata(devices, s.lifetime))
}

// make creates the devices at the given places of rec, each on the first of its
// candidates that the kernel accepts; capacity is decided by the kernel. It
// tells whether a device is another one than rec said before.
func (o *operation) make(ctx context.Context, rec *record, which []int, candidates [][]candidate) (moved bool, err error) {
	for _, i := range which {
		before := rec.Devices[i].ID
		if err := o.makeOne(ctx, rec, i, candidates[i]); err != nil {
			return moved, err
		}
		moved = moved || rec.Devices[i].ID != before
	}
	return moved, nil
}

func (o *operation) makeOne(ctx context.Context, rec *record, i int, candidates []candidate) error {
	var refusals []error
	for n, c := range candidates {
		if c.VF && slices.ContainsFunc(rec.Devices, func(d device) bool { return d.ID == c.Parent && d.ID != rec.Devices[i].ID }) {
			continue // another vGPU of this VM has it or gets it
		}
		if n > 0 || rec.Devices[i].Parent != c.Parent {
			if err := o.moveIntent(rec, i, c); err != nil {
				return err
			}
		}
		d, next := rec.Devices[i], false
		err := o.step("create", d.ID, func() (err error) {
			next, err = o.create(ctx, d, c)
			return err
		})
		if err == nil {
			return nil
		}
		if !next || ctx.Err() != nil {
			return err
		}
		refusals = append(refusals, err)
	}
	return &Error{
		Step: "create", Object: rec.Devices[i].ID, Kind: ErrNoCapacity,
		Err: fmt.Errorf("no parent took a vGPU of type %s: %w", rec.Devices[i].Type, errors.Join(refusals...)),
	}
}

// moveIntent says in the journal that device i will be made on another parent,
// before it is.
func (o *operation) moveIntent(rec *record, i int, c candidate) error {
	old := rec.Devices[i].ID
	rec.Devices[i].Parent = c.Parent
	if c.VF {
		rec.Devices[i].ID = c.Parent
	}
	for j, id := range rec.Makes {
		if id == old {
			rec.Makes[j] = rec.Devices[i].ID
		}
	}
	return o.step("journal", c.Parent, func() error { return o.m.store.begin(*rec) })
}

// create makes one device under its GPU's lock. If it fails, next tells whether
// another parent may be tried.
func (o *operation) create(ctx context.Context, d device, c candidate) (next bool, err error) {
	lockCtx, cancel := context.WithTimeout(ctx, o.m.timeouts.Lock)
	defer cancel()
	unlock, err := o.m.store.lock(lockCtx, "gpu", c.GPU, o.op+" "+o.vm)
	if err != nil {
		return false, err
	}
	defer unlock()
	req := mdev.CreateRequest{Type: d.Type, Parent: c.Parent, Params: d.Params, Exclusive: true}
	if c.VF {
		leave, err := o.m.rent(ctx, o, c.Parent)
		if err != nil {
			return tryNext(err, c), err
		}
		defer leave()
	} else {
		req.UUID = uuid.MustParse(d.ID)
	}
	ours := true // what is there, or may still come
	o.onFailure("create", d.ID, func(ctx context.Context) error {
		if !ours {
			return nil
		}
		return o.m.removeDevice(ctx, o.vm, d)
	})
	created, err := o.m.host.Create(ctx, req)
	switch {
	case err == nil:
		o.created[d.ID] = created.Device
		return false, nil
	case errors.Is(err, mdev.ErrExists):
		ours = false
	case pending(err): // the kernel may still make it
		o.unsure = true
		return false, err
	default:
		_, there := o.m.host.Find(context.WithoutCancel(ctx), d.ID)
		ours = !errors.Is(there, mdev.ErrNotFound)
	}
	if ours { // what could not be removed must not be forgotten
		return false, err
	}
	if c.VF {
		err = errors.Join(err, o.m.vacate(c.Parent, o.vm))
	}
	return tryNext(err, c), err
}

// pending tells of a failed creation whether the kernel may still do it.
func pending(err error) bool {
	var e *mdev.Error
	if errors.As(err, &e) {
		return e.Pending
	}
	return unanswered(err) // a host of somebody else
}

// tryNext tells whether another parent may take what this one refused.
func tryNext(err error, c candidate) bool {
	if errors.Is(err, mdev.ErrExists) {
		return c.VF
	}
	return errors.Is(err, ErrNoCapacity) || errors.Is(err, mdev.ErrRefused) || errors.Is(err, mdev.ErrNotFound) || errors.Is(err, mdev.ErrInUse) ||
		c.VF && errors.Is(err, ErrExists)
}
