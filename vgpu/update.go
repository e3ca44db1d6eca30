package vgpu

import (
	"context"
	"errors"
	"slices"

	"github.com/vgpukit/vgpukit/domain"
)

// UpdateOptions says how a VM and what it was granted are brought together.
type UpdateOptions struct {
	// GiveUp ends the grant of the vGPUs that the document has no hostdev for, and removes
	// them. Otherwise the hostdevs are put back.
	GiveUp bool `json:"give_up,omitempty"`
}

// Update brings a VM's document to what the VM was granted, or what it was granted to the
// document: see [UpdateOptions]. Where nothing differs nothing is done. The VM must be off.
func (m *Manager) Update(ctx context.Context, name string, opts UpdateOptions) (vm VM, err error) {
	err = m.onVM(ctx, opUpdate, name, nil, func(ctx context.Context, o *operation, v *view) error {
		if err := o.admit(v); err != nil {
			return err
		}
		if len(v.drift()) > 0 {
			do := o.putBack
			if opts.GiveUp {
				do = o.giveUpGone
			}
			if err := do(ctx, v); err != nil {
				return err
			}
			if v, err = o.look(ctx); err != nil {
				return err
			}
		}
		vm = v.vm()
		return nil
	})
	return vm, err
}

// gone lists the vGPUs that the document has no hostdev for.
func (v *view) gone() []device {
	has := hostdevIDs(v.doc)
	var gone []device
	for i, d := range v.devices {
		if !has[d.ID] && !has[v.copyID(i)] {
			gone = append(gone, d)
		}
	}
	return gone
}

// putBack writes the hostdevs that are missing, at the guest addresses that they had, and the
// copy of the grant.
func (o *operation) putBack(ctx context.Context, v *view) error {
	doc, err := v.putBack()
	if err != nil {
		return o.wrap("document", "", &Error{Kind: ErrInvalid, Err: err})
	}
	return o.redefine(ctx, doc)
}

func (v *view) putBack() (*domain.Document, error) {
	whole := *v
	for _, d := range v.gone() {
		h := d.named(domain.Hostdev{})
		if a, err := domain.ParseAddress(d.Address); err == nil && whole.doc.CheckAddress(a) == nil {
			h.Address = &a
		} else if h.OnPCI() {
			free, err := whole.doc.Free(1, domain.AddressRequest{})
			if err != nil {
				return nil, err
			}
			h.Address = &free[0]
		}
		var err error
		if whole.doc, err = whole.doc.Add(h); err != nil {
			return nil, err
		}
	}
	return whole.rewritten(*v.grant)
}

// giveUpGone ends the grant of vGPUs that have no hostdev any more.
func (o *operation) giveUpGone(ctx context.Context, v *view) error {
	gone := v.gone()
	if len(gone) == 0 {
		return o.putBack(ctx, v) // only the copy differs
	}
	left := *v.grant
	left.VGPUs = slices.DeleteFunc(slices.Clone(v.devices), func(d device) bool {
		return slices.ContainsFunc(gone, func(g device) bool { return g.ID == d.ID })
	})
	if len(left.VGPUs) == 0 {
		return o.wrap("check", "", &Error{Kind: ErrInvalid, Err: errors.New("no vGPU would be left to it"), Next: "tear the VM down, or forget it"})
	}
	if err := o.beginToFree(ctx, v, func(t *task) { t.Grant = &left }); err != nil {
		return err
	}
	return o.leave(ctx, v, left)
}

// leave leaves to a VM what a grant names, and removes its other vGPUs. The operation was noted.
func (o *operation) leave(ctx context.Context, v *view, left grant) error {
	kept := *v
	kept.devices = left.VGPUs
	doc, err := kept.rewritten(left)
	if err != nil {
		return o.wrap("document", "", err)
	}
	if err := o.removeAll(ctx, v, slices.DeleteFunc(v.removable(), left.has)); err != nil {
		return err
	}
	if err := o.grant(ctx, v, left); err != nil {
		return err
	}
	if err := o.redefine(ctx, doc); err != nil {
		return err
	}
	return o.close(ctx)
}
