package vgpu

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/vgpukit/vgpukit/internal/atomicfile"
	"github.com/vgpukit/vgpukit/mdev"
)

// ReconcileOptions says how far Reconcile may go.
type ReconcileOptions struct {
	// DryRun tells what would be done and does nothing.
	DryRun bool
	// Restore makes Reserved vGPUs again that vanished, as after a reboot of the
	// host. Without it their VMs are named, and Start restores them.
	Restore bool
}

// ActionKind is what Reconcile found and does about it.
type ActionKind string

const (
	ActionFinish   ActionKind = "finish"    // an operation was interrupted: finish or undo it
	ActionGiveBack ActionKind = "give-back" // the VM is off and its vGPU lives only while it runs: remove the vGPU
	ActionOrphan   ActionKind = "orphan"    // the VM was undefined, its vGPU is left: remove it
	ActionAdopt    ActionKind = "adopt"     // the document names vGPUs of ours and the claim is lost or old: write it
	ActionForget   ActionKind = "forget"    // the VM is gone and so are its vGPUs: drop the claim
	ActionRestore  ActionKind = "restore"   // a Reserved vGPU vanished: make it again, if asked to
	ActionSetAside ActionKind = "set-aside" // an entry of the state directory is damaged: move it away
	ActionSweep    ActionKind = "sweep"     // a temporary file of a writer that died: remove it

	ReportForeign ActionKind = "foreign" // a device has our id and another type: left alone
	ReportGhost   ActionKind = "ghost"   // a blocked removal of somebody holds an instance: gone when its VM ends
	ReportBusy    ActionKind = "busy"    // another operation is at work on the VM: left alone
	ReportOther   ActionKind = "other"   // the VM was provisioned through another libvirt and is not known here: left alone
	ReportUnread  ActionKind = "unread"  // a domain's document, an entry or a part of the host could not be read: left alone
)

// Action is one finding and what was done about it.
type Action struct {
	Kind   ActionKind `json:"kind"`
	VM     string     `json:"vm,omitempty"`
	Object string     `json:"object,omitempty"` // a vGPU's id, an operation, a file
	Reason string     `json:"reason"`
	Done   bool       `json:"done"`            // false: only reported, in a dry run, or failed
	Error  string     `json:"error,omitempty"` // why it failed
	Next   string     `json:"next,omitempty"`  // what to do about it

	err error
}

// Err is why the action failed, for [errors.Is].
func (a Action) Err() error { return a.err }

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
func (m *Manager) Reconcile(ctx context.Context, opts ReconcileOptions) (Report, error) {
	s, err := m.survey(ctx)
	if err != nil {
		return Report{}, m.operation(opReconcile, "").wrap("look", "", err)
	}
	report := Report{Actions: append([]Action{}, m.tidy(opts)...), Strangers: s.strangers()}
	for _, name := range s.names() {
		if _, unread := s.unread[name]; unread {
			continue // what it has cannot be known
		}
		found := s.views[name].findings(name, s, opts)
		if needsWork(found) && !opts.DryRun {
			found = m.settleVM(ctx, name, s, opts, found)
		}
		report.Actions = append(report.Actions, found...)
	}
	report.Actions = append(report.Actions, s.oddities()...)
	var failures []error
	for _, a := range report.Actions {
		failures = append(failures, a.err)
	}
	return report, errors.Join(failures...)
}

// findings is what is to be done about one VM: a pure function, so that a dry
// run and a real one cannot differ.
func (v *view) findings(name string, s *survey, opts ReconcileOptions) []Action {
	if v.elsewhere != "" {
		return []Action{{
			Kind: ReportOther, VM: name, Object: v.elsewhere, Reason: "the VM was provisioned through that libvirt and is not known to this one",
			Next: "reconcile with a connection to that libvirt",
		}}
	}
	if v.intent != nil {
		return []Action{{
			Kind: ActionFinish, VM: name, Object: v.intent.Operation,
			Reason: fmt.Sprintf("process %d began it at %s and did not finish", v.intent.PID, v.intent.Since.Format(time.RFC3339)),
		}}
	}
	var found []Action
	for _, id := range slices.Sorted(maps.Keys(v.foreign)) {
		found = append(found, Action{Kind: ReportForeign, VM: name, Object: id, Reason: v.foreign[id], Next: "remove it if you know whose it is, then start the VM"})
	}
	for _, d := range v.surplus() {
		found = append(found, Action{Kind: ActionGiveBack, VM: name, Object: d.ID, Reason: "the VM is off and its vGPU lives only while it runs"})
	}
	if v.state() == StateIncomplete {
		for _, d := range v.missing() {
			if _, foreign := v.foreign[d.ID]; foreign {
				continue
			}
			a := Action{Kind: ActionRestore, VM: name, Object: d.ID, Reason: "the vGPU does not exist; the kernel forgets vGPUs when the host reboots"}
			if !opts.Restore {
				a.Next = "start the VM, or reconcile with restore, to make it again"
			}
			found = append(found, a)
		}
	}
	claimed := v.claim != nil && (!v.ours || sameDevices(v.claim.Devices, v.devices))
	if v.claim != nil {
		for _, d := range v.claim.Devices {
			_, exists := v.found[d.ID]
			owner, named := s.namedBy[d.ID]
			if mine := v.ours && slices.ContainsFunc(v.devices, func(e device) bool { return e.ID == d.ID }); mine || owner == name {
				owner, named = name, mine // the domains were listed before, and the VM may have come or gone
			}
			if len(s.unread) > 0 && !named {
				return found // the domain that could not be read may have it
			}
			if exists && !named {
				found = append(found, Action{Kind: ActionOrphan, VM: name, Object: d.ID, Reason: "we made it for the VM, and no domain has it"})
			} else if exists && owner != name && v.defined {
				claimed = false
			}
		}
	}
	switch {
	case v.ours && !claimed:
		found = append(found, Action{Kind: ActionAdopt, VM: name, Reason: "its document names vGPUs of ours and the state directory does not"})
	case v.claim != nil && !v.ours:
		found = append(found, Action{Kind: ActionForget, VM: name, Reason: "no domain of that name has vGPUs of ours"})
	}
	return found
}

func needsWork(found []Action) bool { return slices.ContainsFunc(found, Action.toDo) }

// toDo tells whether there is something to do, and not only to report.
func (a Action) toDo() bool {
	return a.Kind != ReportForeign && a.Kind != ReportOther && !(a.Kind == ActionRestore && a.Next != "")
}

// settleVM does what is to be done about one VM, under its lock and upon a fresh
// look.
func (m *Manager) settleVM(ctx context.Context, name string, s *survey, opts ReconcileOptions, seen []Action) []Action {
	o := m.operation(opReconcile, name)
	failed := func(kind ActionKind, object string, err error) []Action {
		return []Action{failure(Action{Kind: kind, VM: name, Object: object, Reason: "could not be looked at"}, err)}
	}
	// Whoever has the lock is at work on the VM: no need to wait.
	soon, cancel := context.WithTimeout(ctx, lockPollMost)
	defer cancel()
	unlock, err := m.store.lock(soon, "vm", name, "reconcile "+name)
	if errors.Is(err, ErrBusy) && ctx.Err() == nil {
		return []Action{{Kind: ReportBusy, VM: name, Reason: err.Error(), Next: "reconcile again when it is done"}}
	}
	if err != nil {
		return failed(seen[0].Kind, seen[0].Object, err)
	}
	defer unlock()
	v, err := m.look(ctx, name)
	if err != nil {
		return failed(seen[0].Kind, seen[0].Object, err)
	}
	var done []Action
	// Finishing an operation may uncover more, once: what it leaves is settled.
	for round := 0; round < 2; round++ {
		unfinished := v.intent != nil
		found := v.findings(name, s, opts)
		for _, a := range found {
			a = m.act(ctx, o, v, a)
			if done = append(done, a); a.err != nil {
				return done // what is left stays claimed, for the next time
			}
		}
		if !unfinished {
			break
		}
		if v, err = m.look(ctx, name); err != nil {
			return append(done, failed(ActionFinish, name, err)...)
		}
	}
	if !v.defined && v.intent == nil {
		m.store.dropLock(name)
	}
	return done
}

// act does one action.
func (m *Manager) act(ctx context.Context, o *operation, v *view, a Action) Action {
	if !a.toDo() {
		return a
	}
	err := o.step(string(a.Kind), a.Object, func() error {
		switch a.Kind {
		case ActionFinish:
			return m.recover(ctx, v)
		case ActionGiveBack, ActionOrphan:
			for _, d := range v.everyDevice() {
				if d.ID == a.Object {
					return m.removeDevice(ctx, o.vm, d)
				}
			}
		case ActionAdopt:
			r := *o
			r.op = opAdopt
			if err := m.takeOver(ctx, v, o.vm); err != nil {
				return err
			}
			if _, err := r.intend(v, nil); err != nil {
				return err
			}
			return m.store.settle(o.vm)
		case ActionForget:
			if err := m.endLeases(ctx, v, o.vm); err != nil {
				return err
			}
			return m.store.forget(o.vm)
		case ActionRestore:
			return m.restore(ctx, v, o.vm)
		}
		return nil
	})
	if err != nil {
		return failure(a, err)
	}
	a.Done = true
	return a
}

// restore makes all of a VM's vanished vGPUs again; the first of its actions
// does it for all.
func (m *Manager) restore(ctx context.Context, v *view, name string) error {
	if len(v.missing()) == 0 {
		return nil
	}
	o := m.operation(opStart, name)
	rec, moved, err := o.ensure(ctx, v)
	if err != nil {
		return err
	}
	if err := o.close(rec.VM, moved); err != nil {
		return err
	}
	fresh, err := m.look(ctx, name)
	if err == nil {
		*v = *fresh
	}
	return err
}

func failure(a Action, err error) Action {
	a.err, a.Error = err, err.Error()
	var hint interface{ Hint() string }
	if errors.As(err, &hint) {
		a.Next = hint.Hint()
	}
	return a
}

// strangers lists the devices that no domain's metadata, claim or intent names.
func (s *survey) strangers() []mdev.Device {
	ours := map[string]bool{}
	for _, v := range s.views {
		for _, d := range v.everyDevice() {
			_, foreign := v.foreign[d.ID]
			_, found := v.found[d.ID]
			ours[d.ID] = ours[d.ID] || found || !foreign && !d.vf()
		}
	}
	strangers := []mdev.Device{}
	for _, id := range s.order {
		if !ours[id] && s.devices[id].State != mdev.StateGhost { // a ghost is reported as one
			strangers = append(strangers, s.devices[id])
		}
	}
	return strangers
}

// oddities reports what belongs to no VM of ours and is worth knowing.
func (s *survey) oddities() []Action {
	var odd []Action
	for _, id := range s.order {
		if d := s.devices[id]; d.State == mdev.StateGhost {
			odd = append(odd, Action{
				Kind: ReportGhost, VM: s.namedBy[id], Object: id, Reason: "a removal of it is blocked by the VM that holds it; it still takes an instance on " + d.Parent,
				Next: "it goes when that VM ends",
			})
		}
	}
	for _, p := range s.inventory.AllProblems() {
		if p.Err != nil {
			odd = append(odd, Action{Kind: ReportUnread, Object: p.Object, Reason: p.Text, Error: p.Err.Error(), Next: p.Next})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(s.unread)) {
		odd = append(odd, failure(Action{Kind: ReportUnread, VM: name, Reason: "the domain's document could not be read"}, s.unread[name]))
	}
	return odd
}

// tidy sets damaged entries aside and removes the temporary files of writers
// that died, each under the lock of the VM whose file it is.
func (m *Manager) tidy(opts ReconcileOptions) []Action {
	var actions []Action
	for _, sub := range []string{journalDir, claimsDir} { // a damaged lease counts as none
		_, unread, err := m.store.all(sub)
		if err != nil {
			return append(actions, failure(Action{Kind: ActionSetAside, Object: sub, Reason: "the state directory could not be read"}, err))
		}
		for _, path := range slices.Sorted(maps.Keys(unread)) {
			actions = append(actions, m.tidyEntry(opts, path, unread[path]))
		}
	}
	for _, sub := range []string{journalDir, claimsDir, leasesDir} {
		entries, err := os.ReadDir(filepath.Join(m.store.dir, sub))
		if err != nil {
			continue // said above
		}
		for _, entry := range entries {
			if !atomicfile.IsTemp(entry.Name()) {
				continue
			}
			path := filepath.Join(m.store.dir, sub, entry.Name())
			a := Action{Kind: ActionSweep, Object: path, Reason: "a writer died before it was done"}
			actions = append(actions, m.underFileLock(opts, a, atomicfile.Target(path), func(*Action) error { return os.Remove(path) }))
		}
	}
	return actions
}

// tidyEntry sets an entry aside if it is damaged, and reports it if it only cannot
// be read.
func (m *Manager) tidyEntry(opts ReconcileOptions, path string, why error) Action {
	var damaged *damagedError
	if !errors.As(why, &damaged) {
		return failure(Action{Kind: ReportUnread, Object: path, Reason: "the entry could not be read"}, why)
	}
	return m.underFileLock(opts, Action{Kind: ActionSetAside, Object: path, Reason: damaged.err.Error()}, path, func(a *Action) error {
		if _, err := m.store.load(path); strings.HasSuffix(path, ".json") && !errors.As(err, &damaged) {
			return err // its owner has written it anew meanwhile
		}
		to, err := m.store.setAside(damaged)
		a.Reason += "; it is kept as " + to
		return err
	})
}

// underFileLock acts on a file of the state directory under the lock of its VM or
// virtual function, whose file name follows from the file's.
func (m *Manager) underFileLock(opts ReconcileOptions, a Action, path string, do func(*Action) error) Action {
	if opts.DryRun {
		return a
	}
	kind := "vm-"
	if filepath.Base(filepath.Dir(path)) == leasesDir {
		kind = "vf-"
	}
	lock := filepath.Join(m.store.dir, locksDir, kind+strings.TrimSuffix(filepath.Base(path), ".json"))
	f, err := m.store.tryLock(lock, opReconcile)
	if err != nil {
		a.Kind, a.Next = ReportBusy, "reconcile again later"
		return a
	}
	defer f.Close()
	if err := do(&a); err != nil && !errors.Is(err, os.ErrNotExist) {
		return failure(a, err)
	}
	a.Done = true
	return a
}
