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
	"github.com/vgpukit/vgpukit/internal/fault"
	"github.com/vgpukit/vgpukit/internal/statedir"
	"github.com/vgpukit/vgpukit/mdev"
	"github.com/vgpukit/vgpukit/vgpu/placement"
)

// operation is one call of the Manager on one VM: it does steps, remembers how
// to undo them, and reports them.
type operation struct {
	m     *Manager
	op    string
	vm    string
	log   *slog.Logger
	undos []undo
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
}

type undo struct {
	step Step
	do   func(context.Context) error
}

// operation runs one, tells the Observer, and gives its error its place.
func (m *Manager) operation(ctx context.Context, op, vm string, do func(context.Context, *operation) error) error {
	o := &operation{m: m, op: op, vm: vm, created: map[string]mdev.Device{}, log: m.log.With("op", op, "vm", vm)}
	whole := Operation{Op: op, VM: vm}
	ctx = m.observer.operationBegun(ctx, whole)
	begin := time.Now()
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
	return m.operation(ctx, op, vm, func(ctx context.Context, o *operation) error {
		if err := cmp.Or(checkName(vm), wrong); err != nil {
			return o.wrap("check", "", err)
		}
		unlock, err := o.lockVM(ctx)
		if err != nil {
			return err
		}
		defer unlock()
		v, err := o.look(ctx)
		if err == nil && v.intent != nil && !o.supersedes(v) {
			if err = o.step(ctx, "recover", v.intent.Operation, func(ctx context.Context) error { return m.recover(ctx, v) }); err == nil {
				v, err = o.look(ctx)
			}
		}
		if err != nil {
			return err
		}
		return do(ctx, o, v)
	})
}

// look loads the VM, as a step. It refuses one that another libvirt has.
func (o *operation) look(ctx context.Context) (v *view, err error) {
	err = o.step(ctx, "look", "", func(ctx context.Context) error {
		if v, err = o.m.load(ctx, o.vm); err == nil {
			err = o.m.checkHypervisor(v)
		}
		return err
	})
	return v, err
}

// checkHypervisor refuses a VM that another libvirt has.
func (m *Manager) checkHypervisor(v *view) error {
	if v.elsewhere == "" {
		return nil
	}
	return &Error{
		Kind: ErrExists, Err: fmt.Errorf("it was provisioned through libvirt at %s, and this is %s", v.elsewhere, m.hyper.URI()),
		Next: "connect to that libvirt, or choose another name",
	}
}

// supersedes tells whether this operation does what the one that was interrupted
// began, and as this caller wants it.
func (o *operation) supersedes(v *view) bool {
	switch o.op {
	case opStop:
		return v.intent.Operation == opStop && v.ours
	case opTeardown:
		return (v.intent.Operation == opStop || v.intent.Operation == opTeardown) && (v.ours || !v.defined)
	}
	return false
}

// admit refuses an operation on a VM that is not ours or not in a state for it.
func (o *operation) admit(v *view) error {
	if err := legal(o.op, v.state()); err != nil {
		return o.wrap("look", "", err)
	}
	if !v.ours {
		return o.wrap("look", "", &Error{
			Kind: ErrInvalid, Err: errors.New("the domain has no vGPUs that were provisioned by this library"),
			Next: "use virsh for domains of others; a VM's document names its vGPUs in the metadata element " + domain.MetadataURI,
		})
	}
	return nil
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
		return o.unfinished(fault.Join(err, failures), "not everything could be undone; the journal keeps what is left",
			"run reconcile, or repeat the operation: either finishes or undoes it")
	}
	return fault.Join(err, o.m.store.end(o.vm))
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

// record is what is stored of the operation.
func (o *operation) record(id uuid.UUID, life Lifetime, placement placement.Options) record {
	return record{
		VM: o.vm, UUID: id, Operation: o.op, Since: time.Now().UTC().Truncate(time.Second), PID: os.Getpid(),
		Lifetime: life, Hypervisor: o.m.hyper.URI(), Placement: placement,
	}
}

// intend writes the intent of an operation on a VM that is there.
func (o *operation) intend(ctx context.Context, v *view, change func(*record)) (record, error) {
	rec := o.intent(v, change)
	return rec, o.begin(ctx, rec)
}

func (o *operation) intent(v *view, change func(*record)) record {
	rec := o.record(v.info.UUID, v.life, v.placement())
	rec.Devices = append(rec.Devices, v.devices...)
	if change != nil {
		change(&rec)
	}
	return rec
}

// intendToFree is intend for an operation that only frees things: on a full disk it goes
// on without the intent. If it is interrupted, what is left is a VM that is off, or
// vGPUs of a VM that is gone: Reconcile finds both by the claim.
func (o *operation) intendToFree(ctx context.Context, v *view, change func(*record)) error {
	rec := o.intent(v, change)
	return o.step(ctx, "journal", "", func(context.Context) error {
		err := o.m.store.intents.Write(rec)
		if o.unwritten = statedir.Unwritable(err); o.unwritten {
			o.log.Warn("the intent cannot be written; what frees things goes on without it", "err", err)
			return nil
		}
		if err != nil {
			_ = o.m.store.end(rec.VM) // as begin does
		}
		return err
	})
}

// begin writes the intent of an operation that has not done anything yet. If that
// fails half way, nothing shall be left that Reconcile would finish.
func (o *operation) begin(ctx context.Context, rec record) error {
	return o.step(ctx, "journal", "", func(context.Context) error {
		err := o.m.store.intents.Write(rec)
		if err != nil {
			_ = o.m.store.end(rec.VM) // the entry may be there: only its directory's sync failed
		}
		return err
	})
}

// close ends the journal entry, or makes it the new claim if devices moved.
func (o *operation) close(ctx context.Context, moved bool) error {
	return o.step(ctx, "close", "", func(context.Context) error {
		if moved {
			return o.m.store.promote(o.vm)
		}
		return o.m.store.end(o.vm)
	})
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
