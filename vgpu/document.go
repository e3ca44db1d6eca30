package vgpu

import (
	"context"
	"errors"
	"fmt"

	"github.com/vgpukit/vgpukit/domain"
)

// document puts the vGPUs and our metadata into the VM's document. What does not
// fit there is the caller's to mend.
func (s spec) document(devices []device) (*domain.Document, error) {
	doc, err := s.write(devices)
	if err != nil {
		return nil, &Error{Kind: ErrInvalid, Err: err}
	}
	return doc, nil
}

// write takes the addresses that the caller chose before the planner chooses the
// others.
func (s spec) write(devices []device) (*domain.Document, error) {
	hostdevs := make([]domain.Hostdev, len(devices))
	scratch := s.doc
	for i, d := range devices {
		q := s.requests[i]
		h := domain.Hostdev{Display: q.Display, RAMFB: q.RAMFB, Alias: q.Alias}
		var mediated bool
		if h.UUID, mediated = d.uuid(); !mediated {
			h.VF = d.ID
		}
		if q.Address != "" && q.Address != AddressByLibvirt {
			a, err := domain.ParseAddress(q.Address)
			if err != nil {
				return nil, err
			}
			h.Address = &a
			if scratch, err = scratch.Add(h); err != nil {
				return nil, err
			}
		}
		hostdevs[i] = h
	}
	doc := s.doc
	for i := range hostdevs {
		if s.requests[i].Address != "" {
			continue
		}
		free, err := scratch.Free(1, domain.AddressRequest{})
		if err != nil {
			return nil, err
		}
		hostdevs[i].Address = &free[0]
		if scratch, err = scratch.Add(hostdevs[i]); err != nil {
			return nil, err
		}
	}
	for _, h := range hostdevs {
		var err error
		if doc, err = doc.Add(h); err != nil {
			return nil, err
		}
	}
	return doc.WithMetadata(metadata(devices, s.lifetime))
}

// define gives libvirt the document. libvirt goes on working when a caller stops
// waiting, so that the outcome is open if there is no answer.
func (o *operation) define(ctx context.Context, doc *domain.Document, rec record) error {
	o.onFailure("define", rec.VM, func(ctx context.Context) error { return o.m.undefineOurs(ctx, rec) })
	return o.redefine(ctx, doc)
}

func (o *operation) redefine(ctx context.Context, doc *domain.Document) error {
	return o.step(ctx, "define", o.vm, func(ctx context.Context) error {
		info, err := o.m.hyper.Define(ctx, doc.String())
		if err == nil && info.Name != o.vm {
			err = fmt.Errorf("libvirt defined it as %q", info.Name)
		}
		o.unsure = o.unsure || unanswered(err)
		return err
	})
}

// undefineOurs takes a definition away if it is the one that names these devices.
func (m *Manager) undefineOurs(ctx context.Context, rec record) error {
	v, err := m.load(ctx, rec.VM)
	if err != nil {
		return err
	}
	if !v.defined || !v.ours || !sameDevices(v.devices, rec.Devices) {
		return nil
	}
	// An NVRAM file was there before: none is made before a VM starts.
	err = m.hyper.Undefine(ctx, rec.VM, domain.UndefineOptions{KeepNVRAM: true})
	if errors.Is(err, domain.ErrNotFound) {
		return nil
	}
	return err
}

// rewrite puts devices that moved into the VM's document, at the guest addresses
// that the VM knows.
func (o *operation) rewrite(ctx context.Context, v *view, rec record) error {
	doc, err := swap(v.doc, v.devices, rec.Devices, rec.Lifetime)
	if err != nil {
		return o.wrap("document", "", err)
	}
	rec.Was = v.devices
	if err := o.step(ctx, "journal", "", func(context.Context) error { return o.m.store.intents.Write(rec) }); err != nil {
		return err
	}
	o.onFailure("define", o.vm, func(ctx context.Context) error { return o.unwrite(ctx, rec) })
	return o.redefine(ctx, doc)
}

// unwrite takes devices that moved out of the VM's document again, and leaves
// whatever else was changed in it meanwhile.
func (o *operation) unwrite(ctx context.Context, rec record) error {
	v, err := o.m.load(ctx, rec.VM)
	if err != nil || !v.defined || !v.ours || !sameHomes(v.devices, rec.Devices) {
		return err
	}
	doc, err := swap(v.doc, rec.Devices, rec.Was, rec.Lifetime)
	if err != nil {
		return err
	}
	_, err = o.m.hyper.Define(ctx, doc.String())
	return err
}

// swap returns the document with other devices in their places.
func swap(doc *domain.Document, from, to []device, life Lifetime) (*domain.Document, error) {
	vfs := map[string]string{}
	var err error
	for i := range to {
		switch {
		case from[i].ID == to[i].ID:
		case from[i].vf() && to[i].vf():
			vfs[from[i].ID] = to[i].ID
		default: // a kernel with another framework
			if doc, err = exchange(doc, from[i], to[i]); err != nil {
				return nil, err
			}
		}
	}
	if doc, err = doc.ReplaceVFs(vfs); err != nil {
		return nil, err
	}
	return doc.WithMetadata(metadata(to, life))
}

// exchange puts a virtual function into the place of an mdev, or the other way.
func exchange(doc *domain.Document, from, to device) (*domain.Document, error) {
	for _, h := range doc.Hostdevs() {
		if h.ID() != from.ID {
			continue
		}
		var mediated bool
		h.VF = ""
		if h.UUID, mediated = to.uuid(); !mediated {
			h.VF = to.ID
		}
		without, err := doc.Remove(from.ID)
		if err != nil {
			return nil, err
		}
		return without.Add(h)
	}
	return doc, nil
}
