package vgpu

import (
	"slices"

	"github.com/google/uuid"

	"github.com/vgpukit/vgpukit/vgpu/placement"
)

// crowd is the host of a reading in which more exists than there is. It only grows, so that of
// many who choose one after the other each adds what the last one chose.
type crowd struct {
	of       *reading
	snapshot *placement.Snapshot
	counted  map[string]bool // devices, by id
}

// alone is the host as it was read.
func (r *reading) alone() *crowd {
	return &crowd{of: r, snapshot: r.snapshot, counted: map[string]bool{}}
}

// add lets what takes room exist.
func (c *crowd) add(u use) {
	d := u.device
	if _, exists := c.of.devices[d.ID]; exists || c.counted[d.ID] {
		return
	}
	c.counted[d.ID] = true
	after, err := c.snapshot.After(placement.Placement{VGPUs: []placement.VGPU{{Type: d.Type, GPU: c.of.gpuOf(d), Parent: d.Parent}}})
	if err == nil { // else it takes no room that there is
		c.snapshot = after
	}
}

// beside is the host in which all that was granted to other VMs, or chosen for them, exists.
func (r *reading) beside(q question, others others) (*placement.Snapshot, error) {
	c := others.crowd
	policies, relaxed := r.policiesFor(q)
	if shut := r.shut(q); len(shut) > 0 || relaxed {
		c = r.alone()
		var err error
		if c.snapshot, err = placement.NewSnapshot(placement.HostInventory{Inventory: refusing(r.inv, shut), Policies: policies}); err != nil {
			return nil, err
		}
	} else if has(r.absent, q.vm) || has(others.uses, q.vm) {
		c = r.alone()
	}
	for _, uses := range [][]use{r.absent, others.uses} {
		for _, u := range uses {
			if u.vm != q.vm {
				c.add(u)
			}
		}
	}
	return c.snapshot, nil
}

func has(uses []use, vm uuid.UUID) bool {
	return slices.ContainsFunc(uses, func(u use) bool { return u.vm == vm })
}
