package vgpu

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/vgpukit/vgpukit/domain"
	"github.com/vgpukit/vgpukit/internal/fault"
	"github.com/vgpukit/vgpukit/mdev"
)

// Default deadlines of a stop.
const (
	DefaultGuestTimeout     = time.Minute
	DefaultTerminateTimeout = 20 * time.Second
)

// callPatience is how long libvirt may take to answer a call at least: a QEMU that
// does not answer on its monitor keeps it waiting too.
const callPatience = 5 * time.Second

// StopOptions says how a VM is brought to stop.
type StopOptions struct {
	// SkipGuest ends QEMU without asking the guest.
	SkipGuest bool `json:"skip_guest,omitempty"`
	// GuestTimeout is how long the guest may take to shut down once asked. Zero:
	// DefaultGuestTimeout.
	GuestTimeout time.Duration `json:"guest_timeout,omitzero"`
	// Ask is the way in which the guest is asked. Empty: as libvirt prefers.
	Ask domain.ShutdownMode `json:"ask,omitempty"`
	// TerminateTimeout is how long QEMU may take to end on SIGTERM. Zero:
	// DefaultTerminateTimeout.
	TerminateTimeout time.Duration `json:"terminate_timeout,omitzero"`
	// Force allows SIGKILL after that. While a guest's driver starts it can wedge
	// an NVIDIA virtual function.
	Force bool `json:"force,omitempty"`
}

// Stop asks the guest to shut down, ends QEMU by SIGTERM if the guest does not,
// and by SIGKILL only if allowed; then it waits until the VM's vGPUs are let go
// and gives back those that live only while it runs. Stopping a VM that is off
// succeeds, and gives back what may be left.
//
// If ctx ends, the VM is left as it is at that moment; Reconcile or the next
// operation on it finishes the stop. On a full disk it stops as well; an interrupted
// stop is then only finished by the next one.
func (m *Manager) Stop(ctx context.Context, name string, opts StopOptions) (vm VM, err error) {
	err = m.onVM(ctx, opStop, name, opts.check(), func(ctx context.Context, o *operation, v *view) error {
		if err := o.admit(v); err != nil {
			return err
		}
		if v.state() == StateRunning || len(v.surplus()) > 0 || v.task != nil {
			if err := o.beginToFree(ctx, v, func(t *task) { t.Stop = &opts }); err != nil {
				return err
			}
			if err := o.stop(ctx, v, opts); err != nil {
				return err
			}
		}
		vm = v.vm()
		return nil
	})
	return vm, err
}

// stop is Stop after it was noted. It brings the view up to date.
func (o *operation) stop(ctx context.Context, v *view, opts StopOptions) error {
	if err := o.halt(ctx, v, opts); err != nil {
		return o.giveUp(ctx, err)
	}
	if err := o.releaseSurplus(ctx, v); err != nil {
		return err // the task stays: Reconcile removes what is left
	}
	v.task = nil
	return o.close(ctx)
}

// releaseSurplus gives back the vGPUs of a VM that is off, if they live only while it runs.
func (o *operation) releaseSurplus(ctx context.Context, v *view) error {
	if v.life != WhileRunning {
		return nil
	}
	surplus := v.removable()
	if err := o.removeAll(ctx, v, surplus); err != nil {
		return err
	}
	for _, d := range surplus {
		delete(v.found, d.ID)
		delete(v.stale, d.ID)
	}
	return nil
}

// giveUp ends a stop that did not bring the VM down, or a teardown that libvirt
// refused. If the VM was not asked yet, or all was tried and refused, nothing is
// left to do. If ctx ended or libvirt gave no answer, the VM may still go down:
// then the entry stays.
func (o *operation) giveUp(ctx context.Context, err error) error {
	kind := kindOf(err)
	host := errors.As(err, new(*mdev.Error)) // it could not be read, which says nothing of the VM
	open := unanswered(err) || kind == ErrUnavailable && !declined(err) || host && (kind == ErrPermission || kind == ErrRefused)
	if ctx.Err() == nil && !(o.asked && open) {
		return fault.Join(err, o.end())
	}
	left, next := "the VM may still go down; what is left is noted", "run reconcile, or repeat the operation: either finishes it"
	if o.unwritten {
		left, next = "the VM may still go down; that could not be noted", "repeat the operation, which finishes it"
	}
	return o.unfinished(err, left, next)
}

// halt brings the VM down and waits until its vGPUs are let go.
func (o *operation) halt(ctx context.Context, v *view, opts StopOptions) error {
	if v.info.State.Active() {
		if err := o.powerOff(ctx, opts); err != nil {
			return err
		}
		v.info.State = domain.StateShutOff
		v.defined = v.info.Persistent
	}
	return o.step(ctx, "release", "", func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, o.m.timeouts.Release)
		defer cancel()
		for _, d := range v.existing() { // another VM may have the virtual function by now
			if err := o.m.waitFree(ctx, v, d); err != nil {
				return err
			}
		}
		return nil
	})
}

// powerOff goes from asking to forcing, as far as allowed.
func (o *operation) powerOff(ctx context.Context, opts StopOptions) error {
	if !opts.SkipGuest {
		guest := cmp.Or(opts.GuestTimeout, DefaultGuestTimeout)
		listen, cancel := context.WithCancel(ctx)
		defer cancel()
		events, err := o.m.hyper.Events(listen)
		if err != nil {
			return o.wrap("listen", "", err)
		}
		off := false
		err = o.step(ctx, "ask guest", o.vm, func(ctx context.Context) error {
			o.asked = true
			if err := doWithin(ctx, max(guest, callPatience), func(ctx context.Context) error { return o.m.hyper.Shutdown(ctx, o.id.String(), opts.Ask) }); err != nil {
				if unreachable(err) || errors.Is(err, domain.ErrPermission) || errors.Is(err, domain.ErrInvalid) || ctx.Err() != nil {
					return err
				}
				o.wait(ctx, "ask guest", "nothing: the guest cannot be asked: "+err.Error())
				return nil // a guest that cannot be asked is terminated
			}
			o.wait(ctx, "ask guest", fmt.Sprintf("the guest to shut down, %s at most", guest))
			off, err = o.offWithin(ctx, events, guest)
			return err
		})
		if off || err != nil {
			return err
		}
	}
	patience := cmp.Or(opts.TerminateTimeout, DefaultTerminateTimeout)
	off := false
	err := o.step(ctx, "terminate", o.vm, func(ctx context.Context) error {
		o.asked = true
		err := doWithin(ctx, max(patience, callPatience), func(ctx context.Context) error { return o.m.hyper.Terminate(ctx, o.id.String()) })
		if unreachable(err) || errors.Is(err, domain.ErrPermission) || ctx.Err() != nil {
			return err
		}
		// libvirt has a patience of its own and may report that QEMU has not
		// ended yet: what counts is whether it does.
		o.wait(ctx, "terminate", fmt.Sprintf("QEMU to end, %s at most", patience))
		off, err = o.offWithin(ctx, nil, patience)
		return err
	})
	if off || err != nil {
		return err
	}
	if !opts.Force {
		return o.wrap("terminate", o.vm, &Error{
			Kind: ErrState, Err: errors.New("neither did the guest shut down nor did QEMU end on SIGTERM; the VM is still there"),
			Next: "give it more time, or allow force; a SIGKILL while a guest's driver starts can wedge an NVIDIA virtual function",
		})
	}
	return o.step(ctx, "destroy", o.vm, func(ctx context.Context) error {
		if err := o.m.hyper.Destroy(ctx, o.id.String()); err != nil && !errors.Is(err, domain.ErrState) && !errors.Is(err, domain.ErrNotFound) {
			return err
		}
		ctx, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		return o.waitOff(ctx, nil)
	})
}
