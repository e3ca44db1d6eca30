package vgpu

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"

	"github.com/vgpukit/vgpukit/domain"
	"github.com/vgpukit/vgpukit/internal/fault"
	"github.com/vgpukit/vgpukit/mdev"
)

// AdoptOptions says how a VM is taken into our care.
type AdoptOptions struct {
	// Fresh gives the VM vGPUs of its own, of the types that its metadata names, and writes
	// them into its document. The VM must be off.
	Fresh bool `json:"fresh,omitempty"`
	// DryRun tells whether it would be done, and does nothing.
	DryRun bool `json:"dry_run,omitempty"`
}

// Adoption is what became of one VM.
type Adoption struct {
	VM    string    `json:"vm"`
	UUID  uuid.UUID `json:"uuid"`
	Done  bool      `json:"done"`            // false: in a dry run, or failed
	Error *Error    `json:"error,omitempty"` // why it cannot be
}

// Adopt takes a VM into our care whose document carries a copy of a grant, and that was
// granted nothing: a clone, a restored backup, a VM whose state directory was lost. VM and
// vGPUs are not touched. It is refused if a vGPU that the copy names was granted to another
// VM, is held by another process, or is of another type; [AdoptOptions.Fresh] is the way out.
// Adopting a VM that is in our care succeeds and does nothing.
func (m *Manager) Adopt(ctx context.Context, name string, opts AdoptOptions) (vm VM, err error) {
	adopt := func(ctx context.Context, o *operation, v *view) error {
		switch err := legal(opAdopt, v.state()); {
		case err != nil:
			return o.wrap("look", "", err)
		case v.grant != nil:
			vm = v.vm()
			vm.Existed = true
			return nil
		case !v.carries:
			return o.wrap("look", "", &Error{
				Kind: ErrUnsupported, Err: errors.New("its metadata names no vGPUs, and what other tools made cannot be adopted yet"),
				Next: "leave it to the tool that made it",
			})
		case v.misread != nil || len(v.copy.VGPUs) == 0:
			return o.wrap("look", "", &Error{Kind: ErrInvalid, Err: fmt.Errorf("its metadata cannot be used: %w", cmp.Or(v.misread, errors.New("it names no vGPU"))), Next: "correct it, or take it out"})
		}
		do := o.adopt
		if opts.Fresh {
			do = o.adoptFresh
		}
		if err := do(ctx, v); err != nil {
			return err
		}
		if v, err = o.look(ctx); err == nil {
			vm = v.vm()
		}
		return err
	}
	err = m.operation(ctx, opAdopt, name, uuid.Nil, func(ctx context.Context, o *operation) error {
		o.dryRun = opts.DryRun
		return o.onVM(ctx, nil, adopt)
	})
	return vm, err
}

// AdoptAll adopts each VM whose copy was written for itself: after the loss of the state
// directory. What cannot be adopted is told, and does not keep the others back.
func (m *Manager) AdoptAll(ctx context.Context, opts AdoptOptions) (adoptions []Adoption, err error) {
	err = m.operation(ctx, opAdopt, "", uuid.Nil, func(ctx context.Context, o *operation) error {
		s, err := m.survey(ctx)
		if err != nil {
			return o.wrap("look", "", err)
		}
		adoptions = []Adoption{}
		var failures []error
		for _, v := range s.sorted() {
			if v.grant != nil || !v.carries || v.copy.VM != uuid.Nil && v.copy.VM != v.id {
				continue
			}
			a := Adoption{VM: v.name, UUID: v.id, Done: !opts.DryRun}
			if _, err := m.Adopt(ctx, v.id.String(), opts); err != nil {
				a.Done, a.Error = false, asError(opAdopt, v.name, err)
				failures = append(failures, a.Error)
			}
			adoptions = append(adoptions, a)
		}
		return fault.Join(failures...)
	})
	return adoptions, err
}

// adopt grants the VM the vGPUs that its copy names.
func (o *operation) adopt(ctx context.Context, v *view) error {
	g := grant{VM: o.id, Name: v.name, Libvirt: o.m.libvirt}
	g.VGPUs, g.Lifetime = fromCopy(v.copy)
	var there []device
	err := o.step(ctx, "check", "", func(ctx context.Context) error {
		r, err := o.m.read(ctx)
		if err != nil {
			return err
		}
		for i, d := range g.VGPUs {
			exists, err := o.mayAdopt(ctx, r, v, &d)
			if err != nil {
				return err
			}
			if g.VGPUs[i] = d; exists {
				there = append(there, d)
			}
		}
		return o.original(ctx, v)
	})
	if err != nil || o.dryRun {
		return err
	}
	if err := o.begin(ctx, v, func(t *task) { t.Grant = &g }); err != nil {
		return err
	}
	for _, d := range there {
		err := o.step(ctx, "own", d.ID, func(ctx context.Context) error {
			o.onFailure("own", d.ID, func(context.Context) error { return o.m.disown(d.ID) })
			return o.ownFound(ctx, d)
		})
		if err != nil {
			return o.fail(ctx, err)
		}
	}
	o.onFailure("grant", "", func(context.Context) error { return o.m.endGrant(o.id, o.number) })
	err = o.grant(ctx, v, g)
	if err == nil && (v.copy.VM != o.id || !sameCopy(v.copy, g.metadata())) {
		var doc *domain.Document
		if doc, err = v.doc.WithMetadata(g.metadata()); err == nil {
			o.onFailure("define", o.vm, func(ctx context.Context) error { return o.unwrite(ctx, g, v.doc) })
			err = o.redefine(ctx, doc)
		}
	}
	if err != nil {
		return o.fail(ctx, err)
	}
	o.record("adopted", "")
	return o.close(ctx)
}

// original refuses the copy of a VM that is still there: whichever of them was asked for first
// would have the vGPUs.
func (o *operation) original(ctx context.Context, v *view) error {
	if v.copy.VM == uuid.Nil || v.copy.VM == v.id {
		return nil
	}
	info, err := o.m.hyper.Info(ctx, v.copy.VM.String())
	if errors.Is(err, domain.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	return adoptFreshInstead(&Error{Kind: ErrExists, Err: fmt.Errorf("its metadata was written for the VM %s (%s), which is still defined", info.Name, v.copy.VM)})
}

// mayAdopt refuses a device that is another's, and completes it by what the host says.
func (o *operation) mayAdopt(ctx context.Context, r *reading, v *view, d *device) (exists bool, err error) {
	if name, vm, ok := r.granted(d.ID, v.id, func(device, Lifetime) bool { return true }); ok {
		return false, adoptFreshInstead(takenBy(owner{Device: d.ID, Name: name, VM: vm}))
	}
	if w, owned, err := o.m.ownerOf(d.ID); err != nil || owned && w.VM != v.id {
		return false, cmp.Or[error](err, adoptFreshInstead(takenBy(w)))
	}
	found, err := o.m.host.Device(ctx, d.ID)
	// A VM that is off has no vGPU that lives while it runs; a virtual function may be anybody's by now.
	_, life := fromCopy(v.copy)
	off := life == WhileRunning && !v.info.State.Active()
	switch {
	case errors.Is(err, mdev.ErrNotFound), err == nil && d.vf() && off:
		if d.Parent == "" {
			d.Parent = d.ID
		}
		d.GPU = r.gpu(d.Parent)
		return false, nil
	case err != nil:
		return false, err
	case found.Type != "" && !mdev.SameType(found.Type, d.Type):
		return false, &Error{Object: d.ID, Kind: ErrExists, Err: fmt.Errorf("it is of type %s, and the VM's metadata says %s", found.Type, d.Type), Next: "adopt the VM with vGPUs of its own (fresh)"}
	case found.Holder != nil && found.Holder.VM != v.name:
		return false, &Error{
			Object: d.ID, Kind: ErrInUse, Err: fmt.Errorf("process %d (%s %s) holds it", found.Holder.PID, found.Holder.Command, found.Holder.VM),
			Next: "adopt the VM with vGPUs of its own (fresh)",
		}
	}
	d.Parent, d.GPU = found.Parent, found.GPU
	return true, nil
}

// adoptFreshInstead is the way out for a VM whose copy names what is another's.
func adoptFreshInstead(e *Error) *Error {
	e.Next = "adopt the VM with vGPUs of its own (fresh)"
	return e
}

// adoptFresh makes vGPUs of the types that the copy names, and puts them into the places of
// those in the document.
func (o *operation) adoptFresh(ctx context.Context, v *view) error {
	if v.info.State.Active() {
		return o.wrap("look", "", &Error{Kind: ErrState, Err: errors.New("the VM runs, and can be given other vGPUs only while it is off"), Next: "shut it down with virsh first"})
	}
	g := grant{VM: o.id, Name: v.name, Libvirt: o.m.libvirt}
	g.VGPUs, g.Lifetime = fromCopy(v.copy)
	q := question{vm: o.id, begun: o.begun, anywhere: g.Lifetime == WhileRunning}
	for i := range g.VGPUs {
		g.VGPUs[i].ID, g.VGPUs[i].Parent = deviceUUID(o.id, i).String(), ""
		q.which = append(q.which, i)
	}
	q.devices = g.VGPUs
	var p places
	err := o.step(ctx, "place", "", func(ctx context.Context) (err error) {
		if p, err = o.m.place(ctx, q); err != nil {
			return err
		}
		for i := range g.VGPUs {
			g.VGPUs[i] = g.VGPUs[i].at(p.candidates[i][0], p.types[i])
			if err := p.reading.checkID(g.VGPUs[i], o.id); err != nil {
				p.pick.drop()
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	_, err = v.withFresh(g)
	if err != nil || o.dryRun {
		p.pick.drop()
		return o.wrapIf("document", err)
	}
	if err := o.begin(ctx, v, func(t *task) { t.Grant, t.Fresh = &g, true }); err != nil {
		p.pick.drop()
		return err
	}
	if g.Lifetime == WhileRunning {
		p.pick.drop()
	} else if err := o.createAll(ctx, &g, q, p); err != nil {
		return o.fail(ctx, err)
	}
	o.onFailure("grant", "", func(context.Context) error { return o.m.endGrant(o.id, o.number) })
	if err := o.grant(ctx, v, g); err != nil {
		return o.fail(ctx, err)
	}
	doc, err := v.withFresh(g)
	if err == nil {
		o.onFailure("define", o.vm, func(ctx context.Context) error { return o.unwrite(ctx, g, v.doc) })
		err = o.redefine(ctx, doc)
	}
	if err != nil {
		return o.fail(ctx, err)
	}
	o.record("adopted", "")
	return o.close(ctx)
}

// withFresh is the document with the vGPUs of a grant in the places of those that its copy
// names.
func (v *view) withFresh(g grant) (*domain.Document, error) {
	from, _ := fromCopy(v.copy)
	has := hostdevIDs(v.doc)
	for i, d := range g.VGPUs {
		if !has[from[i].ID] {
			return nil, hostdevGone(d.ID)
		}
	}
	doc, err := swap(v.doc, from, g.VGPUs)
	if err != nil {
		return nil, err
	}
	return doc.WithMetadata(g.metadata())
}

// recoverAdopt keeps a VM that was granted its vGPUs, and else is as if it had not begun.
func (o *operation) recoverAdopt(ctx context.Context, v *view) error {
	if v.grant != nil {
		if v.task.Fresh && v.defined && !v.info.State.Active() && !v.written(*v.grant) {
			doc, err := v.withFresh(*v.grant)
			if err == nil {
				err = o.redefine(ctx, doc)
			}
			if err != nil {
				return o.wrap("document", "", err)
			}
		}
		return o.close(ctx)
	}
	made, err := o.m.made(v)
	if err != nil {
		return err
	}
	if v.task.Fresh {
		err = o.removeAll(ctx, v, made)
	} else {
		for _, d := range made {
			err = fault.Join(err, o.m.disown(d.ID))
		}
	}
	if err != nil {
		return err
	}
	return o.close(ctx)
}
