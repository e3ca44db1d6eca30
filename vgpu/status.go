package vgpu

import (
	"context"

	"github.com/google/uuid"

	"github.com/vgpukit/vgpukit/internal/fault"
)

// Status observes one VM. It takes no lock and changes nothing: during an
// operation on the VM it shows what there is at that moment.
func (m *Manager) Status(ctx context.Context, name string) (vm VM, err error) {
	err = m.operation(ctx, opStatus, name, uuid.Nil, func(ctx context.Context, o *operation) error {
		if err := checkName(name); err != nil {
			return o.wrap("check", "", err)
		}
		id, err := m.resolve(ctx, name)
		if err != nil {
			return o.wrap("find", "", err)
		}
		o.id = id
		v, _, err := m.peek(ctx, id) // Reconcile sees to what is damaged
		if err == nil && !v.defined && v.grant == nil && v.task == nil {
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

// List observes all VMs that were granted vGPUs, or whose metadata says so, by name. A VM of ours that could
// not be read is left out and named in the error, which joins all of them; the
// others are returned nevertheless.
func (m *Manager) List(ctx context.Context) (vms []VM, err error) {
	err = m.operation(ctx, opList, "", uuid.Nil, func(ctx context.Context, o *operation) error {
		s, err := m.survey(ctx)
		if err != nil {
			return o.wrap("look", "", err)
		}
		vms = []VM{}
		var unread []error
		for _, v := range s.sorted() {
			if u, ok := s.unread[v.id]; ok {
				unread = append(unread, &fault.Error{Op: "look", Object: s.names[v.id], Kind: kindOf(u.err), Err: u.err})
				continue
			}
			if v.grant != nil || v.task != nil || v.carries {
				vms = append(vms, v.vm())
			}
		}
		return fault.Join(unread...)
	})
	return vms, err
}
