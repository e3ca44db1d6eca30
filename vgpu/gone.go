package vgpu

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/vgpukit/vgpukit/domain"
)

// Grace is how long libvirt must have said that it does not have a VM any more, before what
// was granted to the VM is collected: a VM may be undefined and defined again, or be hidden for
// a while.
const Grace = 5 * time.Minute

// goneness is what is known of a VM that is not there.
type goneness struct {
	forGood bool
	text    string // since when, and until when it is waited for
}

// goneness tells whether a VM is gone for good. The first look is noted.
func (m *Manager) goneness(ctx context.Context, v *view, opts ReconcileOptions) goneness {
	if v.defined || v.grant == nil {
		if v.defined && m.store.looks.Has(v.id.String()) && !opts.DryRun {
			m.forgetLook(v.id)
		}
		return goneness{}
	}
	if kept, err := m.definitionKept(ctx, v.id); err != nil || kept {
		text := ", and a definition of it is on disk that libvirt did not load"
		if err != nil {
			text = ", and whether a definition of it is on disk cannot be seen: " + err.Error()
		}
		return goneness{text: text}
	}
	if opts.Now {
		return goneness{forGood: true}
	}
	now := look{VM: v.id, Since: time.Now().UTC()}
	first, seen, err := m.store.looks.Read(v.id.String())
	switch {
	case err == nil && seen && !first.Since.After(now.Since):
	case opts.DryRun:
		first = now
	default:
		if first, err = now, m.store.looks.Replace(now); err != nil {
			m.log.Warn("the first look cannot be noted; the next is the first", "vm", v.name, "err", err)
		}
	}
	if now.Since.Sub(first.Since) >= Grace {
		return goneness{forGood: true}
	}
	return goneness{text: fmt.Sprintf(", as of %s; what was granted to it is collected %s later", first.Since.Format(time.RFC3339), Grace)}
}

// look is when a VM was first seen to be gone.
type look struct {
	VM    uuid.UUID `json:"vm"`
	Since time.Time `json:"since"`
}

func (l look) key() string { return l.VM.String() }

func (m *Manager) forgetLook(vm uuid.UUID) {
	if err := m.store.looks.Remove(vm.String()); err != nil {
		m.log.Warn("a note cannot be removed", "vm", vm, "err", err)
	}
}

// DefinitionKeeper is what a [Hypervisor] may have beside: whether a definition of a VM is
// kept on disk, which libvirt shows only if it could load it.
type DefinitionKeeper interface {
	HasDefinitionFile(ctx context.Context, vm uuid.UUID) (bool, error)
}

func (m *Manager) definitionKept(ctx context.Context, vm uuid.UUID) (bool, error) {
	keeper, ok := m.keeper.(DefinitionKeeper)
	if !ok {
		return false, nil
	}
	kept, err := keeper.HasDefinitionFile(ctx, vm)
	if errors.Is(err, domain.ErrNotFound) {
		return false, nil
	}
	return kept, err
}
