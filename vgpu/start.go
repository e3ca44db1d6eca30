package vgpu

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/vgpukit/vgpukit/domain"
)

// StartOptions says how long Start is patient.
type StartOptions struct {
	// Timeout is how long libvirt may take to start the VM, until it is seen
	// running. Zero: the Manager's Timeouts.Start. A VM with much memory takes
	// its time, as all of it is pinned for the vGPU.
	Timeout time.Duration `json:"timeout,omitzero"`
}

// Start makes sure that each of the VM's vGPUs exists, starts the VM and waits
// until it runs. vGPUs that live only while the VM runs, and Reserved ones that
// vanished with a reboot of the host, are made first: with the same UUIDs, types
// and guest addresses, on the same parent if that has room and else on another.
// Starting a running VM succeeds and does nothing.
//
// If it fails or ctx ends, what was made is removed again and the VM is off.
func (m *Manager) Start(ctx context.Context, name string, opts StartOptions) (vm VM, err error) {
	err = m.onVM(ctx, opStart, name, opts.check(), func(ctx context.Context, o *operation, v *view) error {
		if err := o.admit(v); err != nil {
			return err
		}
		if v.state() != StateRunning {
			moved, err := o.start(ctx, v, cmp.Or(opts.Timeout, m.timeouts.Start))
			if err == nil && moved {
				v, err = o.look(ctx) // its document is another one now
			}
			if err != nil {
				return err
			}
		}
		vm = v.vm()
		return nil
	})
	return vm, err
}

// start brings the view up to date, unless vGPUs moved.
func (o *operation) start(ctx context.Context, v *view, patience time.Duration) (moved bool, err error) {
	_, moved, err = o.ensure(ctx, v)
	if err != nil {
		return false, err
	}
	deadline := time.Now().Add(patience)
	// A start that is no longer waited for may still succeed; then the devices are held
	// and the undoing leaves them, and the intent, in place.
	ours := true
	o.onFailure("start", o.vm, func(ctx context.Context) error {
		if !ours {
			return nil
		}
		return o.m.haltGently(ctx, o.vm)
	})
	err = o.step(ctx, "start", o.vm, func(ctx context.Context) error {
		limited, cancel := context.WithDeadline(ctx, deadline)
		defer cancel()
		err := o.m.hyper.Start(limited, o.vm)
		ours = !declined(err)
		if errors.Is(err, domain.ErrState) {
			if info, look := o.m.hyper.Info(limited, o.vm); look == nil && info.State.Active() {
				return nil // another program has started it just now
			}
		}
		o.unsure = o.unsure || unanswered(err)
		return err
	})
	if err == nil {
		err = o.step(ctx, "run", o.vm, func(ctx context.Context) (err error) {
			limited, cancel := context.WithDeadline(ctx, deadline)
			defer cancel()
			v.info, err = o.m.waitRunning(limited, o.vm)
			return err
		})
		o.unsure = o.unsure || ctx.Err() != nil && err != nil
	}
	if err != nil {
		return false, o.fail(ctx, err)
	}
	maps.Copy(v.found, o.created)
	return moved, o.close(ctx, moved)
}

// ensure writes the intent and makes the VM's vGPUs that do not exist. If one
// has to go elsewhere, the VM's document is changed accordingly; moved says so.
func (o *operation) ensure(ctx context.Context, v *view) (rec record, moved bool, err error) {
	for _, id := range slices.Sorted(maps.Keys(v.foreign)) {
		what := v.foreign[id]
		return rec, false, o.wrap("look", id, &Error{Kind: ErrExists, Err: errors.New(what), Next: "remove it if you know whose it is, then start the VM again"})
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
	if err := o.m.releaseEmptyVFs(ctx, v); err != nil {
		return rec, false, o.wrap("lease", "", err)
	}
	if len(which) > 0 {
		err := o.step(ctx, "place", "", func(ctx context.Context) error { return o.m.placeAgain(ctx, v, which, cand) })
		if err != nil {
			return rec, false, err
		}
	}
	rec, err = o.intend(ctx, v, func(r *record) {
		for _, i := range which {
			r.Makes = append(r.Makes, r.Devices[i].ID)
		}
	})
	if err != nil || len(which) == 0 {
		return rec, false, err
	}
	if _, err := o.createAll(ctx, &rec, which, cand); err != nil {
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
