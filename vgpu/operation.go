package vgpu

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/vgpukit/vgpukit/domain"
	"github.com/vgpukit/vgpukit/mdev"
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
	// created are the vGPUs that were made, as they were read back, by id.
	created map[string]mdev.Device
}

type undo struct {
	step Step
	do   func(context.Context) error
}

func (m *Manager) operation(op, vm string) *operation {
	return &operation{m: m, op: op, vm: vm, created: map[string]mdev.Device{}, log: m.log.With("op", op, "vm", vm)}
}

// unanswered tells of a failure that leaves open whether what was asked for will
// be done.
func unanswered(err error) bool {
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) || errors.Is(err, domain.ErrUnavailable)
}

// step does one step. If it fails, the error says where.
func (o *operation) step(name, object string, do func() error) error {
	step := Step{Op: o.op, VM: o.vm, Name: name, Object: object}
	if o.m.observer.Begun != nil {
		o.m.observer.Begun(step)
	}
	begin := time.Now()
	err := do()
	step.Took = time.Since(begin)
	if err != nil {
		err = o.wrap(name, object, err)
		o.log.Error("step failed", "step", name, "object", object, "err", err)
		if o.m.observer.Failed != nil {
			o.m.observer.Failed(step, err)
		}
		return err
	}
	o.log.Debug("step done", "step", name, "object", object, "took", step.Took)
	if o.m.observer.Ended != nil {
		o.m.observer.Ended(step)
	}
	return nil
}

// wait tells the observer that a step waits for something.
func (o *operation) wait(name, what string) {
	o.log.Info("waiting", "step", name, "for", what)
	if o.m.observer.Waits != nil {
		o.m.observer.Waits(Step{Op: o.op, VM: o.vm, Name: name}, what)
	}
}

// onFailure remembers how to undo a step. It is registered before the step's
// effect, so the func must be content to find nothing to undo.
func (o *operation) onFailure(name, object string, do func(context.Context) error) {
	o.undos = append(o.undos, undo{step: Step{Op: o.op, VM: o.vm, Name: name, Object: object}, do: do})
}

// rollback undoes the steps, last first, on its own deadline: the caller's
// context may be gone. The errors of the undoing are joined to err.
func (o *operation) rollback(ctx context.Context, err error) (undone bool, joined error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), o.m.timeouts.Undo)
	defer cancel()
	undone = true
	for i := len(o.undos) - 1; i >= 0; i-- {
		u := o.undos[i]
		begin := time.Now()
		failure := u.do(ctx)
		u.step.Took = time.Since(begin)
		if failure != nil {
			undone = false
			failure = o.wrap("undo "+u.step.Name, u.step.Object, failure)
			o.log.Error("undo failed", "step", u.step.Name, "object", u.step.Object, "err", failure)
			err = errors.Join(err, failure)
		}
		if o.m.observer.Undone != nil {
			o.m.observer.Undone(u.step, failure)
		}
	}
	o.undos = nil
	return undone, err
}

// fail undoes what was done and closes the journal entry, unless something
// could not be undone or may still take effect: then the entry stays for
// Reconcile.
func (o *operation) fail(ctx context.Context, err error) error {
	undone, err := o.rollback(ctx, err)
	if !undone || o.unsure {
		return o.wrap("undo", "", &Error{
			Kind: kindOf(err), Err: fmt.Errorf("%w; not everything could be undone, the journal keeps what is left", err),
			Next: "run reconcile, or repeat the operation: either finishes or undoes it",
		})
	}
	if closing := o.m.store.end(o.vm); closing != nil {
		err = errors.Join(err, closing)
	}
	return err
}

// wrap gives an error its place. An *Error from deeper in this package keeps its
// kind and next step.
func (o *operation) wrap(step, object string, err error) error {
	var inner *Error
	if errors.As(err, &inner) && inner.Op == "" {
		inner.Op, inner.VM = o.op, o.vm
		if inner.Step == "" {
			inner.Step = step
		}
		if inner.Object == "" {
			inner.Object = object
		}
		return err
	}
	if errors.As(err, &inner) && inner.Op == o.op && inner.VM == o.vm {
		return err
	}
	return &Error{Op: o.op, VM: o.vm, Step: step, Object: object, Kind: kindOf(err), Err: err}
}
