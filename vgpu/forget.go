package vgpu

import (
	"context"
	"errors"

	"github.com/vgpukit/vgpukit/domain"
)

// Forget ends our care of a VM and leaves VM and vGPUs as they are, running or not; the copy
// of the grant goes from its document. Of a VM that was undefined it ends the grant. The vGPUs
// are strangers from then on: Reconcile lists them, and nothing here removes them.
func (m *Manager) Forget(ctx context.Context, name string) error {
	return m.onVM(ctx, opForget, name, nil, func(ctx context.Context, o *operation, v *view) error {
		if v.grant == nil {
			if err := legal(opStatus, v.state()); !v.defined {
				return o.wrap("look", "", err)
			}
			return o.wrap("look", "", v.carriesCopy())
		}
		if err := o.beginToFree(ctx, v, nil); err != nil {
			return err
		}
		return o.forgetVM(ctx, v)
	})
}

// forgetVM is Forget after it was noted.
func (o *operation) forgetVM(ctx context.Context, v *view) error {
	if v.defined && v.carries {
		doc, err := v.doc.WithoutMetadata()
		if err == nil {
			err = o.redefine(ctx, doc)
		}
		if err != nil && !errors.Is(err, domain.ErrNotFound) {
			return o.wrap("document", "", err)
		}
	}
	for _, d := range v.devices {
		err := o.step(ctx, "disown", d.ID, func(ctx context.Context) error {
			w, owned, err := o.m.ownerOf(d.ID)
			if err != nil || !owned || w.VM != o.id {
				return err
			}
			return o.m.disown(d.ID)
		})
		if err != nil {
			return err
		}
	}
	if v.grant != nil {
		o.record("forgotten", "")
	}
	return o.forget(ctx)
}
