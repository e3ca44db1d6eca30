package vgpu

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/vgpukit/vgpukit/domain"
	"github.com/vgpukit/vgpukit/internal/patience"
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
			rewritten, err := o.start(ctx, v, cmp.Or(opts.Timeout, m.timeouts.Start))
			if err == nil && rewritten {
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

// start brings the view up to date, unless the document was written again.
func (o *operation) start(ctx context.Context, v *view, limit time.Duration) (rewritten bool, err error) {
	if err := o.step(ctx, "check", "", func(ctx context.Context) error { return o.mayStart(ctx, v) }); err != nil {
		return false, err
	}
	rewritten, err = o.ensure(ctx, v, true)
	if err != nil {
		return false, err
	}
	// A start that is no longer waited for may still succeed; then the devices are held
	// and the undoing leaves them, and the task, in place.
	ours := true
	o.onFailure("start", o.vm, func(ctx context.Context) error {
		if !ours {
			return nil
		}
		return o.haltGently(ctx)
	})
	limited, cancel := patience.With(ctx, limit)
	defer cancel()
	err = o.step(limited, "start", o.vm, func(ctx context.Context) error {
		err := o.m.hyper.Start(ctx, o.id.String())
		ours = !declined(err)
		if errors.Is(err, domain.ErrState) {
			if info, look := o.m.hyper.Info(ctx, o.id.String()); look == nil && info.State.Active() {
				return nil // another program has started it just now
			}
		}
		o.unsure = o.unsure || unanswered(err)
		return err
	})
	if err != nil {
		o.noteStart(ctx, v, err)
	}
	if err == nil {
		err = o.step(limited, "run", o.vm, func(ctx context.Context) (err error) {
			v.info, err = o.waitRunning(ctx)
			return err
		})
		o.unsure = o.unsure || ctx.Err() != nil && err != nil
	}
	if err != nil {
		return false, o.fail(ctx, err)
	}
	o.endFailures(ctx, v)
	maps.Copy(v.found, o.created)
	return rewritten, o.close(ctx)
}

// mayStart refuses a VM whose document has lost a vGPU, or names what was granted to another
// VM.
func (o *operation) mayStart(ctx context.Context, v *view) error {
	for _, id := range slices.Sorted(maps.Keys(v.foreign)) {
		if d, ok := v.device(id); ok && d.vf() {
			continue // the VM takes the next one
		}
		return &Error{Object: id, Kind: ErrExists, Err: errors.New(v.foreign[id]), Next: "remove it if you know whose it is, then start the VM again"}
	}
	if !v.written(*v.grant) {
		if _, err := v.rewritten(*v.grant); err != nil {
			return err
		}
	}
	has, mine := hostdevIDs(v.doc), map[string]bool{}
	for i, d := range v.devices {
		mine[d.ID] = true
		if !has[d.ID] { // else what the copy names stays in the document
			mine[v.copyID(i)] = true
		}
	}
	if !slices.ContainsFunc(v.doc.Named(), func(id string) bool { return !mine[id] }) {
		return nil
	}
	r, err := o.m.read(ctx)
	if err != nil {
		return err
	}
	return r.checkDocument(o.m, v.doc, v.id)
}

// ensure begins the operation and makes the VM's vGPUs that do not exist. It tells whether
// the VM's document was written again, because one had to go elsewhere or, if that is to be
// mended, because somebody had changed it.
func (o *operation) ensure(ctx context.Context, v *view, mend bool) (rewritten bool, err error) {
	g := *v.grant
	g.Name, g.VGPUs = v.name, slices.Clone(v.devices)
	q := question{vm: o.id, begun: o.begun, devices: g.VGPUs, options: v.placement(), again: true, promised: v.life == Reserved}
	for i, d := range v.devices {
		if !v.present(d.ID) {
			q.which = append(q.which, i)
		}
	}
	planned := g
	var p places
	if len(q.which) > 0 {
		err := o.step(ctx, "place", "", func(ctx context.Context) (err error) {
			p, err = o.m.place(ctx, q)
			return err
		})
		if err != nil {
			return false, err
		}
		planned.VGPUs = slices.Clone(g.VGPUs)
		for _, i := range q.which {
			planned.VGPUs[i] = g.VGPUs[i].at(p.candidates[i][0], p.types[i])
		}
	}
	err = o.begin(ctx, v, func(t *task) { t.Grant, t.Was = &planned, v.devices })
	if err != nil {
		if p.pick != nil {
			p.pick.drop()
		}
		return false, err
	}
	if len(q.which) > 0 {
		if err := o.createAll(ctx, &g, q, p); err != nil {
			return false, o.fail(ctx, err)
		}
	}
	moved := !sameHomes(g.VGPUs, v.devices)
	if moved {
		was := *v.grant
		o.onFailure("grant", "", func(ctx context.Context) error { return o.m.writeGrant(was.next(v.grant), o.number) })
		if err := o.grant(ctx, v, g); err != nil {
			return false, o.fail(ctx, err)
		}
	}
	if moved || mend && !v.written(g) {
		if err := o.rewrite(ctx, v, g); err != nil {
			return false, o.fail(ctx, err)
		}
		rewritten = true
	}
	return rewritten, nil
}

// haltGently ends a VM that an undone Start left running: SIGTERM only, since
// SIGKILL while a guest driver starts can wedge an NVIDIA VF.
func (o *operation) haltGently(ctx context.Context) error {
	info, err := o.m.hyper.Info(ctx, o.id.String())
	if err != nil || !info.State.Active() {
		return err
	}
	if err := o.m.hyper.Terminate(ctx, o.id.String()); err != nil {
		return err
	}
	return o.waitOff(ctx, nil)
}
