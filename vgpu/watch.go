package vgpu

import (
	"context"
	"errors"

	"github.com/vgpukit/vgpukit/domain"
	"github.com/vgpukit/vgpukit/internal/fault"
)

// Watch notices VMs that stop by themselves, crash or are destroyed by hand, and
// gives back the vGPUs that live only while their VM runs. After a lost
// connection, when events may have been lost, it reconciles everything; so it
// does at its start. It returns when ctx ends, with its error, or with another when
// events cannot be had any more. What could not be given back goes to the Logger and the
// Observer, and is tried again at the VM's next event or by Reconcile.
//
// To an Observer it is no operation of its own: it is told of those that Watch does.
func (m *Manager) Watch(ctx context.Context) error {
	o := &operation{m: m, op: opWatch}
	events, err := m.hyper.Events(ctx)
	if err != nil {
		return o.wrap("listen", "", err)
	}
	m.reconcileQuietly(ctx)
	for event := range events {
		switch event.Kind {
		case domain.EventReconnected:
			m.reconcileQuietly(ctx)
		case domain.EventStopped, domain.EventCrashed, domain.EventUndefined:
			m.giveBack(ctx, event.VM)
		}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return o.wrap("listen", "", &Error{
		Kind: ErrUnavailable, Err: errors.New("the stream of events ended"), Next: "the connection was closed: open another and watch again",
	})
}

func (m *Manager) reconcileQuietly(ctx context.Context) {
	if _, err := m.Reconcile(ctx, ReconcileOptions{}); err != nil {
		m.log.Error("reconcile failed", "err", err)
	}
}

// giveBack gives back what a VM that ended does not need any more. An operation
// that is at work on the VM does so itself.
func (m *Manager) giveBack(ctx context.Context, name string) {
	if !m.store.knows(name) {
		return // it is not ours
	}
	// Its steps log what fails.
	_ = m.operation(ctx, opReconcile, name, func(ctx context.Context, o *operation) error {
		unlock, err := o.lockVM(ctx)
		if err != nil {
			return err
		}
		defer unlock()
		var v *view
		err = o.step(ctx, "look", "", func(ctx context.Context) (err error) {
			v, err = m.load(ctx, name)
			return err
		})
		switch {
		case err != nil:
			return err
		case v.elsewhere != "":
			return nil
		case v.intent != nil:
			return o.step(ctx, "recover", v.intent.Operation, func(ctx context.Context) error { return m.recover(ctx, v) })
		case !v.defined:
			return o.step(ctx, string(ActionOrphan), "", func(ctx context.Context) error { return o.clear(ctx, v) })
		}
		var failures []error
		for _, d := range v.surplus() {
			failures = append(failures, o.step(ctx, string(ActionRelease), d.ID, func(ctx context.Context) error {
				ctx, cancel := context.WithTimeout(ctx, m.timeouts.Release)
				defer cancel()
				if err := m.waitFree(ctx, d); err != nil {
					return err
				}
				return m.removeDevice(ctx, name, d)
			}))
		}
		return fault.Join(failures...)
	})
}
