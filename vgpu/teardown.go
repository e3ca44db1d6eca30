package vgpu

import (
	"context"
	"errors"

	"github.com/vgpukit/vgpukit/domain"
	"github.com/vgpukit/vgpukit/internal/fault"
	"github.com/vgpukit/vgpukit/internal/statedir"
)

// TeardownOptions says how a VM is brought down and what goes with it.
type TeardownOptions struct {
	Stop     StopOptions            `json:"stop"`
	Undefine domain.UndefineOptions `json:"undefine"`
}

// Teardown stops the VM, undefines it, removes its vGPUs, sees that they are
// gone and forgets the VM. libvirt refuses to undefine a VM that has a managed
// save, NVRAM or snapshots unless opts.Undefine says what to do with them; the
// VM is then off and otherwise as it was. A VM that was undefined by hand
// has its vGPUs removed.
//
// If ctx ends, Reconcile or the next operation on the VM finishes the teardown. On a full
// disk everything is freed as well; an interrupted teardown is then only finished by the
// next one. On a disk that has become read-only the VM cannot be forgotten: that is an
// error after all else was done.
func (m *Manager) Teardown(ctx context.Context, name string, opts TeardownOptions) error {
	return m.onVM(ctx, opTeardown, name, opts.Stop.check(), func(ctx context.Context, o *operation, v *view) error {
		if v.defined || v.grant == nil {
			if err := o.admit(v); err != nil {
				return err
			}
		}
		if err := o.beginToFree(ctx, v, func(t *task) { t.Teardown = &opts }); err != nil {
			return err
		}
		return o.teardown(ctx, v, opts)
	})
}

// teardown is Teardown after it was noted.
func (o *operation) teardown(ctx context.Context, v *view, opts TeardownOptions) error {
	if v.defined {
		if err := o.halt(ctx, v, opts.Stop); err != nil {
			return o.giveUp(ctx, err)
		}
		// If libvirt refuses to undefine it, it is a VM that is off like any other.
		if err := o.releaseSurplus(ctx, v); err != nil {
			return err
		}
		err := o.step(ctx, "undefine", o.vm, func(ctx context.Context) error {
			err := o.m.hyper.Undefine(ctx, o.id.String(), opts.Undefine)
			if errors.Is(err, domain.ErrNotFound) {
				return nil
			}
			return err
		})
		if err != nil {
			return o.giveUp(ctx, err)
		}
	}
	if err := o.removeAll(ctx, v, v.removable()); err != nil {
		return err // the task stays: Reconcile removes what is left
	}
	err := o.forget(ctx)
	if statedir.Unwritable(err) {
		err = &Error{Op: o.op, VM: o.vm, Step: "forget", Kind: kindOf(err), Err: err, Cause: "the VM and its vGPUs are gone; only what is remembered of it is left", Next: fault.Hint("", err)}
	}
	return err
}
