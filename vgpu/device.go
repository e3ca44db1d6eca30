package vgpu

import (
	"context"
	"errors"
	"slices"

	"github.com/google/uuid"

	"github.com/vgpukit/vgpukit/domain"
	"github.com/vgpukit/vgpukit/internal/fault"
	"github.com/vgpukit/vgpukit/internal/statedir"
	"github.com/vgpukit/vgpukit/mdev"
)

// device is one vGPU of a VM, as stored and as in the document's metadata.
type device struct {
	ID     string       `json:"id"` // UUID or VF address
	Type   string       `json:"type"`
	Parent string       `json:"parent"`
	Params []mdev.Param `json:"params,omitempty"`
	// Pin is the parent or GPU that the caller asked for; empty: any will do.
	Pin string `json:"pin,omitempty"`
}

// vf tells that the device is a virtual function under the vendor-specific
// framework: its id is an address, not a UUID.
func (d device) vf() bool {
	_, mediated := d.uuid()
	return !mediated
}

// uuid is the id of a mediated device.
func (d device) uuid() (uuid.UUID, bool) {
	id, err := uuid.Parse(d.ID)
	return id, err == nil
}

func sameDevices(a, b []device) bool {
	return slices.EqualFunc(a, b, func(x, y device) bool { return x.ID == y.ID && x.Type == y.Type })
}

// sameHomes is sameDevices on the same parents.
func sameHomes(a, b []device) bool {
	return slices.EqualFunc(a, b, func(x, y device) bool { return x.ID == y.ID && x.Type == y.Type && x.Parent == y.Parent })
}

// metadata is what the VM's document says of its vGPUs.
func metadata(devices []device, life Lifetime) domain.Metadata {
	var meta domain.Metadata
	for _, d := range devices {
		g := domain.VGPU{ID: d.ID, Type: d.Type, Parent: d.Parent, Lifetime: string(life)}
		for _, p := range d.Params {
			g.Params = append(g.Params, domain.Param{Name: p.Name, Value: p.Value})
		}
		meta.VGPUs = append(meta.VGPUs, g)
	}
	return meta
}

func fromMetadata(params []domain.Param) []mdev.Param {
	var out []mdev.Param
	for _, p := range params {
		out = append(out, mdev.Param{Name: p.Name, Value: p.Value})
	}
	return out
}

// removeAll removes devices, one step each. It goes on after a failure, so that
// as little as possible is left.
func (o *operation) removeAll(ctx context.Context, devices []device) error {
	var failures []error
	for _, d := range devices {
		failures = append(failures, o.step(ctx, "remove", d.ID, func(ctx context.Context) error { return o.m.removeDevice(ctx, o.vm, d) }))
	}
	return fault.Join(failures...)
}

// removeDevice removes a device that is the VM's, and is content if it is gone or
// another's.
func (m *Manager) removeDevice(ctx context.Context, vm string, d device) error {
	if !d.vf() {
		return m.removeFound(ctx, d)
	}
	unlock, err := m.lock(ctx, lockOfVF, d.ID, "remove "+d.ID)
	if err != nil {
		return err
	}
	defer unlock()
	l, known, err := m.store.lease(d.ID)
	if err != nil || known && (l.VM != vm || l.Boot != m.boot) {
		return err
	}
	if err := m.removeFound(ctx, d); err != nil {
		return err
	}
	err = m.releaseVF(d.ID, vm)
	if statedir.Unwritable(err) {
		m.log.Warn("a lease cannot be ended; whoever takes the virtual function ends it", "vm", vm, "vf", d.ID, "err", err)
		return nil
	}
	return err
}

func (m *Manager) removeFound(ctx context.Context, d device) error {
	found, err := m.host.Find(ctx, d.ID)
	if errors.Is(err, mdev.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if found.Type != "" && found.Type != d.Type {
		return nil // another's by now
	}
	if err := m.host.Remove(ctx, d.ID); err != nil && !errors.Is(err, mdev.ErrNotFound) {
		return err
	}
	return nil
}
