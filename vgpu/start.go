package vgpu

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"time"

	"github.com/google/uuid"

	"github.com/vgpukit/vgpukit/domain"
)

// StartOptions says how long Start is patient.
type StartOptions struct {
	// Timeout is how long the started VM may take to be seen running. Zero: the
	// Manager's Timeouts.Start.
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
		if err := o.start(ctx, v, cmp.Or(opts.Timeout, m.timeouts.Start)); err != nil {
			return VM{}, err
		}
		v, err := m.look(ctx, name)
		if err != nil {
			return VM{}, o.wrap("look", "", err)
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

// intend writes the intent of an operation on a VM that is there.
func (o *operation) intend(v *view, change func(*record)) (record, error) {
	rec := record{
		VM: o.vm, UUID: v.info.UUID, Operation: o.op, Since: now(), PID: os.Getpid(),
		Lifetime: v.life, Devices: append([]device(nil), v.devices...),
	}
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

func (o *operation) start(ctx context.Context, v *view, patience time.Duration) error {
	rec, moved, err := o.ensure(ctx, v)
	if err != nil {
		return err
	}
	// A start that nobody waits for may still succeed; then the devices are held
	// and the undoing leaves them, and the intent, in place.
	o.onFailure("start", o.vm, func(ctx context.Context) error { return o.m.haltGently(ctx, o.vm) })
	err = o.step("start", o.vm, func() error { return o.m.hyper.Start(ctx, o.vm) })
	if err == nil {
		err = o.step("run", o.vm, func() error { return o.m.waitRunning(ctx, o.vm, patience) })
	}
	if err != nil {
		o.unsure = o.unsure || ctx.Err() != nil
		return o.fail(ctx, err)
	}
	return o.close(rec.VM, moved)
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
	for id, what := range v.foreign {
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
		err := o.step("place", "", func() error { return o.m.placeAgain(ctx, v.devices, which, cand) })
		if err != nil {
			return rec, false, err
		}
	}
	rec, err = o.intend(v, func(r *record) {
		r.Before = string(v.doc.Bytes())
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
	doc, err := v.doc, error(nil)
	for i, d := range rec.Devices {
		old := v.devices[i]
		if d.ID == old.ID {
			continue
		}
		for _, h := range doc.Hostdevs() {
			if h.ID() != old.ID {
				continue
			}
			if d.vf() {
				h.UUID, h.VF = uuid.Nil, d.ID
			}
			if doc, err = doc.Remove(old.ID); err == nil {
				doc, err = doc.Add(h)
			}
			if err != nil {
				return o.wrap("document", d.ID, err)
			}
			break
		}
	}
	if doc, err = doc.WithMetadata(metadata(rec.Devices, rec.Lifetime)); err != nil {
		return o.wrap("document", "", err)
	}
	o.onFailure("define", o.vm, func(ctx context.Context) error {
		_, err := o.m.hyper.Define(ctx, rec.Before)
		return err
	})
	return o.step("define", o.vm, func() error {
		_, err := o.m.hyper.Define(ctx, string(doc.Bytes()))
		return err
	})
}

func (m *Manager) waitRunning(ctx context.Context, name string, patience time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return poll(ctx, nil, func() (bool, error) {
		info, err := m.hyper.Info(ctx, name)
		if err != nil {
			return false, err
		}
		if info.State == domain.StateCrashed || info.State == domain.StateShutOff {
			return false, &Error{Kind: ErrState, Err: fmt.Errorf("it was started and is %s already", info.State), Next: "read the VM's log, /var/log/libvirt/qemu/" + name + ".log"}
		}
		return info.State.Active(), nil
	})
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
