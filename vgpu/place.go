package vgpu

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/vgpukit/vgpukit/internal/fault"
	"github.com/vgpukit/vgpukit/mdev"
	"github.com/vgpukit/vgpukit/vgpu/placement"
)

// question asks for places for some of a VM's vGPUs.
type question struct {
	vm      uuid.UUID
	begun   time.Time // when the operation was that asks
	devices []device  // all that the VM is to have; types by id or name
	which   []int     // those without a place
	options placement.Options
	// anywhere: a host without room will do, as no vGPU is made yet.
	anywhere bool
	// again: the VM had these vGPUs, and each goes where it was if that has room.
	again bool
	// promised: these places are the VM's, and no policy takes them away.
	promised bool
	refused  []refusedBy
	// afresh: others were quicker since the last look.
	afresh bool
}

// refusedBy is a driver's refusal, with what room the parent showed for the type before.
type refusedBy struct {
	parent, typ string
	room        int
}

// shut lists the parents that refused a vGPU though nobody took room there since.
func (r *reading) shut(q question) map[string]bool {
	shut := map[string]bool{}
	for _, one := range q.refused {
		if r.available(one.parent, one.typ) == one.room {
			shut[one.parent] = true
		}
	}
	return shut
}

// places is where vGPUs can go: for each that was asked for the parents, best first.
type places struct {
	reading    *reading
	pick       *pick
	candidates map[int][]candidate // by index of the vGPU
	types      map[int]string      // the types' ids
	promised   bool                // see question
}

// place finds places on the host as it is, beside what is granted and does not exist, and
// what operations of this process are about to make.
func (m *Manager) place(ctx context.Context, q question) (places, error) {
	if !q.afresh { // what others do meanwhile shows when the vGPU is made
		r, older, err := m.readSoon(ctx, q.begun)
		var p places
		if err == nil {
			p, err = m.placeBy(r, q)
		}
		if err == nil || !older {
			return p, err
		}
	}
	r, err := m.read(ctx)
	if err != nil {
		return places{}, err
	}
	return m.placeBy(r, q)
}

// placeBy finds places by what was read.
func (m *Manager) placeBy(r *reading, q question) (places, error) {
	if err := r.checkPins(q); err != nil {
		return places{}, err
	}
	p := places{reading: r, candidates: map[int][]candidate{}, types: map[int]string{}, promised: q.promised}
	var err error
	shut := r.shut(q)
	p.pick, err = m.picks.choose(r, q.vm, func(others others) ([]device, error) {
		found, types, err := r.candidates(q, others)
		if errors.Is(err, ErrNotFound) && q.again { // the VM had these types; virtual functions do not list what has no room
			err = &fault.Error{
				Kind: ErrNoCapacity, Meaning: "no parent offers the type of a vGPU of this VM at the moment", Err: err,
				Next: r.howToFree() + ", or see the inventory for what there is",
			}
		}
		if err != nil {
			return nil, err
		}
		var chosen []device
		for n, i := range q.which {
			if q.again && !shut[q.devices[i].Parent] {
				found[n] = r.homeFirst(found, n, q.devices[i], others)
			}
			p.candidates[i], p.types[i] = found[n], types[n]
			chosen = append(chosen, q.devices[i].at(found[n][0], types[n]))
		}
		return chosen, nil
	})
	return p, err
}

// at is the device as it will be on a parent.
func (d device) at(c candidate, typ string) device {
	d.Type, d.Parent, d.GPU, d.Model = typ, c.Parent, c.GPU, modelOf(c.API)
	if c.VF {
		d.ID = c.Parent
	}
	return d
}

// homeFirst puts the parent that a vGPU had before first, if it is among the candidates or
// is a virtual function beside one, and free.
func (r *reading) homeFirst(found [][]candidate, n int, d device, others others) []candidate {
	list := found[n]
	if at := slices.IndexFunc(list, func(c candidate) bool { return c.Parent == d.Parent }); at >= 0 {
		return slices.Insert(slices.Delete(slices.Clone(list), at, at+1), 0, list[at])
	}
	gpu := r.gpuOf(d)
	beside := slices.ContainsFunc(list, func(c candidate) bool { return c.VF && c.GPU == gpu })
	promised := func(u use) bool { return u.device.ID == d.Parent && u.device.ID != d.ID }
	chosen := func(list []candidate) bool { return list[0].Parent == d.Parent }
	if !beside || r.quarantined(gpu, d.Parent) || !r.hasRoom(d.Parent, d.Type) || slices.ContainsFunc(r.absent, promised) || slices.ContainsFunc(others.uses, promised) || slices.ContainsFunc(found, chosen) {
		return list
	}
	return append([]candidate{r.candidate(d.Parent, d.Type)}, list...)
}

// siblings are the virtual functions of a candidate's GPU that are as good: from another one
// on for each VM, so that those who lose a race for the first do not run into each other again.
func (r *reading) siblings(c candidate, typ string, vm uuid.UUID) []candidate {
	if c.Parent == c.GPU {
		return nil
	}
	promised := map[string]bool{c.Parent: true}
	for _, u := range r.absent {
		promised[u.device.Parent] = promised[u.device.Parent] || u.vm != vm
	}
	var found []candidate
	for _, gpu := range r.inv.GPUs {
		if gpu.Name != c.GPU {
			continue
		}
		for _, p := range gpu.Parents {
			if !promised[p.Name] && !r.quarantined(c.GPU, p.Name) && r.hasRoom(p.Name, typ) {
				found = append(found, r.candidate(p.Name, typ))
			}
		}
	}
	if len(found) == 0 {
		return nil
	}
	first := int(vm[0]) * len(found) / 256
	return slices.Concat(found[first:], found[:first])
}

// checkPins refuses a vGPU that is pinned to what is another PCI device by now.
func (r *reading) checkPins(q question) error {
	for _, i := range q.which {
		d := q.devices[i]
		if now := r.pciOf(d.Pin); d.PinPCI != "" && now != "" && now != d.PinPCI {
			return &Error{
				Object: d.Pin, Kind: ErrState, Err: fmt.Errorf("the vGPU is pinned to it, which was the PCI device %s and is %s now: the buses were renumbered", d.PinPCI, now),
				Next: "pin the vGPU to the GPU's present address: tear the VM down and provision it again",
			}
		}
	}
	return nil
}

// candidates asks the placement, and gives with each vGPU its type's id.
func (r *reading) candidates(q question, others others) ([][]candidate, []string, error) {
	snapshot, err := r.beside(q, others)
	if err != nil {
		return nil, nil, err
	}
	requests := make([]placement.Request, len(q.which))
	options := q.options
	options.Existing = nil // as it is now
	for i, d := range q.devices {
		if n := slices.Index(q.which, i); n >= 0 {
			requests[n] = placement.Request{Type: d.Type, Parent: d.Pin}
		} else {
			options.Existing = append(options.Existing, placement.Use{GPU: r.gpuOf(d), Type: d.Type})
		}
	}
	where, err := snapshot.Place(requests, options)
	if errors.Is(err, ErrNoCapacity) && q.anywhere {
		return r.anywhere(requests, err)
	}
	var refusal *placement.Refusal
	if errors.As(err, &refusal) && refusal.UnknownType && r.inv.MayOffer(requests[refusal.Request].Type) {
		err = &Error{
			Kind: ErrNoCapacity, Err: err,
			Cause: "virtual functions list only types that have room now, so that it may be one without",
			Next:  "see whether that is the type's name or id; if so, " + r.howToFree(),
		}
	}
	if err != nil {
		return nil, nil, err
	}
	candidates := make([][]candidate, len(where.VGPUs))
	types := make([]string, len(where.VGPUs))
	for i, p := range where.VGPUs {
		types[i] = p.Type
		candidates[i] = append(candidates[i], r.candidate(p.Parent, p.Type))
		for _, other := range p.Alternatives {
			candidates[i] = append(candidates[i], r.candidate(other.Parent, p.Type))
		}
	}
	return candidates, types, nil
}

// howToFree says how to make room on the host's GPUs, by what takes it.
func (r *reading) howToFree() string {
	next := "see the problems in the inventory: no vGPU takes the room"
	for _, d := range r.devices {
		if d.Holder != nil && d.Holder.VM != "" {
			return "stop a VM that has vGPUs on the same GPU"
		}
		next = "remove a vGPU on the same GPU that is not needed"
	}
	if len(r.devices) == 0 && len(r.absent) > 0 {
		next = "tear down a VM that reserves vGPUs on the same GPU"
	}
	return next
}

// refusing is an inventory in which some parents take nothing.
func refusing(inv *mdev.Inventory, shut map[string]bool) *mdev.Inventory {
	left := *inv
	left.GPUs = slices.Clone(inv.GPUs)
	for i := range left.GPUs {
		parents := slices.Clone(left.GPUs[i].Parents)
		for j := range parents {
			if p := &parents[j]; shut[p.Name] {
				p.Problems = append(slices.Clone(p.Problems), mdev.Problem{Object: p.Name, Text: "its driver refused this vGPU just now"})
			}
		}
		left.GPUs[i].Parents = parents
	}
	return &left
}

// anywhere finds for each vGPU a parent that offers its type, room or not, where the VM may be
// once there is: otherwise it is refused as it was.
func (r *reading) anywhere(requests []placement.Request, refusal error) ([][]candidate, []string, error) {
	var (
		candidates [][]candidate
		types      []string
		taken      = map[string]bool{}
	)
	for i, q := range requests {
		found, forbidden := false, false
		for _, gpu := range r.inv.GPUs {
			for _, p := range gpu.Parents {
				c := r.candidate(p.Name, q.Type)
				t, ok := r.typeOn(p.Name, q.Type)
				if found || !ok || q.Parent != "" && q.Parent != p.Name && q.Parent != gpu.Name || c.VF && taken[p.Name] {
					continue
				}
				if !r.mayTake(gpu.Name, t, q.Parent != "") {
					forbidden = true
					continue
				}
				found, taken[p.Name] = true, true
				candidates, types = append(candidates, []candidate{c}), append(types, t.ID)
			}
		}
		if !found && forbidden {
			return nil, nil, refusal
		}
		if !found {
			return nil, nil, &Error{
				Object: q.Type, Kind: ErrNoCapacity, Err: fmt.Errorf("no parent on this host offers the type of vGPU %d", i),
				Next: "see the inventory for what there is",
			}
		}
	}
	return candidates, types, nil
}

// taken says that a UUID is that of a device which is not the VM's.
func taken(there mdev.Device) error {
	if there.State == mdev.StateGhost {
		return &Error{
			Object: there.ID, Kind: ErrInUse, Err: fmt.Errorf("a vGPU of this UUID on %s is being removed, and waits until a VM lets go of it", there.Parent),
			Next: "stop the VM that has it, or choose another UUID",
		}
	}
	return &Error{
		Object: there.ID, Kind: ErrExists, Err: fmt.Errorf("a vGPU of this UUID exists already, of type %s on %s, and is not this VM's", there.Type, there.Parent),
		Next: "choose another UUID, or remove that vGPU if you know whose it is",
	}
}
