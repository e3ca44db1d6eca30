package vgpu

import (
	"context"
	"errors"

	"github.com/vgpukit/vgpukit/domain"
)

// Watch notices VMs that stop by themselves, crash or are destroyed by hand, and
// gives back the vGPUs that live only while their VM runs. After a lost
// connection, when events may have been lost, it reconciles everything; so it
// does at its start. It returns when ctx ends, with its error, or with another when
// events cannot be had any more. What could not be given back goes to the Logger and the
// Observer, and is tried again at the VM's next event or by Reconcile.
func (m *Manager) Watch(ctx context.Context) error {
	events, err := m.hyper.Events(ctx)
	if err != nil {
		return m.operation("watch", "").wrap("listen", "", err)
	}
	m.reconcileQuietly(ctx)
	for event := range events {
		switch event.Kind {
		case domain.EventReconnected:
			m.reconcileQuietly(ctx)
		case domain.EventStopped, domain.EventCrashed, domain.EventUndefined:
			m.stopped(ctx, event.VM)
		}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return m.operation("watch", "").wrap("listen", "", &Error{
		Kind: ErrUnavailable, Err: errors.New("the stream of events ended"), Next: "the connection was closed: open another and watch again",
	})
}

func (m *Manager) reconcileQuietly(ctx context.Context) {
	if _, err := m.Reconcile(ctx, ReconcileOptions{}); err != nil {
		m.log.Error("reconcile failed", "err", err)
	}
}

// stopped gives back what a VM that ended does not need any more. An operation
// that is at work on the VM does so itself.
func (m *Manager) stopped(ctx context.Context, name string) {
	if !m.store.knows(name) {
		return // a VM of somebody else
	}
	o := m.operation(opReconcile, name)
	unlock, err := m.lockVM(ctx, o)
	if err != nil {
		return // reported by the step
	}
	defer unlock()
	v, err := m.look(ctx, name)
	if err != nil {
		o.log.Error("look failed", "err", err)
		return
	}
	switch {
	case v.elsewhere != "":
		return
	case v.intent != nil:
		_ = o.step("recover", v.intent.Operation, func() error { return m.recover(ctx, v) })
		return
	case !v.defined:
		_ = o.step(string(ActionOrphan), "", func() error { return o.clear(ctx, v) })
		return
	}
	for _, d := range v.surplus() {
		_ = o.step(string(ActionGiveBack), d.ID, func() error {
			ctx, cancel := context.WithTimeout(ctx, m.timeouts.Release)
			defer cancel()
			if err := m.waitFree(ctx, d); err != nil {
				return err
			}
			return m.removeDevice(ctx, name, d)
		})
	}
}
