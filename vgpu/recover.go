package vgpu

import (
	"context"
	"errors"

	"github.com/vgpukit/vgpukit/internal/fault"
)

// recover finishes or undoes what was interrupted on a VM, whose lock is held.
func (m *Manager) recover(ctx context.Context, v *view) error {
	in := v.intent
	return m.operation(ctx, in.Operation, in.VM, func(ctx context.Context, o *operation) error {
		switch in.Operation {
		case opProvision:
			return o.recoverProvision(ctx, v)
		case opStart:
			return o.recoverStart(ctx, v)
		case opStop:
			if !v.defined || !v.ours {
				return m.store.end(in.VM) // it is no longer ours: the claim, if any, says what remains
			}
			return o.stop(ctx, v, deref(in.Stop))
		case opTeardown:
			if v.defined && !v.ours {
				return m.store.end(in.VM)
			}
			return o.teardown(ctx, v, deref(in.Teardown))
		case opAdopt:
			return m.store.promote(in.VM)
		}
		return &Error{
			Step: "recover", Kind: ErrInvalid, Err: errors.New("the journal names an operation that this program does not know"),
			Next: "recover with the program version that wrote it",
		}
	})
}

func deref[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}

// recoverProvision keeps a VM that was defined with all its vGPUs, and else takes
// away what is there of it.
func (o *operation) recoverProvision(ctx context.Context, v *view) error {
	in := v.intent
	mine := v.defined && v.ours && sameDevices(v.devices, in.Devices)
	if mine && (in.Lifetime == WhileRunning || len(v.missing()) == 0) {
		return o.close(ctx, true)
	}
	if mine && v.state() == StateRunning {
		return &Error{Kind: ErrState, Err: errors.New("the VM runs without all of its vGPUs"), Next: "stop it, then reconcile"}
	}
	if mine {
		if err := o.step(ctx, "undefine", in.VM, func(ctx context.Context) error { return o.m.undefineOurs(ctx, *in) }); err != nil {
			return err
		}
	}
	if err := o.removeAll(ctx, v.made()); err != nil {
		return err
	}
	return o.close(ctx, false)
}

// recoverStart keeps a VM that runs, and else removes what was made for it.
func (o *operation) recoverStart(ctx context.Context, v *view) error {
	in := v.intent
	// libvirt goes on starting a VM when the process that asked for it has died.
	waiting, cancel := context.WithTimeout(ctx, o.m.timeouts.Start)
	defer cancel()
	running := false
	err := poll(waiting, nil, func() (bool, error) {
		fresh, err := o.m.load(ctx, in.VM)
		if err != nil {
			return false, err
		}
		*v = *fresh
		if running = v.state() == StateRunning; running {
			return true, nil
		}
		err = o.removeAll(ctx, v.made())
		if fault.Any(err, ErrInUse) && waiting.Err() == nil {
			o.wait(ctx, "recover", "libvirt, which is still starting the VM")
			return false, nil
		}
		return true, err
	})
	if err != nil {
		return err
	}
	if running {
		return o.close(ctx, v.ours && v.claim != nil && !sameDevices(v.devices, v.claim.Devices))
	}
	if len(in.Was) > 0 {
		if err := o.step(ctx, "define", in.VM, func(ctx context.Context) error { return o.unwrite(ctx, *in) }); err != nil {
			return err
		}
	}
	return o.close(ctx, false)
}
