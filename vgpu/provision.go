package vgpu

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

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
// A document without a UUID gets that of the VM of its name, or a random one.
//
// With the life time WhileRunning no vGPU is made yet and no capacity is needed;
// Start makes them.
//
// If ctx ends, what was done is undone, on a deadline of its own
// (Timeouts.Undo).
func (m *Manager) Provision(ctx context.Context, req ProvisionRequest) (vm VM, err error) {
	s, wrong := req.check()
	err = m.operation(ctx, opProvision, s.name, uuid.Nil, func(ctx context.Context, o *operation) error {
		if wrong != nil {
			return o.wrap("check", "", wrong)
		}
		unlock, err := o.lockName(ctx)
		if err != nil {
			return err
		}
		defer unlock()
		if s, err = o.identify(ctx, s); err != nil {
			return err
		}
		return o.locked(ctx, func(ctx context.Context, o *operation, v *view) error {
			vm, err = o.provisionOn(ctx, s, v)
			return err
		})
	})
	return vm, err
}

// lockName keeps others from defining a VM of the same name.
func (o *operation) lockName(ctx context.Context) (unlock func(), err error) {
	err = o.step(ctx, "lock", "", func(ctx context.Context) error {
		unlock, err = o.m.lock(ctx, lockOfName, o.vm, o.op+" "+o.vm)
		return err
	})
	return unlock, err
}

// identify gives the request the UUID of the VM that it is about.
func (o *operation) identify(ctx context.Context, s spec) (spec, error) {
	err := o.step(ctx, "find", "", func(ctx context.Context) error {
		if err := cmp.Or(o.m.upgrade(ctx), o.m.heldBack(s.name)); err != nil {
			return err
		}
		there, err := o.m.hyper.Lookup(ctx, s.name)
		switch {
		case err == nil && (s.id == uuid.Nil || s.id == there):
			s.id = there
		case err == nil:
			return &Error{Kind: ErrExists, Err: fmt.Errorf("a domain of that name is there with another UUID, %s", there), Next: "choose another name, or leave the UUID out"}
		case !errors.Is(err, domain.ErrNotFound):
			return err
		case s.id == uuid.Nil:
			if s.id, err = o.m.granted(s.name, true); err != nil {
				return err
			}
			if s.id == uuid.Nil {
				s.id = uuid.New()
			}
		}
		return nil
	})
	o.id = s.id
	return s, err
}

// provisionOn provisions, unless the VM is there as asked.
func (o *operation) provisionOn(ctx context.Context, s spec, v *view) (VM, error) {
	there, err := s.isThere(ctx, o.m, v)
	if err == nil && !there {
		err = s.mayBegin(v)
	}
	if err != nil {
		return VM{}, o.wrap("look", "", err)
	}
	if there {
		vm := v.vm()
		vm.Existed = true
		return vm, nil
	}
	if v.grant != nil {
		if err := o.clear(ctx, v); err != nil {
			return VM{}, err
		}
	}
	return o.provision(ctx, s, v)
}

// mayBegin refuses a VM that is there already, or whose UUID another one has.
func (s spec) mayBegin(v *view) error {
	if v.defined && v.name != s.name {
		return &Error{Kind: ErrExists, Err: fmt.Errorf("the domain %s has its UUID, %s", v.name, v.id), Next: "give the VM another UUID, or none"}
	}
	if v.defined && !v.ours() {
		return &Error{
			Kind: ErrExists, Err: fmt.Errorf("a domain of that name is there and is %s, and was granted no vGPUs by this library", v.state()),
			Next: "choose another name, or undefine that domain with virsh",
		}
	}
	return legal(opProvision, v.state())
}

// isThere tells whether the VM is there as the request wants it.
func (s spec) isThere(ctx context.Context, m *Manager, v *view) (bool, error) {
	if !v.defined || !v.ours() || v.name != s.name {
		return false, nil
	}
	r, err := m.read(ctx)
	return err == nil && s.matches(v, r.lookup), err
}

// clear removes what the VM left when it was undefined without this library: it begins anew.
func (o *operation) clear(ctx context.Context, v *view) error {
	if err := o.beginToFree(ctx, v, func(t *task) { t.Operation, t.Teardown = opTeardown, &TeardownOptions{} }); err != nil {
		return err
	}
	if err := o.removeAll(ctx, v, v.removable()); err != nil {
		return err // the task stays: Reconcile removes what is left
	}
	if err := o.forget(ctx); err != nil {
		return err
	}
	v.grant = nil
	return nil
}

// forget ends the grant of a VM and then the operation that did so.
func (o *operation) forget(ctx context.Context) error {
	return o.step(ctx, "forget", "", func(ctx context.Context) error {
		if err := o.m.endGrant(o.id, o.number); err != nil {
			return err
		}
		return o.end()
	})
}

func (o *operation) provision(ctx context.Context, s spec, v *view) (VM, error) {
	g := s.grant(o.m.libvirt)
	q := s.question(g, o.begun)
	var p places
	err := o.step(ctx, "place", "", func(ctx context.Context) (err error) {
		p, err = o.m.placeNew(ctx, s, q, &g)
		return err
	})
	if err != nil {
		return VM{}, err
	}
	var doc *domain.Document
	write := func(context.Context) (err error) {
		doc, err = s.document(g)
		return err
	}
	// Whatever is wrong with the document shows before anything is touched.
	if err = o.step(ctx, "document", "", write); err == nil {
		err = o.begin(ctx, v, func(t *task) { t.Grant = &g })
	}
	if err != nil {
		p.pick.drop()
		return VM{}, err
	}
	if s.lifetime == WhileRunning {
		p.pick.drop()
	} else {
		planned := slices.Clone(g.VGPUs)
		err = o.createAll(ctx, &g, q, p)
		if err == nil && !sameHomes(planned, g.VGPUs) {
			err = o.step(ctx, "document", "", write)
		}
	}
	if err == nil {
		g.remember(doc)
		o.onFailure("grant", "", func(context.Context) error { return o.m.endGrant(o.id, o.number) })
		err = o.grant(ctx, v, g)
	}
	if err == nil {
		err = o.define(ctx, doc, g)
	}
	if err != nil {
		return VM{}, o.fail(ctx, err)
	}
	// From here on the VM is as asked; a failure to close leaves an entry that Reconcile
	// finds to be done.
	if err := o.close(ctx); err != nil {
		return VM{}, err
	}
	done := &view{id: o.id, grant: &g, found: o.created}
	done.classify(o.m)
	err = done.loadDomain(ctx, o.m.hyper) // libvirt may have chosen addresses
	if errors.Is(err, domain.ErrNotFound) {
		err = &Error{Kind: ErrState, Err: errors.New("it was defined, and undefined by another program at once"), Next: "tear it down, which removes its vGPUs, or provision it again"}
	}
	if err != nil {
		return VM{}, o.wrap("look", "", err)
	}
	return done.vm(), nil
}

// grant is what the VM of a request is to have, without places.
func (s spec) grant(libvirt string) grant {
	g := grant{VM: s.id, Name: s.name, Libvirt: libvirt, Lifetime: s.lifetime, Placement: s.options}
	for i, q := range s.requests {
		d := device{ID: deviceUUID(s.id, i).String(), Type: q.Type, Params: q.Params, Pin: q.Parent}
		if q.UUID != uuid.Nil {
			d.ID = q.UUID.String()
		}
		g.VGPUs = append(g.VGPUs, d)
	}
	return g
}

// remember notes what the document has of the vGPUs: their models, and where the guest has
// them, as far as libvirt does not choose.
func (g *grant) remember(doc *domain.Document) {
	for _, h := range doc.Hostdevs() {
		for i := range g.VGPUs {
			if g.VGPUs[i].ID != h.ID() {
				continue
			}
			g.VGPUs[i].Model = modelOf(h.Model)
			if h.Address != nil {
				g.VGPUs[i].Address = h.Address.String()
			}
		}
	}
}

// question asks for places for all vGPUs of a new VM.
func (s spec) question(g grant, begun time.Time) question {
	q := question{vm: s.id, begun: begun, devices: g.VGPUs, options: s.options, anywhere: s.lifetime == WhileRunning}
	for i := range g.VGPUs {
		q.which = append(q.which, i)
	}
	return q
}

// placeNew finds places for a new VM's vGPUs and writes the first of each into its grant. It
// refuses what is another's: a UUID that is taken, and what the document itself names.
func (m *Manager) placeNew(ctx context.Context, s spec, q question, g *grant) (places, error) {
	p, err := m.place(ctx, q)
	if err != nil {
		return p, err
	}
	err = func() error {
		if err := p.reading.checkDocument(m, s.doc, q.vm); err != nil {
			return err
		}
		for i := range g.VGPUs {
			first := p.candidates[i][0]
			if first.VF && s.requests[i].UUID != uuid.Nil {
				return invalid("leave the UUID out", "vGPU %d has a UUID, and on %s a vGPU is a virtual function without one", i, first.Parent)
			}
			g.VGPUs[i] = g.VGPUs[i].at(first, p.types[i])
			g.VGPUs[i].PinPCI = p.reading.pciOf(g.VGPUs[i].Pin)
			if err := p.reading.checkID(g.VGPUs[i], q.vm); err != nil {
				return err
			}
		}
		return m.checkNamed(ctx, s)
	}()
	if err != nil {
		p.pick.drop()
	}
	return p, err
}

// checkID refuses the UUID of a device that exists or was granted to another VM.
func (r *reading) checkID(d device, vm uuid.UUID) error {
	if d.vf() {
		return nil
	}
	own := view{id: vm}
	if g, ok := r.grants[vm.String()]; ok {
		own.grant = &g
	}
	if there, exists := r.devices[d.ID]; exists && !own.grants(d.ID) {
		return taken(there)
	}
	if name, other, ok := r.namedBy(d.ID, vm); ok {
		return takenBy(owner{Device: d.ID, Name: name, VM: other})
	}
	return nil
}

// checkNamed refuses a UUID that the caller chose and that another domain's document has.
func (m *Manager) checkNamed(ctx context.Context, s spec) error {
	chosen := map[string]bool{}
	for _, q := range s.requests {
		if q.UUID != uuid.Nil {
			chosen[q.UUID.String()] = true
		}
	}
	if len(chosen) == 0 {
		return nil
	}
	domains, err := m.hyper.Domains(ctx)
	if err != nil {
		return err
	}
	for _, info := range domains {
		if info.UUID == s.id {
			continue
		}
		def, err := m.hyper.Definition(ctx, info.UUID.String())
		if errors.Is(err, domain.ErrNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		for _, h := range hostdevsIn(def.XML) {
			if chosen[h.ID()] {
				return &Error{
					Object: h.ID(), Kind: ErrExists, Err: fmt.Errorf("the document of the domain %s has a vGPU of this UUID", info.Name),
					Next: "choose another UUID, or take the hostdev out of that domain",
				}
			}
		}
	}
	return nil
}

// hostdevsIn are those of a document, none if it cannot be read.
func hostdevsIn(xml string) []domain.Hostdev {
	doc, err := domain.Parse([]byte(xml))
	if err != nil {
		return nil
	}
	return doc.Hostdevs()
}

// matches tells whether a VM that is there has the vGPUs that the request asks for.
// libvirt has its own way to write the rest of a document, so that it is not compared.
func (s spec) matches(v *view, l lookup) bool {
	if len(v.devices) != len(s.requests) || v.life != s.lifetime {
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
		case !mdev.SameType(q.Type, g.Type) && q.Type != g.TypeName && !l.sameType(q.Type, g.Type),
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
