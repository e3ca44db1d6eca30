package vgpu

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"

	"github.com/vgpukit/vgpukit/domain"
)

// document puts the vGPUs and the copy of the grant into the VM's document. What does not
// fit there, or libvirt or QEMU would refuse, is the caller's to mend.
func (s spec) document(g grant) (*domain.Document, error) {
	doc, err := s.write(g)
	if err == nil {
		err = doc.Check()
	}
	if err != nil {
		return nil, &Error{Kind: ErrInvalid, Err: err}
	}
	return doc, nil
}

// write takes the addresses that the caller chose before the planner chooses the
// others.
func (s spec) write(g grant) (*domain.Document, error) {
	devices := g.VGPUs
	hostdevs := make([]domain.Hostdev, len(devices))
	scratch := s.doc
	for i, d := range devices {
		q := s.requests[i]
		h := d.named(domain.Hostdev{Display: q.Display, RAMFB: q.RAMFB, Alias: q.Alias})
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
		if s.requests[i].Address != "" || !hostdevs[i].OnPCI() {
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
	var err error
	for _, h := range hostdevs {
		if doc, err = doc.Add(h); err != nil {
			return nil, err
		}
	}
	if doc, err = doc.WithUUID(g.VM); err != nil {
		return nil, err
	}
	return doc.WithMetadata(g.metadata())
}

// define gives libvirt the document. libvirt goes on working when a caller stops
// waiting, so that the outcome is open if there is no answer.
func (o *operation) define(ctx context.Context, doc *domain.Document, g grant) error {
	o.onFailure("define", o.vm, func(ctx context.Context) error { return o.undefineOurs(ctx, g) })
	return o.redefine(ctx, doc)
}

func (o *operation) redefine(ctx context.Context, doc *domain.Document) error {
	return o.step(ctx, "define", o.vm, func(ctx context.Context) error {
		info, err := o.m.hyper.Define(ctx, doc.String())
		if err == nil && info.UUID != o.id {
			err = fmt.Errorf("libvirt defined it as %q with the UUID %s", info.Name, info.UUID)
		}
		o.unsure = o.unsure || unanswered(err)
		return err
	})
}

// undefineOurs takes a definition away if it is the one that this operation made: nothing
// had the VM's UUID before.
func (o *operation) undefineOurs(ctx context.Context, g grant) error {
	v, err := o.m.load(ctx, o.id)
	if err != nil {
		return err
	}
	// Earlier versions did not write whose copy it is.
	same := v.copy.VM == o.id && len(v.copy.VGPUs) == len(g.VGPUs) || v.copy.VM == uuid.Nil && sameCopy(v.copy, g.metadata())
	if !v.defined || v.info.State.Active() || !same {
		return nil
	}
	// An NVRAM file was there before: none is made before a VM starts.
	err = o.m.hyper.Undefine(ctx, o.id.String(), domain.UndefineOptions{KeepNVRAM: true})
	if errors.Is(err, domain.ErrNotFound) {
		return nil
	}
	return err
}

// rewrite puts what the VM was granted into its document, at the guest addresses that it
// knows.
func (o *operation) rewrite(ctx context.Context, v *view, g grant) error {
	doc, err := v.rewritten(g)
	if err != nil {
		return o.wrap("document", "", err)
	}
	before := v.doc
	o.onFailure("define", o.vm, func(ctx context.Context) error { return o.unwrite(ctx, g, before) })
	return o.redefine(ctx, doc)
}

// unwrite gives the document its former devices again, and leaves whatever else was
// changed in it meanwhile.
func (o *operation) unwrite(ctx context.Context, g grant, before *domain.Document) error {
	v, err := o.m.load(ctx, o.id)
	if err != nil || !v.defined || v.copy.VM != o.id || !sameCopy(v.copy, g.metadata()) {
		return err
	}
	old, carried, err := before.Metadata()
	if err != nil || !carried || len(old.VGPUs) != len(g.VGPUs) {
		return nil // it was somebody's by hand: Start writes it again
	}
	was, _ := fromCopy(old)
	doc, err := swap(v.doc, g.VGPUs, was)
	if err == nil {
		doc, err = doc.WithMetadata(old)
	}
	if err != nil {
		return err
	}
	_, err = o.m.hyper.Define(ctx, doc.String())
	return err
}

// swap returns the document with other devices in their places.
func swap(doc *domain.Document, from, to []device) (*domain.Document, error) {
	has := hostdevIDs(doc)
	others := map[string]string{}
	for i := range to {
		if from[i].ID != to[i].ID && (has[from[i].ID] || from[i].vf() && to[i].vf()) {
			others[from[i].ID] = to[i].ID
		}
	}
	return doc.Replace(others)
}
