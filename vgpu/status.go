package vgpu

import (
	"context"

	"github.com/vgpukit/vgpukit/internal/fault"
)

// Status observes one VM. It takes no lock and changes nothing: during an
// operation on the VM it shows what there is at that moment.
func (m *Manager) Status(ctx context.Context, name string) (vm VM, err error) {
	err = m.operation(ctx, opStatus, name, func(ctx context.Context, o *operation) error {
		if err := checkName(name); err != nil {
			return o.wrap("check", "", err)
		}
		v, _, err := m.peek(ctx, name) // Reconcile sees to what is damaged
		if err == nil && !v.defined && v.claim == nil && v.intent == nil {
			err = legal(opStatus, StateAbsent)
		}
		if err != nil {
			return o.wrap("look", "", err)
		}
		vm = v.vm()
		return nil
	})
	return vm, err
}

// List observes all VMs that have vGPUs of ours, by name. A VM of ours that could
// not be read is left out and named in the error, which joins all of them; the
// others are returned nevertheless.
func (m *Manager) List(ctx context.Context) (vms []VM, err error) {
	err = m.operation(ctx, opList, "", func(ctx context.Context, o *operation) error {
		s, err := m.survey(ctx)
		if err != nil {
			return o.wrap("look", "", err)
		}
		vms = []VM{}
		var unread []error
		for _, name := range s.names() {
			if err, ok := s.unread[name]; ok {
				unread = append(unread, &fault.Error{Op: "look", Object: name, Kind: kindOf(err), Err: err})
				continue
			}
			vms = append(vms, s.views[name].vm())
		}
		return fault.Join(unread...)
	})
	return vms, err
}
