package vgpu

import (
	"context"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/vgpukit/vgpukit/vgpu/placement"
)

// reading is the state directory and the host at one moment, for those that choose places.
// Requests that come together share it; nothing changes it.
type reading struct {
	lookup
	number   uint64
	grants   map[string]grant
	tasks    map[string]task
	snapshot *placement.Snapshot
	absent   []use                          // what is granted, or about to be made, and does not exist
	policies map[string]placement.GPUPolicy // by GPU; nil: all GPUs take everything
}

// use is a vGPU that takes room on a parent.
type use struct {
	vm     uuid.UUID
	device device
}

// read reads the state directory first and the host last: what is made meanwhile counts
// once.
func (m *Manager) read(ctx context.Context) (*reading, error) { return m.readings.Do(ctx, m.readAnew) }

// readSoon is read for an operation that is content with a reading that is under way, or that
// others had since it began: then it is older than the call.
func (m *Manager) readSoon(ctx context.Context, begun time.Time) (r *reading, older bool, err error) {
	return m.readings.Join(ctx, begun, m.readAnew)
}

func (m *Manager) readAnew(ctx context.Context) (*reading, error) {
	r := &reading{number: m.picks.begin()}
	var err error
	if r.grants, _, err = m.store.grants.All(); err != nil { // what is damaged is tidy's and load's
		return nil, err
	}
	if r.tasks, _, err = m.store.tasks.All(); err != nil {
		return nil, err
	}
	policies, unread, err := m.store.policies.All()
	if err != nil {
		return nil, err
	}
	inv, err := m.host.Inventory(ctx)
	if err != nil {
		return nil, err
	}
	r.lookup = newLookup(inv)
	r.policies = m.store.applied(inv, policies, unread)
	if r.snapshot, err = placement.NewSnapshot(placement.HostInventory{Inventory: inv, Policies: r.policies}); err != nil {
		return nil, err
	}
	for _, g := range r.grants {
		if g.Lifetime == Reserved {
			r.reserve(g)
		}
	}
	for _, t := range r.tasks {
		if t.Grant != nil && t.Boot == m.boot() {
			r.reserve(*t.Grant)
		}
	}
	return r, nil
}

// reserve counts what a VM was granted and does not exist.
func (r *reading) reserve(g grant) {
	for _, d := range g.VGPUs {
		if _, exists := r.devices[d.ID]; !exists {
			r.absent = append(r.absent, use{g.VM, d})
		}
	}
}

// namedBy tells which other VM was granted, or is being given, a device of an id. A virtual
// function of a VM that has its vGPUs while it runs is no promise: see [view.movesOn].
func (r *reading) namedBy(id string, but uuid.UUID) (name string, vm uuid.UUID, ok bool) {
	return r.granted(id, but, func(d device, life Lifetime) bool { return !d.vf() || life == Reserved })
}

// granted is namedBy of the devices that count.
func (r *reading) granted(id string, but uuid.UUID, counts func(device, Lifetime) bool) (name string, vm uuid.UUID, ok bool) {
	of := func(g grant) bool {
		if g.VM == but {
			return false
		}
		for _, d := range g.VGPUs {
			if d.ID == id && counts(d, g.Lifetime) {
				name, vm = g.Name, g.VM
				return true
			}
		}
		return false
	}
	for _, g := range r.grants {
		if of(g) {
			return name, vm, true
		}
	}
	for _, t := range r.tasks {
		if t.Grant != nil && of(*t.Grant) {
			return name, vm, true
		}
	}
	return "", uuid.Nil, false
}

// picks are the places that operations of this process chose and that readings do not
// show yet.
type picks struct {
	mu       sync.Mutex
	readings uint64 // how many have begun
	open     map[*pick]struct{}
	crowd    *crowd // of the last reading that was asked; nil: something was given back since
}

// others are what operations of this process chose before one, with the host that they leave.
type others struct {
	uses  []use
	crowd *crowd
}

// pick is where one operation makes its vGPUs.
type pick struct {
	of      *picks
	uses    []use
	visible uint64 // the number of the first reading that shows them; 0: they are not made yet
}

func (p *picks) begin() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.readings++
	return p.readings
}

// choose finds places beside those that others chose, one caller at a time.
func (p *picks) choose(r *reading, vm uuid.UUID, place func(others) ([]device, error)) (*pick, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.crowd == nil || p.crowd.of != r {
		p.crowd = r.alone()
	}
	before := others{crowd: p.crowd}
	for one := range p.open {
		if one.visible != 0 && one.visible <= r.number {
			delete(p.open, one)
			continue
		}
		before.uses = append(before.uses, one.uses...)
	}
	devices, err := place(before)
	if err != nil {
		return nil, err
	}
	mine := &pick{of: p}
	for _, d := range devices {
		mine.uses = append(mine.uses, use{vm, d})
	}
	if p.open == nil {
		p.open = map[*pick]struct{}{}
	}
	p.open[mine] = struct{}{}
	return mine, nil
}

// made tells that the vGPUs exist now, as the next reading will show.
func (p *pick) made() {
	p.of.mu.Lock()
	defer p.of.mu.Unlock()
	p.visible = p.of.readings + 1
}

// nothing is a pick of no place.
func (p *picks) nothing() *pick { return &pick{of: p} }

// drop gives the places back.
func (p *pick) drop() {
	p.of.mu.Lock()
	defer p.of.mu.Unlock()
	if _, open := p.of.open[p]; open {
		delete(p.of.open, p)
		p.of.crowd = nil
	}
}
