package vgpu

import (
	"cmp"

	"github.com/vgpukit/vgpukit/internal/statedir"
	"github.com/vgpukit/vgpukit/mdev"
)

// ReadPolicies is [Manager.Policies] for a program that only reads, for a host whose inventory it
// has: nothing is made, and a state directory that is not there has no policies. Empty: the
// directory is [DefaultStateDir].
func ReadPolicies(stateDir string, inv *mdev.Inventory) ([]GPUPolicy, error) {
	dir, err := statedir.OpenForReading(cmp.Or(stateDir, DefaultStateDir))
	if err != nil {
		return nil, &Error{Op: opPolicy, Kind: kindOf(err), Err: err}
	}
	s := store{policies: statedir.In(dir, gpusDir, GPUPolicy.key)}
	stored, unread, err := s.policies.All()
	if err != nil {
		return nil, &Error{Op: opPolicy, Kind: kindOf(err), Err: err}
	}
	return s.policiesOf(inv, stored, unread), nil
}

// quarantinedOn finds the GPU of a parent that is not there any more, by the policies.
func (m *Manager) quarantinedOn(parent string) (gpu string, ok bool) {
	stored, _, err := m.store.policies.All()
	if err != nil {
		return "", false
	}
	for name, p := range stored {
		if _, quarantined := p.Quarantined[parent]; quarantined || len(p.Failures[parent]) > 0 {
			return name, true
		}
	}
	return "", false
}
