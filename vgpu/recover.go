package vgpu

import (
	"context"
	"errors"
	"fmt"
)

// recover finishes or undoes what was interrupted on a VM, whose lock is held.
func (m *Manager) recover(ctx context.Context, v *view) error {
	in := v.intent
	o := m.operation(in.Operation, in.VM)
	switch in.Operation {
	case opProvision:
		return o.recoverProvision(ctx, v)
	case opStart:
		return o.recoverStart(ctx, v)
	case opStop:
		if !v.defined || !v.ours {
			return m.abandon(ctx, v)
		}
		return o.stop(ctx, v, deref(in.Stop))
	case opTeardown:
		if v.defined && !v.ours {
			return m.abandon(ctx, v)
		}
		return o.teardown(ctx, v, deref(in.Teardown))
	case opAdopt:
		return m.store.settle(in.VM)
	}
	return &Error{
		Op: in.Operation, VM: in.VM, Step: "recover", Kind: ErrInvalid, Err: fmt.Errorf("the journal names an operation that this program does not know"),
		Next: "recover with the program version that wrote it",
	}
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
		return o.step("close", "", func() error { return o.m.store.settle(in.VM) })
	}
	if mine && v.state() == StateRunning {
		return &Error{Kind: ErrState, Err: errors.New("the VM runs without all of its vGPUs"), Next: "stop it, then reconcile"}
	}
	if mine {
		if err := o.step("undefine", in.VM, func() error { return o.m.undefineOurs(ctx, *in) }); err != nil {
			return err
		}
	}
	if err := o.removeAll(ctx, o.made(v)); err != nil {
		return err
	}
	return o.step("close", "", func() error { return o.m.store.end(in.VM) })
}

// recoverStart keeps a VM that runs, and else removes what was made for it.
func (o *operation) recoverStart(ctx context.Context, v *view) error {
	in := v.intent
	// libvirt goes on starting a VM when the process that asked for it has died.
	waiting, cancel := context.WithTimeout(ctx, o.m.timeouts.Start)
	defer cancel()
	running := false
	err := poll(waiting, nil, func() (bool, error) {
		fresh, err := o.m.look(ctx, in.VM)
		if err != nil {
			return false, err
		}
		*v = *fresh
		if running = v.state() == StateRunning; running {
			return true, nil
		}
		err = o.removeAll(ctx, o.made(v))
		if errors.Is(err, ErrInUse) && waiting.Err() == nil {
			o.wait("recover", "libvirt, which is still starting the VM")
			return false, nil
		}
		return true, err
	})
	if err != nil {
		return err
	}
	if running {
		return o.close(in.VM, v.ours && v.claim != nil && !sameDevices(v.devices, v.claim.Devices))
	}
	if len(in.Was) > 0 {
		if err := o.step("define", in.VM, func() error { return o.unwrite(ctx, *in) }); err != nil {
			return err
		}
	}
	return o.step("close", "", func() error { return o.m.store.end(in.VM) })
}

// made lists the devices that the interrupted operation made, as far as they
// exist and are of the type that it meant.
func (o *operation) made(v *view) []device {
	var made []device
	for _, id := range v.intent.Makes {
		for _, d := range v.intent.Devices {
			if _, ok := v.found[id]; (ok || v.leased[id]) && d.ID == id {
				made = append(made, d)
			}
		}
	}
	return made
}

// abandon drops an operation whose VM is no longer ours: somebody undefined it,
// or defined another of that name. The claim, if any, says what remains.
func (m *Manager) abandon(_ context.Context, v *view) error {
	return m.store.end(v.intent.VM)
}
