package vgpu

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/vgpukit/vgpukit/domain"
	"github.com/vgpukit/vgpukit/internal/fault"
	"github.com/vgpukit/vgpukit/mdev"
)

// How often something that sends no event is looked at.
const (
	pollFirst = 5 * time.Millisecond
	pollMost  = 250 * time.Millisecond
)

// poll calls done until it says so, fails, or ctx ends; wake may cut a pause
// short and may be nil.
func poll(ctx context.Context, wake <-chan domain.Event, done func() (bool, error)) error {
	pause := pollFirst
	for {
		ok, err := done()
		if ok || err != nil {
			return err
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case _, open := <-wake:
			if !open {
				wake = nil
			}
		case <-timer.C:
			pause = min(2*pause, pollMost)
		}
		timer.Stop()
	}
}

// waitRunning waits until libvirt says that the VM runs.
func (o *operation) waitRunning(ctx context.Context) (info domain.Info, err error) {
	err = poll(ctx, nil, func() (bool, error) {
		if info, err = o.m.hyper.Info(ctx, o.id.String()); err != nil {
			return false, err
		}
		if info.State == domain.StateCrashed || info.State == domain.StateShutOff {
			return false, &Error{Kind: ErrState, Err: fmt.Errorf("it was started and is %s already", info.State), Next: "read the VM's log, /var/log/libvirt/qemu/" + info.Name + ".log"}
		}
		return info.State.Active(), nil
	})
	return info, err
}

// waitOff waits until the VM has no QEMU process. A transient domain is gone by then.
func (o *operation) waitOff(ctx context.Context, events <-chan domain.Event) error {
	return poll(ctx, events, func() (bool, error) {
		info, err := o.m.hyper.Info(ctx, o.id.String())
		if errors.Is(err, domain.ErrNotFound) {
			return true, nil
		}
		if err != nil {
			return false, err
		}
		return !info.State.Active(), nil
	})
}

// offWithin is waitOff for a while.
func (o *operation) offWithin(ctx context.Context, events <-chan domain.Event, patience time.Duration) (off bool, err error) {
	limited, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	err = o.waitOff(limited, events)
	if err != nil && limited.Err() != nil && ctx.Err() == nil {
		return false, nil
	}
	return err == nil, err
}

// waitFree waits until no process holds the device.
func (m *Manager) waitFree(ctx context.Context, v *view, d device) error {
	var last mdev.Device
	err := poll(ctx, nil, func() (bool, error) {
		found, err := m.host.Device(ctx, d.ID)
		if h := found.Holder; err == nil && h != nil && h.VM != "" && h.VM != v.name {
			return false, &Error{Object: d.ID, Kind: ErrInUse, Err: fmt.Errorf("the VM %s holds it (process %d)", h.VM, h.PID), Next: "stop that VM"}
		}
		if errors.Is(err, mdev.ErrNotFound) {
			return true, nil
		}
		last = found
		return err == nil && found.Holder == nil, err
	})
	if err != nil && ctx.Err() != nil && last.Holder != nil {
		return &Error{
			Object: d.ID, Kind: ErrInUse,
			Err:  &fault.Error{Meaning: fmt.Sprintf("it is still held by process %d (%s)", last.Holder.PID, last.Holder.Command), Err: err},
			Next: "see what that process is; the vGPU is given back when it ends and Reconcile runs",
		}
	}
	return err
}
