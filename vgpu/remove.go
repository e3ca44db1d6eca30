package vgpu

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/google/uuid"

	"github.com/vgpukit/vgpukit/domain"
)

const opRemove = "remove"

// RemoveOptions says how far RemoveDevice may go.
type RemoveOptions struct {
	// Force removes a VM's vGPU too. The VM stays granted: it starts with a new one.
	Force bool `json:"force,omitempty"`
}

// RemoveDevice removes a vGPU, by UUID or VF address, that is no VM's. One that was granted to
// a VM is refused, with [ErrInUse], unless it is forced; one that is in use always. The log of
// record has it.
func (m *Manager) RemoveDevice(ctx context.Context, id string, opts RemoveOptions) error {
	return m.operation(ctx, opRemove, "", uuid.Nil, func(ctx context.Context, o *operation) error {
		found, err := m.host.Find(ctx, id)
		if err != nil {
			return o.wrap(opRemove, id, unplaced(err))
		}
		return o.step(ctx, opRemove, found.ID, func(ctx context.Context) error { return o.removeBare(ctx, found.ID, opts) })
	})
}

// removeBare removes a device that exists, under its lock.
func (o *operation) removeBare(ctx context.Context, id string, opts RemoveOptions) error {
	unlock, err := o.m.lock(ctx, lockOfDevice, id, "remove "+id)
	if err != nil {
		return err
	}
	defer unlock()
	if err := o.m.free(id, "; or remove the vGPU by force"); err != nil && !opts.Force {
		return err
	}
	whose, _ := o.m.whose(id)
	if err := o.m.host.Remove(ctx, id); err != nil {
		return unplaced(err)
	}
	of := *o
	of.vm, of.id = whose.Name, whose.VM
	of.record("removed", id)
	return o.disownGone(id)
}

// free refuses a vGPU that is a VM's, or of which that cannot be known. or is another way out.
func (m *Manager) free(id, or string) error {
	w, err := m.whose(id)
	switch {
	case err != nil:
		return &Error{
			Object: id, Kind: ErrInUse, Err: fmt.Errorf("whose it is cannot be known: %w", err),
			Next: "reconcile, which sets what is damaged aside" + or,
		}
	case w.VM == uuid.Nil:
		return nil
	case !m.store.grants.Has(w.VM.String()) && !m.store.tasks.Has(w.VM.String()):
		return &Error{
			Object: id, Kind: ErrInUse, Err: fmt.Errorf("it was made for the VM %s (%s), which has no grant any more", w.Name, w.VM),
			Next: "see what reconcile says of it" + or,
		}
	}
	return &Error{
		Object: id, Kind: ErrInUse, Err: fmt.Errorf("it was granted to the VM %s (%s)", w.Name, w.VM),
		Next: fmt.Sprintf("tear the VM %s down, or forget it", w.Name) + or,
	}
}

// whose finds the VM that a vGPU is of: by its owner file, by a grant, or by an unfinished
// operation; its zero value: of none.
func (m *Manager) whose(id string) (owner, error) {
	if w, owned, err := m.ownerOf(id); err != nil || owned {
		return w, err
	}
	has := func(g *grant) bool { return g != nil && g.has(device{ID: id}) }
	grants, damagedGrants, err := m.store.grants.All()
	if err != nil {
		return owner{}, err
	}
	for _, g := range grants {
		if has(&g) {
			return owner{Device: id, VM: g.VM, Name: g.Name}, nil
		}
	}
	tasks, damagedTasks, err := m.store.tasks.All()
	if err != nil {
		return owner{}, err
	}
	for _, t := range tasks {
		if has(t.Grant) || has(&grant{VGPUs: t.Was}) {
			return owner{Device: id, VM: t.VM, Name: t.Name}, nil
		}
	}
	for _, damaged := range []map[string]error{damagedGrants, damagedTasks} {
		for _, path := range slices.Sorted(maps.Keys(damaged)) {
			return owner{}, damaged[path] // it may be of this one
		}
	}
	return owner{}, nil
}

// canonical is a vGPU's id as files and grants have it.
func canonical(id string) (string, error) {
	parsed, err := domain.ParseID(id)
	return parsed.String(), err
}
