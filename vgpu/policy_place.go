package vgpu

import (
	"context"
	"errors"
	"maps"

	"github.com/google/uuid"

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

// errNotAllowed is why a place that was chosen is not taken.
var errNotAllowed = errors.New("the GPU's policy does not allow it any more")

// stillAllowed refuses a place that the GPU's policy does not allow any more, or that another
// process took up to its limit since it was chosen. The GPU's lock is held.
func (o *operation) stillAllowed(ctx context.Context, d device, c candidate, promised bool) error {
	if !o.m.store.policies.Has(c.GPU) {
		return nil
	}
	r, err := o.m.read(ctx)
	if err != nil {
		return err
	}
	p := r.policies[c.GPU]
	limit, allowed := p.Limit(d.Type, c.TypeName)
	switch {
	case r.quarantined(c.GPU, c.Parent):
	case promised, allowed && p.Cordoned == "" && (d.Pin != "" || !p.Reserved) && (limit.Most <= 0 || r.count(c.GPU, d.Type, o.id) < limit.Most):
		return nil
	}
	return &Error{Object: c.Parent, Kind: ErrInUse, Err: errNotAllowed, Next: "repeat the operation"}
}

// count is how many vGPUs of a type a GPU runs, or owes to other VMs. What others are about to make
// does not count: of them the first to have the GPU's lock makes it.
func (r *reading) count(gpu, typ string, but uuid.UUID) int {
	n := 0
	for _, d := range r.devices {
		if r.gpu(d.Parent) == gpu && mdev.SameType(d.Type, typ) {
			n++
		}
	}
	for _, g := range r.grants {
		for _, d := range g.VGPUs {
			_, exists := r.devices[d.ID]
			if g.Lifetime == Reserved && g.VM != but && !exists && r.gpuOf(d) == gpu && mdev.SameType(d.Type, typ) {
				n++
			}
		}
	}
	return n
}
