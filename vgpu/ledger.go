package vgpu

import (
	"context"
	"errors"
)

// Ledger is what a Manager knows of whose a vGPU is, for programs that make and remove vGPUs
// without VMs. It needs no hypervisor, and so works while libvirt is down or where there
// is none. It is safe for concurrent use, and holds nothing open between calls.
type Ledger struct{ m *Manager }

// OpenLedger opens the ledger of a host. It makes the state directory, as [New] does;
// cfg.Hypervisor is not asked.
func OpenLedger(cfg Config) (*Ledger, error) {
	if cfg.Host == nil {
		return nil, &Error{Op: "open ledger", Kind: ErrInvalid, Err: errors.New("Config needs a Host"), Next: "open one with mdev.Open"}
	}
	cfg.Hypervisor = nil
	m, err := cfg.open()
	if err != nil {
		return nil, &Error{Op: "open ledger", Kind: kindOf(err), Err: err}
	}
	return &Ledger{m}, nil
}

// Free refuses, with [ErrInUse], a vGPU that is a VM's, whether it exists or not, or of which
// that cannot be known.
func (l *Ledger) Free(_ context.Context, id string) error {
	id, err := canonical(id)
	if err != nil {
		return err
	}
	return l.m.free(id, "")
}

// RemoveDevice is [Manager.RemoveDevice].
func (l *Ledger) RemoveDevice(ctx context.Context, id string, opts RemoveOptions) error {
	return l.m.RemoveDevice(ctx, id, opts)
}
