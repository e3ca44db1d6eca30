package vgpu

import (
	"maps"

	"github.com/vgpukit/vgpukit/mdev"
	"github.com/vgpukit/vgpukit/vgpu/placement"
)

// policiesFor are those under which places are chosen. relaxed: not all of them apply, since the
// VM was promised places; what is quarantined is so for it too.
func (r *reading) policiesFor(q question) (policies map[string]placement.GPUPolicy, relaxed bool) {
	policies = r.policies
	if !q.promised {
		return policies, false
	}
	for _, i := range q.which {
		home := r.gpuOf(q.devices[i])
		p, ok := policies[home]
		if left := (placement.GPUPolicy{Quarantined: p.Quarantined}); ok && (p.Cordoned != "" || p.Reserved || p.Types != nil) {
			if !relaxed {
				policies, relaxed = maps.Clone(policies), true
			}
			policies[home] = left
		}
	}
	return policies, relaxed
}

// quarantined tells whether nothing is placed on a parent.
func (r *reading) quarantined(gpu, parent string) bool {
	_, ok := r.policies[gpu].Quarantined[parent]
	return ok
}

// mayTake tells whether a GPU's policy has a type at all. A cordon ends, and does not count.
func (r *reading) mayTake(gpu string, t mdev.Type, named bool) bool {
	p := r.policies[gpu]
	_, allowed := p.Limit(t.ID, t.Name)
	return allowed && (named || !p.Reserved)
}
