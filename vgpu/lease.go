package vgpu

import (
	"context"
	"errors"
	"fmt"

	"github.com/vgpukit/vgpukit/domain"
	"github.com/vgpukit/vgpukit/internal/fault"
)

// lease says whose vGPU a virtual function is. An mdev's UUID says that by
// itself; virtual functions are few and go from VM to VM, and the documents of
// several VMs that are off may name the same one. It is written before the
// virtual function gets its type, and void once the type is taken away.
type lease struct {
	VF   string `json:"vf"`
	VM   string `json:"vm"`             // the last one that had it
	Boot string `json:"boot,omitempty"` // of the host; a reboot ends all leases; empty: void
}

func (l lease) name() string { return l.VF }

// ownsVF tells whether the vGPU that a virtual function has is the VM's.
func (m *Manager) ownsVF(v *view, vf string) (bool, error) {
	l, known, err := m.store.lease(vf)
	if err != nil {
		return false, err
	}
	if known {
		return l.VM == v.name && l.Boot == m.boot, nil
	}
	// The state directory was lost: the document must do.
	return v.ours && (v.life == Reserved || v.info.State.Active()), nil
}

// acquireVF makes a free virtual function the VM's before it gets its type, and
// returns a lock that keeps others away from it meanwhile.
func (o *operation) acquireVF(ctx context.Context, vf string) (unlock func(), err error) {
	taken := func(who string) error {
		return &Error{Object: vf, Kind: ErrExists, Err: fmt.Errorf("the virtual function has a vGPU of %s", who), Next: "choose another parent"}
	}
	// The process that has the lock makes or removes a vGPU there: no need to wait.
	unlock, err = o.m.lockSoon(ctx, lockOfVF, vf, o.op+" "+o.vm)
	if errors.Is(err, ErrBusy) && ctx.Err() == nil {
		return nil, taken("another operation, which is at work on it")
	}
	if err != nil {
		return nil, err
	}
	acquired := false
	defer func() {
		if !acquired {
			unlock()
		}
	}()
	_, err = o.m.host.Find(ctx, vf)
	if errors.Is(err, ErrNotFound) {
		if err = o.m.store.leases.Write(lease{VF: vf, VM: o.vm, Boot: o.m.boot}); err != nil {
			err = fault.Join(err, o.m.releaseVF(vf, o.vm)) // it may be there: only its directory's sync failed
		}
	} else if err == nil {
		err = taken("another VM or program")
	}
	acquired = err == nil
	return unlock, err
}

// releaseVF ends a VM's lease of a virtual function, whose lock is held. The void lease
// stays: without one the document would say whose the virtual function is.
func (m *Manager) releaseVF(vf, vm string) error {
	l, known, err := m.store.lease(vf)
	if err != nil || known && (l.VM != vm || l.Boot == "") {
		return err
	}
	if err := m.store.leases.Write(lease{VF: vf, VM: vm}); err != nil {
		return m.store.leases.Remove(vf) // needs no space
	}
	return nil
}

// releaseEmptyVFs ends a VM's leases of virtual functions whose vGPU another
// program removed: the VM may get other ones.
func (m *Manager) releaseEmptyVFs(ctx context.Context, v *view) error {
	for _, d := range v.everyDevice() {
		if !v.leased[d.ID] {
			continue
		}
		if err := m.removeDevice(ctx, v.name, d); err != nil {
			return err
		}
		v.leased[d.ID] = false
	}
	return nil
}

// takeOverVFs makes the leases the VM's that are of a VM which is gone: it was
// renamed.
func (m *Manager) takeOverVFs(ctx context.Context, v *view) error {
	for _, d := range v.devices {
		if !d.vf() {
			continue
		}
		if err := m.takeOverVF(ctx, v, d.ID); err != nil {
			return err
		}
	}
	return nil
}

func (m *Manager) takeOverVF(ctx context.Context, v *view, vf string) error {
	unlock, err := m.lock(ctx, lockOfVF, vf, "take over "+vf)
	if err != nil {
		return err
	}
	defer unlock()
	l, known, err := m.store.lease(vf)
	if err != nil || known && (l.VM == v.name || l.Boot != m.boot) {
		return err
	}
	if known {
		if _, err := m.hyper.Info(ctx, l.VM); !errors.Is(err, domain.ErrNotFound) {
			return nil
		}
	} else if _, ok := v.found[vf]; !ok {
		return nil
	}
	return m.store.leases.Write(lease{VF: vf, VM: v.name, Boot: m.boot})
}
