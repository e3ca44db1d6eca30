package vgpu

import (
	"context"
	"errors"

	"github.com/vgpukit/vgpukit/internal/fault"
	"github.com/vgpukit/vgpukit/mdev"
)

// ReconcileOptions says how far Reconcile may go.
type ReconcileOptions struct {
	// DryRun tells what would be done and does nothing.
	DryRun bool `json:"dry_run,omitempty"`
	// Restore makes Reserved vGPUs again that vanished, as after a reboot of the
	// host. Without it their VMs are named, and Start restores them.
	Restore bool `json:"restore,omitempty"`
}

// Report is what Reconcile found and did.
type Report struct {
	Actions []Action `json:"actions"`
	// Strangers are vGPUs on the host that are not ours. They are never touched.
	Strangers []mdev.Device `json:"strangers"`
}

// Reconcile compares the journal, the claims, the host and the domains, and
// finishes or undoes whatever is half done: interrupted operations, vGPUs whose
// VM is gone, vGPUs left over from a VM that stopped by itself. It touches
// nothing that is not ours. An action that fails is reported and does not keep
// the others from being done; the error joins them. Doing it again at once
// changes nothing. The cost grows with the number of VMs and vGPUs.
//
// Call it when a program starts, and after a reboot of the host.
func (m *Manager) Reconcile(ctx context.Context, opts ReconcileOptions) (report Report, err error) {
	err = m.operation(ctx, opReconcile, "", func(ctx context.Context, o *operation) error {
		s, err := m.survey(ctx)
		if err != nil {
			return o.wrap("look", "", err)
		}
		report = Report{Actions: append([]Action{}, m.tidy(opts)...), Strangers: s.strangers()}
		for _, name := range s.names() {
			if _, unread := s.unread[name]; unread {
				continue // what it has cannot be known
			}
			found := s.views[name].findings(s, opts)
			if needsWork(found) && !opts.DryRun {
				found = m.reconcileVM(ctx, name, s, opts, found)
			}
			report.Actions = append(report.Actions, found...)
		}
		report.Actions = append(report.Actions, s.anomalies()...)
		return report.failures()
	})
	return report, err
}

// failures are those of the actions, joined.
func (r Report) failures() error {
	var failures []error
	for _, a := range r.Actions {
		if a.Error != nil && !a.partial {
			failures = append(failures, a.Error)
		}
	}
	return fault.Join(failures...)
}

// reconcileVM does what is to be done about one VM, under its lock and upon a fresh
// look.
func (m *Manager) reconcileVM(ctx context.Context, name string, s *survey, opts ReconcileOptions, seen []Action) (done []Action) {
	// Failures are in the actions.
	_ = m.operation(ctx, opReconcile, name, func(ctx context.Context, o *operation) error {
		done = o.reconcile(ctx, s, opts, seen)
		return Report{Actions: done}.failures()
	})
	return done
}

func (o *operation) reconcile(ctx context.Context, s *survey, opts ReconcileOptions, seen []Action) []Action {
	m := o.m
	failed := func(kind ActionKind, object string, err error) []Action {
		return []Action{Action{Kind: kind, VM: o.vm, Object: object, Reason: "could not be looked at"}.failed(o.wrap("look", "", err))}
	}
	// The process that has the lock is at work on the VM: no need to wait.
	unlock, err := m.lockSoon(ctx, lockOfVM, o.vm, "reconcile "+o.vm)
	if errors.Is(err, ErrBusy) && ctx.Err() == nil {
		return []Action{{Kind: ReportBusy, VM: o.vm, Reason: err.Error(), Next: "reconcile again when it is done"}}
	}
	if err != nil {
		return failed(seen[0].Kind, seen[0].Object, err)
	}
	defer unlock()
	v, err := m.load(ctx, o.vm)
	if err != nil {
		return failed(seen[0].Kind, seen[0].Object, err)
	}
	var done []Action
	// Finishing an operation may uncover more, once: what it leaves is done too.
	for round := 0; round < 2; round++ {
		unfinished := v.intent != nil
		for _, a := range v.findings(s, opts) {
			a = o.act(ctx, v, a)
			if done = append(done, a); a.Error != nil {
				return done // what is left stays claimed, for the next time
			}
		}
		if !unfinished {
			break
		}
		if v, err = m.load(ctx, o.vm); err != nil {
			return append(done, failed(ActionFinish, o.vm, err)...)
		}
	}
	return done
}

// act does one action.
func (o *operation) act(ctx context.Context, v *view, a Action) Action {
	if !a.toDo() {
		return a
	}
	m := o.m
	err := o.step(ctx, string(a.Kind), a.Object, func(ctx context.Context) error {
		switch a.Kind {
		case ActionFinish:
			return m.recover(ctx, v)
		case ActionRelease, ActionOrphan:
			for _, d := range v.everyDevice() {
				if d.ID == a.Object {
					return m.removeDevice(ctx, o.vm, d)
				}
			}
		case ActionAdopt:
			return m.operation(ctx, opAdopt, o.vm, func(ctx context.Context, o *operation) error {
				if err := m.takeOverVFs(ctx, v); err != nil {
					return err
				}
				if _, err := o.intend(ctx, v, nil); err != nil {
					return err
				}
				return m.store.promote(o.vm)
			})
		case ActionForget:
			if err := m.releaseEmptyVFs(ctx, v); err != nil {
				return err
			}
			return m.store.forget(o.vm)
		case ActionRestore:
			return m.restore(ctx, v)
		}
		return nil
	})
	if err != nil {
		return a.failed(err)
	}
	a.Done = true
	return a
}

// restore makes all of a VM's vanished vGPUs again; the first of its actions
// does it for all.
func (m *Manager) restore(ctx context.Context, v *view) error {
	if len(v.missing()) == 0 {
		return nil
	}
	return m.operation(ctx, opStart, v.name, func(ctx context.Context, o *operation) error {
		_, moved, err := o.ensure(ctx, v)
		if err != nil {
			return err
		}
		if err := o.close(ctx, moved); err != nil {
			return err
		}
		fresh, err := m.load(ctx, o.vm)
		if err == nil {
			*v = *fresh
		}
		return err
	})
}
