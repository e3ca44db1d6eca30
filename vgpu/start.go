package vgpu

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/vgpukit/vgpukit/domain"
	"github.com/vgpukit/vgpukit/vgpu/placement"
)

// StartOptions says how long Start is patient.
type StartOptions struct {
	// Timeout is how long libvirt may take to start the VM, until it is seen
	// running. Zero: the Manager's Timeouts.Start. A VM with much memory takes
	// its time, as all of it is pinned for the vGPU.
	Timeout time.Duration
}

// Start makes sure that each of the VM's vGPUs exists, starts the VM and waits
// until it runs. vGPUs that live only while the VM runs, and Reserved ones that
// vanished with a reboot of the host, are made first: with the same UUIDs, types
// and guest addresses, on the same parent if that has room and else on another.
// Starting a running VM succeeds and does nothing.
//
// If it fails or ctx ends, what was made is removed again and the VM is off.
func (m *Manager) Start(ctx context.Context, name string, opts StartOptions) (VM, error) {
	o := m.operation(opStart, name)
	return m.withVM(ctx, o, func(v *view) (VM, error) {
		if err := o.admit(v); err != nil {
			return VM{}, err
		}
		if v.state() == StateRunning {
			return v.vm(name), nil
		}
		moved, err := o.start(ctx, v, cmp.Or(opts.Timeout, m.timeouts.Start))
		if err == nil && moved {
			v, err = o.look(ctx) // its document is another one now
		}
		if err != nil {
			return VM{}, err
		}
		return v.vm(name), nil
	})
}

// admit refuses an operation on a VM that is not ours or not in a state for it.
func (o *operation) admit(v *view) error {
	if err := legal(o.op, v.state()); err != nil {
		return o.wrap("look", "", err)
	}
	if !v.ours {
		return o.wrap("look", "", &Error{
			Kind: ErrInvalid, Err: fmt.Errorf("the domain has no vGPUs that were provisioned by this library"),
			Next: "use virsh for domains of others; a VM's document names its vGPUs in the metadata element " + domain.MetadataURI,
		})
	}
	return nil
}

// record is what is stored of the operation.
func (o *operation) record(id uuid.UUID, life Lifetime, where placement.Options) record {
	return record{
		VM: o.vm, UUID: id, Operation: o.op, Since: time.Now().UTC().Truncate(time.Second), PID: os.Getpid(),
		Lifetime: life, Hypervisor: o.m.hyper.URI(), Placement: where,
	}
}

// intend writes the intent of an operation on a VM that is there.
func (o *operation) intend(v *view, change func(*record)) (record, error) {
	rec := o.record(v.info.UUID, v.life, v.placement())
	rec.Devices = append(rec.Devices, v.devices...)
	if change != nil {
		change(&rec)
	}
	return rec, o.begin(rec)
}

// begin writes the intent of an operation that has not done anything yet. If that
// fails half way, nothing shall be left that Reconcile would finish.
func (o *operation) begin(rec record) error {
	return o.step("journal", "", func() error {
		err := o.m.store.begin(rec)
		if err != nil {
			_ = o.m.store.end(rec.VM) // the entry may be there: only its directory's sync failed
		}
		return err
	})
}

// start brings the view up to date, unless vGPUs moved.
func (o *operation) start(ctx context.Context, v *view, patience time.Duration) (moved bool, err error) {
	rec, moved, err := o.ensure(ctx, v)
	if err != nil {
		return false, err
	}
	limited, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	// A start that nobody waits for may still succeed; then the devices are held
	// and the undoing leaves them, and the intent, in place.
	ours := true
	o.onFailure("start", o.vm, func(ctx context.Context) error {
		if !ours {
			return nil
		}
		return o.m.haltGently(ctx, o.vm)
	})
	err = o.step("start", o.vm, func() error {
		err := o.m.hyper.Start(limited, o.vm)
		ours = !declined(err)
		if errors.Is(err, domain.ErrState) {
			if info, look := o.m.hyper.Info(limited, o.vm); look == nil && info.State.Active() {
				return nil // somebody else has started it just now
			}
		}
		o.unsure = o.unsure || unanswered(err)
		return err
	})
	if err == nil {
		err = o.step("run", o.vm, func() (err error) {
			v.info, err = o.m.waitRunning(limited, o.vm)
			return err
		})
		o.unsure = o.unsure || ctx.Err() != nil && err != nil
	}
	if err != nil {
		return false, o.fail(ctx, err)
	}
	maps.Copy(v.found, o.created)
	return moved, o.close(rec.VM, moved)
}

// declined tells that libvirt did not do what it was asked, and never will.
func declined(err error) bool {
	for _, kind := range []error{domain.ErrInvalid, domain.ErrNotFound, domain.ErrInUse, domain.ErrState, domain.ErrPermission, domain.ErrUnsupported} {
		if errors.Is(err, kind) {
			return true
		}
	}
	return false
}

// close ends the journal entry, or makes it the new claim if devices moved.
func (o *operation) close(vm string, moved bool) error {
	return o.step("close", "", func() error {
		if moved {
			return o.m.store.settle(vm)
		}
		return o.m.store.end(vm)
	})
}

// ensure writes the intent and makes the VM's vGPUs that do not exist. If one
// has to go elsewhere, the VM's document is changed accordingly; moved says so.
func (o *operation) ensure(ctx context.Context, v *view) (rec record, moved bool, err error) {
	for _, id := range slices.Sorted(maps.Keys(v.foreign)) {
		what := v.foreign[id]
		return rec, false, o.wrap("look", id, &Error{Kind: ErrExists, Err: fmt.Errorf("%s", what), Next: "remove it if you know whose it is, then start the VM again"})
	}
	var (
		which []int
		cand  = make([][]candidate, len(v.devices))
	)
	for i, d := range v.devices {
		if _, ok := v.found[d.ID]; !ok {
			which = append(which, i)
		}
	}
	if err := o.m.endLeases(ctx, v, o.vm); err != nil {
		return rec, false, o.wrap("lease", "", err)
	}
	if len(which) > 0 {
		err := o.step("place", "", func() error { return o.m.placeAgain(ctx, v, which, cand) })
		if err != nil {
			return rec, false, err
		}
	}
	rec, err = o.intend(v, func(r *record) {
		for _, i := range which {
			r.Makes = append(r.Makes, r.Devices[i].ID)
		}
	})
	if err != nil || len(which) == 0 {
		return rec, false, err
	}
	if _, err := o.make(ctx, &rec, which, cand); err != nil {
		return rec, false, o.fail(ctx, err)
	}
	for i, d := range rec.Devices {
		moved = moved || d.ID != v.devices[i].ID || d.Parent != v.devices[i].Parent
	}
	if moved {
		if err := o.rewrite(ctx, v, rec); err != nil {
			return rec, false, o.fail(ctx, err)
		}
	}
	return rec, moved, nil
}

// rewrite puts devices that moved into the VM's document, at the guest addresses
// that the VM knows.
func (o *operation) rewrite(ctx context.Context, v *view, rec record) error {
	doc, err := swap(v.doc, v.devices, rec.Devices, rec.Lifetime)
	if err != nil {
		return o.wrap("document", "", err)
	}
	rec.Was = v.devices
	if err := o.step("journal", "", func() error { return o.m.store.begin(rec) }); err != nil {
		return err
	}
	o.onFailure("define", o.vm, func(ctx context.Context) error { return o.unwrite(ctx, rec) })
	return o.redefine(ctx, doc)
}

// unwrite takes devices that moved out of the VM's document again, and leaves
// whatever else was changed in it meanwhile.
func (o *operation) unwrite(ctx context.Context, rec record) error {
	v, err := o.m.look(ctx, rec.VM)
	if err != nil || !v.defined || !v.ours || !sameHomes(v.devices, rec.Devices) {
		return err
	}
	doc, err := swap(v.doc, rec.Devices, rec.Was, rec.Lifetime)
	if err != nil {
		return err
	}
	_, err = o.m.hyper.Define(ctx, string(doc.Bytes()))
	return err
}

// swap returns the document with other devices in their places.
func swap(doc *domain.Document, from, to []device, life Lifetime) (*domain.Document, error) {
	vfs := map[string]string{}
	var err error
	for i := range to {
		switch {
		case from[i].ID == to[i].ID:
		case from[i].vf() && to[i].vf():
			vfs[from[i].ID] = to[i].ID
		default: // a kernel with another framework
			if doc, err = exchange(doc, from[i], to[i]); err != nil {
				return nil, err
			}
		}
	}
	if doc, err = doc.ReplaceVFs(vfs); err != nil {
		return nil, err
	}
	return doc.WithMetadata(metadata(to, life))
}

// exchange puts a virtual function into the place of an mdev, or the other way.
func exchange(doc *domain.Document, from, to device) (*domain.Document, error) {
	for _, h := range doc.Hostdevs() {
		if h.ID() != from.ID {
			continue
		}
		if h.UUID, h.VF = uuid.Nil, to.ID; !to.vf() {
			h.UUID, h.VF = uuid.MustParse(to.ID), ""
		}
		without, err := doc.Remove(from.ID)
		if err != nil {
			return nil, err
		}
		return without.Add(h)
	}
	return doc, nil
}

// sameHomes is sameDevices on the same parents.
func sameHomes(a, b []device) bool {
	return slices.EqualFunc(a, b, func(x, y device) bool { return x.ID == y.ID && x.Type == y.Type && x.Parent == y.Parent })
}

func (m *Manager) waitRunning(ctx context.Context, name string) (info domain.Info, err error) {
	err = poll(ctx, nil, func() (bool, error) {
		if info, err = m.hyper.Info(ctx, name); err != nil {
			return false, err
		}
		if info.State == domain.StateCrashed || info.State == domain.StateShutOff {
			return false, &Error{Kind: ErrState, Err: fmt.Errorf("it was started and is %s already", info.State), Next: "read the VM's log, /var/log/libvirt/qemu/" + name + ".log"}
		}
		return info.State.Active(), nil
	})
	return info, err
}

// haltGently ends a VM that an undone Start left running: SIGTERM only, since
// SIGKILL while a guest driver starts can wedge an NVIDIA VF.
func (m *Manager) haltGently(ctx context.Context, name string) error {
	info, err := m.hyper.Info(ctx, name)
	if err != nil || !info.State.Active() {
		return err
	}
	if err := m.hyper.Terminate(ctx, name); err != nil {
		return err
	}
	return m.waitOff(ctx, nil, name)
}
