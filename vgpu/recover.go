package vgpu

import (
	"context"
	"errors"

	"github.com/vgpukit/vgpukit/internal/fault"
)

// recover finishes or undoes what was interrupted on a VM, whose lock is held.
func (m *Manager) recover(ctx context.Context, v *view) error {
	t := v.task
	return m.operation(ctx, t.Operation, t.Name, t.VM, func(ctx context.Context, o *operation) error {
		o.number = t.Number
		switch t.Operation {
		case opProvision:
			return o.recoverProvision(ctx, v)
		case opAdopt:
			return o.recoverAdopt(ctx, v)
		case opStart:
			return o.recoverStart(ctx, v)
		case opUpdate:
			if v.grant == nil || t.Grant == nil || !v.defined {
				return o.close(ctx)
			}
			return o.leave(ctx, v, *t.Grant)
		case opForget:
			return o.forgetVM(ctx, v)
		case opStop, opTeardown:
			if v.grant == nil || v.runsAnew(m) {
				return o.close(ctx) // what it was about has ended; the grant, if any, says what remains
			}
			if t.Operation == opStop {
				return o.stop(ctx, v, deref(t.Stop))
			}
			return o.teardown(ctx, v, deref(t.Teardown))
		}
		return &Error{
			Step: "recover", Kind: ErrInvalid, Err: errors.New("the state directory names an operation that this program does not know"),
			Next: "recover with the program version that wrote it",
		}
	})
}

// runsAnew tells that the VM runs, and not in the run that its unfinished operation was about:
// somebody started it since.
func (v *view) runsAnew(m *Manager) bool {
	return v.info.State.Active() && (v.info.ID != v.task.Run || v.task.Boot != m.boot())
}

func deref[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}

// recoverProvision keeps a VM that was defined and granted its vGPUs, and else takes away
// what is there of it.
func (o *operation) recoverProvision(ctx context.Context, v *view) error {
	if v.grant != nil && v.defined {
		return o.close(ctx)
	}
	if t := v.task; v.grant == nil && t.Grant != nil { // libvirt may have defined it after all
		if err := o.step(ctx, "undefine", t.Name, func(ctx context.Context) error { return o.undefineOurs(ctx, *t.Grant) }); err != nil {
			return err
		}
	}
	made, err := o.m.made(v)
	if err == nil {
		err = o.removeAll(ctx, v, made)
	}
	if err != nil {
		return err
	}
	return o.forget(ctx)
}

// recoverStart keeps a VM that runs, and else removes what was made for it.
func (o *operation) recoverStart(ctx context.Context, v *view) error {
	t := v.task
	// libvirt goes on starting a VM when the process that asked for it has died.
	waiting, cancel := context.WithTimeout(ctx, o.m.timeouts.Start)
	defer cancel()
	running := false
	err := poll(waiting, nil, func() (bool, error) {
		fresh, err := o.m.load(ctx, o.id)
		if err != nil {
			return false, err
		}
		*v = *fresh
		if running = v.info.State.Active(); running {
			return true, nil
		}
		made, err := o.m.made(v)
		if err != nil {
			return false, err
		}
		err = o.removeAll(ctx, v, made)
		if fault.Any(err, ErrInUse) && waiting.Err() == nil {
			o.wait(ctx, "recover", "libvirt, which is still starting the VM")
			return false, nil
		}
		return true, err
	})
	if err != nil {
		return err
	}
	if !running && v.grant != nil && len(t.Was) > 0 && !sameHomes(v.grant.VGPUs, t.Was) {
		was := *v.grant
		was.VGPUs = t.Was
		if v.defined && v.written(*v.grant) {
			doc, err := v.rewritten(was)
			if err != nil {
				return err
			}
			if err := o.redefine(ctx, doc); err != nil {
				return err
			}
		}
		if err := o.grant(ctx, v, was); err != nil {
			return err
		}
	}
	return o.close(ctx)
}
