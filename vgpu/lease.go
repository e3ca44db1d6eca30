package vgpu

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/vgpukit/vgpukit/domain"
	"github.com/vgpukit/vgpukit/mdev"
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

// bootID tells one boot of the host from another.
func bootID() string {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(id))
}

// lease reads whose a virtual function is. A lease that cannot be read is as
// good as none.
func (s store) lease(vf string) (l lease, ok bool, err error) {
	data, err := os.ReadFile(s.path(leasesDir, vf))
	if errors.Is(err, fs.ErrNotExist) {
		return lease{}, false, nil
	}
	if err != nil {
		return lease{}, false, s.explain(err)
	}
	if err := unseal(data, &l); err != nil || l.VF != vf {
		return lease{}, false, nil
	}
	return l, true, nil
}

func (s store) writeLease(l lease) error {
	data, err := seal(l)
	if err != nil {
		return err
	}
	return s.write(s.path(leasesDir, l.VF), data)
}

// owns tells whether the vGPU that a virtual function has is the VM's.
func (m *Manager) owns(v *view, name, vf string) (bool, error) {
	l, known, err := m.store.lease(vf)
	if err != nil {
		return false, err
	}
	if known {
		return l.VM == name && l.Boot == m.boot, nil
	}
	// The state directory was lost: the document must do.
	return v.ours && (v.life == Reserved || v.info.State.Active()), nil
}

// rent makes a free virtual function the VM's before it gets its type, and
// returns a lock that keeps others away from it meanwhile.
func (m *Manager) rent(ctx context.Context, o *operation, vf string) (unlock func(), err error) {
	taken := func(who string) error {
		return &Error{Object: vf, Kind: ErrExists, Err: fmt.Errorf("the virtual function has a vGPU of %s", who), Next: "choose another parent"}
	}
	// Whoever has the lock makes or removes a vGPU there: no need to wait.
	soon, cancel := context.WithTimeout(ctx, lockPollMost)
	defer cancel()
	unlock, err = m.store.lock(soon, "vf", vf, o.op+" "+o.vm)
	if errors.Is(err, ErrBusy) && ctx.Err() == nil {
		return nil, taken("somebody who is at work on it")
	}
	if err != nil {
		return nil, err
	}
	rented := false
	defer func() {
		if !rented {
			unlock()
		}
	}()
	_, err = m.host.Find(ctx, vf)
	if errors.Is(err, mdev.ErrNotFound) {
		if err = m.store.writeLease(lease{VF: vf, VM: o.vm, Boot: m.boot}); err != nil {
			err = errors.Join(err, m.vacate(vf, o.vm)) // it may be there: only its directory's sync failed
		}
	} else if err == nil {
		err = taken("somebody else")
	}
	rented = err == nil
	return unlock, err
}

// vacate ends a VM's lease of a virtual function, whose lock is held.
func (m *Manager) vacate(vf, vm string) error {
	l, known, err := m.store.lease(vf)
	if err != nil || known && (l.VM != vm || l.Boot == "") {
		return err
	}
	if err := m.store.writeLease(lease{VF: vf, VM: vm}); err != nil {
		return m.store.remove(vf, leasesDir) // needs no space
	}
	return nil
}

// endLeases ends a VM's leases of virtual functions whose vGPU somebody removed: the
// VM may get other ones.
func (m *Manager) endLeases(ctx context.Context, v *view, vm string) error {
	for _, d := range v.everyDevice() {
		if !v.leased[d.ID] {
			continue
		}
		if err := m.removeDevice(ctx, vm, d); err != nil {
			return err
		}
		v.leased[d.ID] = false
	}
	return nil
}

// takeOver makes the leases the VM's that are of a VM which is gone: somebody
// renamed it.
func (m *Manager) takeOver(ctx context.Context, v *view, name string) error {
	for _, d := range v.devices {
		if !d.vf() {
			continue
		}
		if err := m.takeOverOne(ctx, v, name, d.ID); err != nil {
			return err
		}
	}
	return nil
}

func (m *Manager) takeOverOne(ctx context.Context, v *view, name, vf string) error {
	unlock, err := m.lockVF(ctx, vf, "take over "+vf)
	if err != nil {
		return err
	}
	defer unlock()
	l, known, err := m.store.lease(vf)
	if err != nil || known && (l.VM == name || l.Boot != m.boot) {
		return err
	}
	if known {
		if _, err := m.hyper.Info(ctx, l.VM); !errors.Is(err, domain.ErrNotFound) {
			return nil
		}
	} else if _, ok := v.found[vf]; !ok {
		return nil
	}
	return m.store.writeLease(lease{VF: vf, VM: name, Boot: m.boot})
}

// lockVF keeps others away from a virtual function.
func (m *Manager) lockVF(ctx context.Context, vf, operation string) (unlock func(), err error) {
	ctx, cancel := context.WithTimeout(ctx, m.timeouts.Lock)
	defer cancel()
	return m.store.lock(ctx, "vf", vf, operation)
}
