package vgpu

import (
	"context"
	"errors"
	"time"

	"github.com/vgpukit/vgpukit/domain"
	"github.com/vgpukit/vgpukit/internal/fault"
)

// Watch notices VMs that stop by themselves, crash or are destroyed by hand, and
// gives back the vGPUs that live only while their VM runs. After a lost
// connection, when events may have been lost, it reconciles everything; so it
// does at its start and each [Grace], which is when what is gone is seen for the second time. It returns when ctx ends, with its error, or with another when
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
	again := time.NewTicker(Grace) // for the second look at what is gone
	defer again.Stop()
	for open := true; open; {
		var event domain.Event
		select {
		case event, open = <-events:
		case <-again.C:
			m.reconcileQuietly(ctx)
			continue
		}
		switch event.Kind {
		case domain.EventReconnected:
			m.reconcileQuietly(ctx)
		case domain.EventStopped, domain.EventCrashed, domain.EventUndefined:
			m.giveBack(ctx, event)
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
func (m *Manager) giveBack(ctx context.Context, event domain.Event) {
	if !m.store.grants.Has(event.UUID.String()) && !m.store.tasks.Has(event.UUID.String()) {
		return // it is not ours
	}
	// Its steps log what fails.
	_ = m.operation(ctx, opReconcile, event.VM, event.UUID, func(ctx context.Context, o *operation) error {
		unlock, err := o.lockVM(ctx)
		if err != nil {
			return err
		}
		defer unlock()
		var v *view
		err = o.step(ctx, "look", "", func(ctx context.Context) (err error) {
			v, err = m.load(ctx, o.id)
			return err
		})
		switch {
		case err != nil:
			return err
		case v.elsewhere != "":
			return nil
		case v.outdated != nil:
			return v.outdated
		case v.task != nil:
			return o.step(ctx, "recover", v.task.Operation, func(ctx context.Context) error { return m.recover(ctx, v) })
		case !v.defined:
			m.goneness(ctx, v, ReconcileOptions{}) // the first look
			return nil
		}
		if err := o.reown(ctx, v); err != nil {
			return err
		}
		var failures []error
		for _, d := range v.surplus() {
			failures = append(failures, o.step(ctx, string(ActionRelease), d.ID, func(ctx context.Context) error {
				ctx, cancel := context.WithTimeout(ctx, m.timeouts.Release)
				defer cancel()
				if err := m.waitFree(ctx, v, d); err != nil {
					return err
				}
				return o.removeDevice(ctx, v, d.ID)
			}))
		}
		return fault.Join(failures...)
	})
}
