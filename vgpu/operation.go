package vgpu

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/google/uuid"

	"github.com/vgpukit/vgpukit/domain"
	"github.com/vgpukit/vgpukit/internal/devicexml"
	"github.com/vgpukit/vgpukit/internal/fault"
	"github.com/vgpukit/vgpukit/internal/patience"
	"github.com/vgpukit/vgpukit/internal/statedir"
	"github.com/vgpukit/vgpukit/mdev"
)

// operation is one call of the Manager on one VM: it does steps, remembers how
// to undo them, and reports them.
type operation struct {
	m      *Manager
	op     string
	vm     string    // its name, as the caller gave it
	id     uuid.UUID // the VM's; zero: of none
	byUUID bool      // the caller gave the VM's UUID
	dryRun bool      // it tells what would be done
	number uuid.UUID // the operation's own, in the owner files that it writes
	begun  time.Time
	log    *slog.Logger
	undos  []undo
	// unsure: a step ended without an answer; whether it has its effect shows
	// later, so that the intent must stay on disk.
	unsure bool
	// asked: the VM was told to end.
	asked bool
	// unwritten: there is no room for the intent of an operation that only frees things,
	// and it goes on without.
	unwritten bool
	// created are the vGPUs that were made, as they were read back, by id.
	created map[string]mdev.Device
	// suspects are parents that refused a vGPU, of which it is not known yet why.
	suspects []suspect
}

// advantage is how much earlier an operation counts as begun where it waits in line: who starts
// or ends a VM waits long for that alone, and others work meanwhile.
var advantage = map[string]time.Duration{opStart: ahead, opStop: ahead, opTeardown: ahead}

const ahead = 10 * time.Second

type undo struct {
	step Step
	do   func(context.Context) error
}

// operation runs one, tells the Observer, and gives its error its place.
func (m *Manager) operation(ctx context.Context, op, vm string, id uuid.UUID, do func(context.Context, *operation) error) error {
	begin := time.Now()
	o := &operation{m: m, op: op, vm: vm, id: id, number: uuid.New(), begun: begin, created: map[string]mdev.Device{}, log: m.log.With("op", op, "vm", vm)}
	whole := Operation{Op: op, VM: vm}
	ctx = m.observer.operationBegun(ctx, whole)
	ctx = patience.Since(ctx, begin.Add(-advantage[op]))
	_ = m.seeBoot(ctx) // the last one holds if it cannot be read
	err := do(ctx, o)
	whole.Took = time.Since(begin)
	if err != nil {
		err = o.wrap("", "", err)
	}
	m.observer.operationEnded(ctx, whole, err)
	return err
}

// onVM runs an operation under the VM's lock, after whatever was interrupted on that
// VM was finished or undone. What the caller asked for may be wrong, which is told first.
func (m *Manager) onVM(ctx context.Context, op, vm string, wrong error, do func(context.Context, *operation, *view) error) error {
	return m.operation(ctx, op, vm, uuid.Nil, func(ctx context.Context, o *operation) error {
		return o.onVM(ctx, wrong, do)
	})
}

// onVM is [Manager.onVM] of an operation that has begun, on the VM that its caller named.
func (o *operation) onVM(ctx context.Context, wrong error, do func(context.Context, *operation, *view) error) error {
	if err := cmp.Or(checkName(o.vm), wrong); err != nil {
		return o.wrap("check", "", err)
	}
	err := o.step(ctx, "find", "", func(ctx context.Context) (err error) {
		o.id, err = o.m.resolve(ctx, o.vm)
		return err
	})
	if err != nil {
		return err
	}
	return o.locked(ctx, do)
}

// locked does what is to be done under the lock of the operation's VM. A dry run finishes
// nothing that was interrupted, and writes nothing.
func (o *operation) locked(ctx context.Context, do func(context.Context, *operation, *view) error) error {
	unlock, err := o.lockVM(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	v, err := o.look(ctx)
	if err == nil && o.dryRun {
		if v.task != nil {
			return o.wrap("look", "", &Error{
				Kind: ErrState, Err: fmt.Errorf("its operation (%s) was not finished, and a dry run does not finish it", v.task.Operation), Next: "reconcile first",
			})
		}
		return do(ctx, o, v)
	}
	if err == nil && v.task != nil && !o.supersedes(v) {
		if err = o.step(ctx, "recover", v.task.Operation, func(ctx context.Context) error { return o.m.recover(ctx, v) }); err == nil {
			v, err = o.look(ctx)
		}
	}
	if err == nil && len(v.unowned) > 0 {
		err = o.step(ctx, "own", "", func(ctx context.Context) error { return o.reown(ctx, v) })
	}
	if err != nil {
		return err
	}
	return do(ctx, o, v)
}

// lockVM keeps others away from the operation's VM.
func (o *operation) lockVM(ctx context.Context) (unlock func(), err error) {
	err = o.step(ctx, "lock", "", func(ctx context.Context) error {
		unlock, err = o.m.lock(ctx, lockOfVM, o.id.String(), o.op+" "+o.vm)
		return err
	})
	return unlock, err
}

// look loads the VM, as a step. It refuses one that another libvirt has.
func (o *operation) look(ctx context.Context) (v *view, err error) {
	err = o.step(ctx, "look", "", func(ctx context.Context) error {
		if v, err = o.m.load(ctx, o.id); err == nil {
			if _, o.byUUID = devicexml.ParseUUID(o.vm); o.byUUID && v.name != "" {
				o.vm = v.name // for people
			}
			err = o.mayActOn(v)
		}
		return err
	})
	return v, err
}

// mayActOn refuses a VM that another libvirt has, or whose grant came from a backup.
func (o *operation) mayActOn(v *view) error {
	elsewhere := o.m.checkHypervisor(v)
	if o.op == opForget && o.byUUID {
		elsewhere = nil // that libvirt may be no more
	}
	if elsewhere == nil && v.outdated != nil {
		return v.outdated
	}
	return elsewhere
}

// checkHypervisor refuses a VM that another libvirt has.
func (m *Manager) checkHypervisor(v *view) error {
	if v.elsewhere == "" {
		return nil
	}
	return &Error{
		Kind: ErrExists, Err: fmt.Errorf("its vGPUs were granted to a VM of libvirt at %s, and this is %s", v.elsewhere, m.libvirt),
		Next: "connect to that libvirt, or give the VM another UUID",
	}
}

// supersedes tells whether this operation does what the one that was interrupted
// began, and as this caller wants it.
func (o *operation) supersedes(v *view) bool {
	switch o.op {
	case opStop:
		return v.task.Operation == opStop && v.ours()
	case opTeardown:
		return (v.task.Operation == opStop || v.task.Operation == opTeardown) && v.ours()
	}
	return false
}

// admit refuses an operation on a VM that is not ours or not in a state for it.
func (o *operation) admit(v *view) error {
	if !v.defined && v.grant != nil {
		return o.wrap("look", "", &Error{
			Kind: ErrNotFound, Err: errors.New("libvirt does not have the VM any more, and vGPUs are granted to it"),
			Next: "define it again, tear it down, or forget it",
		})
	}
	if v.defined && !v.ours() {
		return o.wrap("look", "", v.carriesCopy())
	}
	return o.wrapIf("look", legal(o.op, v.state()))
}

// step does one step. If it fails, the error says where.
func (o *operation) step(ctx context.Context, name, object string, do func(context.Context) error) error {
	step := Step{Op: o.op, VM: o.vm, Name: name, Object: object}
	within := o.m.observer.stepBegun(ctx, step)
	begin := time.Now()
	err := do(within)
	step.Took = time.Since(begin)
	if err != nil {
		err = o.wrap(name, object, err)
		o.log.Error("step failed", "step", name, "object", object, "err", err)
	} else {
		o.log.Debug("step done", "step", name, "object", object, "took", step.Took)
	}
	o.m.observer.stepEnded(within, step, err)
	return err
}

// wait tells the observer that a step waits for something.
func (o *operation) wait(ctx context.Context, name, what string) {
	o.log.Info("waiting", "step", name, "for", what)
	o.m.observer.stepWaits(ctx, Step{Op: o.op, VM: o.vm, Name: name}, what)
}

// onFailure remembers how to undo a step. It is registered before the step's
// effect, so the func must be content to find nothing to undo. withdraw takes the
// last one back, when it is known that there is nothing.
func (o *operation) onFailure(name, object string, do func(context.Context) error) (withdraw func()) {
	o.undos = append(o.undos, undo{step: Step{Op: o.op, VM: o.vm, Name: name, Object: object}, do: do})
	return func() { o.undos = o.undos[:len(o.undos)-1] }
}

// rollback undoes the steps, last first, on its own deadline: the caller's
// context may be gone. It returns what could not be undone.
func (o *operation) rollback(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), o.m.timeouts.Undo)
	defer cancel()
	var failures []error
	for i := len(o.undos) - 1; i >= 0; i-- {
		u := o.undos[i]
		begin := time.Now()
		err := u.do(ctx)
		u.step.Took = time.Since(begin)
		if err != nil {
			err = o.wrap("undo "+u.step.Name, u.step.Object, err)
			o.log.Error("undo failed", "step", u.step.Name, "object", u.step.Object, "err", err)
			failures = append(failures, err)
		}
		o.m.observer.stepUndone(ctx, u.step, err)
	}
	o.undos = nil
	return fault.Join(failures...)
}

// fail undoes what was done and closes the journal entry, unless something
// could not be undone or may still take effect: then the entry stays for
// Reconcile.
func (o *operation) fail(ctx context.Context, err error) error {
	failures := o.rollback(ctx)
	if failures != nil || o.unsure {
		return o.unfinished(fault.Join(err, failures), "not everything could be undone; what is left is noted",
			"run reconcile, or repeat the operation: either finishes or undoes it")
	}
	return fault.Join(err, o.end())
}

// unfinished is an error after which something is left to do.
func (o *operation) unfinished(err error, left, next string) error {
	return &Error{Op: o.op, VM: o.vm, Kind: kindOf(err), Err: err, Cause: left, Next: next}
}

// wrap gives an error its place. Of an *Error from deeper in this operation the place
// is known already.
func (o *operation) wrap(step, object string, err error) error {
	inner, ok := err.(*Error)
	switch {
	case ok && inner.Op == o.op && inner.VM == o.vm:
		return inner
	case ok && inner.Op == "":
		placed := *inner
		placed.Op, placed.VM = o.op, o.vm
		if placed.Step == "" {
			placed.Step = step
		}
		if placed.Object == "" {
			placed.Object = object
		}
		return &placed
	}
	return &Error{Op: o.op, VM: o.vm, Step: step, Object: object, Kind: kindOf(err), Err: err}
}

// task is what is stored of the operation on a VM.
func (o *operation) task(v *view, change func(*task)) task {
	t := task{
		VM: o.id, Name: o.vm, Number: o.number, Operation: o.op, Since: time.Now().UTC().Truncate(time.Second), PID: os.Getpid(),
		Boot: o.m.boot(), Libvirt: o.m.libvirt, Run: v.info.ID,
	}
	if o.op == opProvision || o.op == opAdopt {
		t.After = o.m.lastNumber(o.id).Number
	}
	if change != nil {
		change(&t)
	}
	return t
}

// begin writes the task of an operation that has not done anything yet. If that
// fails half way, nothing shall be left that Reconcile would finish.
func (o *operation) begin(ctx context.Context, v *view, change func(*task)) error {
	return o.step(ctx, "journal", "", func(context.Context) error { return o.writeTask(o.task(v, change)) })
}

func (o *operation) writeTask(t task) error {
	err := o.m.store.tasks.Write(t)
	if err != nil {
		_ = o.end() // the entry may be there: only its directory's sync failed
	}
	return err
}

// beginToFree is begin for an operation that only frees things: on a full disk it goes
// on without. If it is interrupted, what is left is a VM that is off, or vGPUs of a VM that
// is gone: Reconcile finds both by the grant.
func (o *operation) beginToFree(ctx context.Context, v *view, change func(*task)) error {
	return o.step(ctx, "journal", "", func(context.Context) error {
		err := o.writeTask(o.task(v, change))
		if o.unwritten = statedir.Unwritable(err); o.unwritten {
			o.log.Warn("the operation cannot be noted; what frees things goes on without", "err", err)
			return nil
		}
		return err
	})
}

// end takes the task away, after the last effect was seen. That need not last through a
// loss of power: what is done again then finds it done.
func (o *operation) end() error { return o.m.store.tasks.Drop(o.id.String()) }

// close ends the operation.
func (o *operation) close(ctx context.Context) error {
	return o.step(ctx, "close", "", func(context.Context) error { return o.end() })
}

// grant writes what the VM is granted.
func (o *operation) grant(ctx context.Context, v *view, g grant) error {
	return o.step(ctx, "grant", "", func(context.Context) error {
		g := g.next(v.grant)
		g.Number = max(g.Number, o.m.lastNumber(g.VM).Number) // the VM had others in this boot
		return o.m.writeGrant(g, o.number)
	})
}

// writeGrant writes a grant and notes its number for this boot, with the operation's.
func (m *Manager) writeGrant(g grant, by uuid.UUID) error {
	if err := m.store.grants.Write(g); err != nil {
		return err
	}
	if err := m.store.numbers.Replace(numbered{g.VM, g.Number, by}); err != nil {
		m.log.Warn("the number of a grant cannot be noted", "vm", g.Name, "err", err)
	}
	return nil
}

// endGrant takes a VM's grant away. Its number is passed over, so that a backup does not bring
// it back in this boot.
func (m *Manager) endGrant(vm, by uuid.UUID) error {
	ended := numbered{VM: vm, Number: 1, By: by}
	if last := m.lastNumber(vm); last.Number > 0 {
		ended.Number += last.Number
	} else if g, ok, err := m.store.grants.Read(vm.String()); err == nil && ok {
		ended.Number += g.Number
	}
	if err := m.store.grants.Remove(vm.String()); err != nil {
		return err
	}
	for _, err := range []error{m.store.numbers.Replace(ended), m.store.looks.Remove(vm.String())} {
		if err != nil {
			m.log.Warn("a note cannot be changed", "vm", vm, "err", err)
		}
	}
	return nil
}

// wrapIf is wrap of an error that there may be.
func (o *operation) wrapIf(step string, err error) error {
	if err == nil {
		return nil
	}
	return o.wrap(step, "", err)
}

// unanswered tells of a failure that leaves open whether what was asked for will
// be done.
func unanswered(err error) bool {
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) || errors.Is(err, domain.ErrUnavailable)
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
