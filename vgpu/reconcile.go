package vgpu

import (
	"context"
	"errors"

	"github.com/google/uuid"

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
	// Repair writes the copy of a grant again into a document whose metadata differs.
	Repair bool `json:"repair,omitempty"`
	// Now collects what was granted to a VM that libvirt does not have any more without
	// waiting for a second look.
	Now bool `json:"now,omitempty"`
}

// Report is what Reconcile found and did.
type Report struct {
	Actions []Action `json:"actions"`
	// Strangers are vGPUs on the host that are not ours. They are never touched.
	Strangers []mdev.Device `json:"strangers"`
}

// Reconcile compares grants, operations, the host and the domains, and
// finishes or undoes whatever is half done: interrupted operations, vGPUs whose
// VM is gone, vGPUs left over from a VM that stopped by itself. It touches
// nothing that is not ours: copies, drift and strangers are told. An action that fails is
// reported and does not keep the others from being done; the error joins them. Doing it again
// at once changes nothing. The cost grows with the number of VMs and vGPUs.
//
// What was granted to a VM that libvirt does not have any more is collected when a second
// look, [Grace] after the first, finds the same: see [ReconcileOptions.Now].
//
// Call it when a program starts, and after a reboot of the host.
func (m *Manager) Reconcile(ctx context.Context, opts ReconcileOptions) (report Report, err error) {
	err = m.operation(ctx, opReconcile, "", uuid.Nil, func(ctx context.Context, o *operation) error {
		if err := m.upgrade(ctx); err != nil {
			return o.wrap("look", "", err)
		}
		tidied := m.tidy(opts) // first: what is damaged keeps back what it may be about
		s, err := m.survey(ctx)
		if err != nil {
			return o.wrap("look", "", err)
		}
		report = Report{Actions: append([]Action{}, tidied...), Strangers: s.strangers(m.boot())}
		for _, v := range s.sorted() {
			if _, unread := s.unread[v.id]; unread {
				continue // what it has cannot be known
			}
			found := v.findings(s, m.goneness(ctx, v, opts), opts)
			if needsWork(found) && !opts.DryRun {
				found = m.reconcileVM(ctx, v, s, opts, found)
			}
			report.Actions = append(report.Actions, found...)
		}
		report.Actions = append(report.Actions, m.tidyOwners(ctx, s, opts)...)
		report.Actions = append(report.Actions, s.anomalies()...)
		report.Actions = append(report.Actions, m.voidPolicies(s.inventory)...)
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
func (m *Manager) reconcileVM(ctx context.Context, seen *view, s *survey, opts ReconcileOptions, found []Action) (done []Action) {
	// Failures are in the actions.
	_ = m.operation(ctx, opReconcile, seen.name, seen.id, func(ctx context.Context, o *operation) error {
		done = o.reconcile(ctx, s, opts, found)
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
	unlock, err := m.lockSoon(ctx, lockOfVM, o.id.String(), "reconcile "+o.vm)
	if errors.Is(err, ErrBusy) && ctx.Err() == nil {
		return []Action{{Kind: ReportBusy, VM: o.vm, Reason: err.Error(), Next: "reconcile again when it is done"}}
	}
	if err != nil {
		return failed(seen[0].Kind, seen[0].Object, err)
	}
	defer unlock()
	v, err := m.load(ctx, o.id)
	if err == nil && v.outdated != nil {
		return v.told(ReportOutdated)
	}
	if err != nil {
		return failed(seen[0].Kind, seen[0].Object, err)
	}
	var done []Action
	// Finishing an operation may uncover more, once: what it leaves is done too.
	for round := 0; round < 2; round++ {
		unfinished := v.task != nil
		for _, a := range v.findings(s, m.goneness(ctx, v, opts), opts) {
			a = o.act(ctx, v, a)
			if done = append(done, a); a.Error != nil {
				return done // what is left stays granted, for the next time
			}
		}
		if !unfinished {
			break
		}
		if v, err = m.load(ctx, o.id); err != nil {
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
			if err := o.reown(ctx, v); err != nil {
				return err
			}
			return o.removeDevice(ctx, v, a.Object)
		case ActionOwn:
			return o.reown(ctx, v)
		case ActionForget:
			o.record("collected", "")
			return m.endGrant(o.id, o.number)
		case ActionRestore:
			return m.restore(ctx, v)
		case ActionRepair:
			doc, err := v.doc.WithMetadata(v.grant.metadata())
			if err == nil {
				_, err = m.hyper.Define(ctx, doc.String())
			}
			return err
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
	return m.operation(ctx, opStart, v.name, v.id, func(ctx context.Context, o *operation) error {
		if _, err := o.ensure(ctx, v, false); err != nil {
			return err
		}
		if err := o.close(ctx); err != nil {
			return err
		}
		fresh, err := m.load(ctx, o.id)
		if err == nil {
			*v = *fresh
		}
		return err
	})
}
