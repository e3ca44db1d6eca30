package vgpu

import (
	"context"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/vgpukit/vgpukit/domain"
	"github.com/vgpukit/vgpukit/internal/fault"
)

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

// named is a hostdev with the device as its source.
func (d device) named(h domain.Hostdev) domain.Hostdev {
	var mediated bool
	h.VF, h.Model = "", d.Model
	if h.UUID, mediated = d.uuid(); !mediated {
		h.VF = d.ID
	}
	return h
}

// modelOf is the model that a hostdev of a type with that device API has, "" for the usual one.
func modelOf(deviceAPI string) string {
	if deviceAPI == domain.ModelPCI {
		return ""
	}
	return deviceAPI
}

// sameHomes tells whether two lists have the same devices on the same parents.
func sameHomes(a, b []device) bool {
	return slices.EqualFunc(a, b, func(x, y device) bool { return x.ID == y.ID && x.Type == y.Type && x.Parent == y.Parent })
}

// removeAll removes devices of the VM, one step each. It goes on after a failure, so that
// as little as possible is left.
func (o *operation) removeAll(ctx context.Context, v *view, devices []device) error {
	var failures []error
	for _, d := range devices {
		failures = append(failures, o.step(ctx, "remove", d.ID, func(ctx context.Context) error { return o.removeDevice(ctx, v, d.ID) }))
		if ctx.Err() != nil {
			break
		}
	}
	return fault.Join(failures...)
}

// made lists the devices whose owner files were written by the VM's unfinished operation.
func (m *Manager) made(v *view) ([]device, error) {
	owners, _, err := m.store.owners.All() // one that is damaged is told by Reconcile
	if err != nil {
		return nil, err
	}
	var made []device
	for _, w := range owners {
		if w.VM == v.id && w.Operation == v.task.Number && w.Boot == m.boot() {
			made = append(made, device{ID: w.Device, Type: w.Type, Parent: w.Parent})
		}
	}
	slices.SortFunc(made, func(a, b device) int { return strings.Compare(a.ID, b.ID) })
	return made, nil
}
