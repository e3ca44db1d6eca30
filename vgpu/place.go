package vgpu

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/google/uuid"

	"github.com/vgpukit/vgpukit/internal/fault"
	"github.com/vgpukit/vgpukit/mdev"
	"github.com/vgpukit/vgpukit/vgpu/placement"
)

// place finds parents for a VM's vGPUs on the host, best first, and names the
// devices. It refuses a UUID that exists already, unless it is what the VM has
// left, which is cleared first: that device is not ours.
func (m *Manager) place(ctx context.Context, s spec, left *view) ([]device, [][]candidate, error) {
	inv, err := m.host.Inventory(ctx)
	if err != nil {
		return nil, nil, err
	}
	l := newLookup(inv)
	if err := l.checkVFs(s.doc); err != nil {
		return nil, nil, err
	}
	candidates, types, err := l.candidates(s)
	if err != nil {
		return nil, nil, err
	}
	devices := make([]device, len(s.requests))
	for i, q := range s.requests {
		first := candidates[i][0]
		d := device{Type: types[i], Parent: first.Parent, Params: q.Params, Pin: q.Parent}
		switch {
		case first.VF && q.UUID != uuid.Nil:
			return nil, nil, invalid("leave the UUID out", "vGPU %d has a UUID, and on %s a vGPU is a virtual function without one", i, first.Parent)
		case first.VF:
			d.ID = first.Parent
		case q.UUID != uuid.Nil:
			d.ID = q.UUID.String()
		default:
			d.ID = deviceUUID(s.seed, i).String()
		}
		there, exists := l.devices[d.ID]
		if left != nil {
			if _, cleared := left.found[d.ID]; cleared {
				exists = false
			}
		}
		if exists && !first.VF {
			return nil, nil, taken(there)
		}
		devices[i] = d
	}
	return devices, candidates, nil
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

// placeAgain finds parents for vGPUs of a VM that do not exist at the moment. The
// parent that one had before comes first, if it has room.
func (m *Manager) placeAgain(ctx context.Context, v *view, which []int, candidates [][]candidate) error {
	devices := v.devices
	inv, err := m.host.Inventory(ctx)
	if err != nil {
		return err
	}
	l := newLookup(inv)
	s := spec{lifetime: Reserved, options: v.placement()}
	s.options.Existing = nil // as it is now
	for _, i := range which {
		s.requests = append(s.requests, Request{Type: devices[i].Type, Parent: devices[i].Pin})
	}
	for i, d := range devices {
		if !slices.Contains(which, i) {
			s.options.Existing = append(s.options.Existing, placement.Use{GPU: l.devices[d.ID].GPU, Type: d.Type})
		}
	}
	found, _, err := l.candidates(s)
	if errors.Is(err, ErrNotFound) { // the VM had these types; virtual functions do not list what has no room
		err = &fault.Error{
			Kind: ErrNoCapacity, Meaning: "no parent offers the type of a vGPU of this VM at the moment", Err: err,
			Next: "stop a VM that has vGPUs on the same GPUs, or see the inventory for what there is",
		}
	}
	if err != nil {
		return err
	}
	for n, i := range which {
		before := slices.IndexFunc(found[n], func(c candidate) bool { return c.Parent == devices[i].Parent })
		if before < 0 && l.hasRoom(devices[i].Parent, devices[i].Type) && !l.wanted(found, devices[i].Parent) {
			found[n] = append([]candidate{l.candidate(devices[i].Parent, devices[i].Type)}, found[n]...)
		} else if before > 0 {
			c := found[n][before]
			found[n] = slices.Insert(slices.Delete(found[n], before, before+1), 0, c)
		}
		candidates[i] = found[n]
	}
	return nil
}

// candidates asks the placement, and gives with each vGPU its type's id. A VM
// whose vGPUs live only while it runs may be provisioned on a full host.
func (l lookup) candidates(s spec) ([][]candidate, []string, error) {
	snapshot, err := placement.NewSnapshot(placement.HostInventory{Inventory: l.inv})
	if err != nil {
		return nil, nil, err
	}
	requests := make([]placement.Request, len(s.requests))
	for i, q := range s.requests {
		requests[i] = placement.Request{Type: q.Type, Parent: q.Parent}
	}
	where, err := snapshot.Place(requests, s.options)
	if errors.Is(err, ErrNoCapacity) && s.lifetime == WhileRunning {
		return l.anywhere(s)
	}
	var refusal *placement.Refusal
	if errors.As(err, &refusal) && refusal.UnknownType && l.inv.MayOffer(s.requests[refusal.Request].Type) {
		err = &Error{
			Kind: ErrNoCapacity, Err: err,
			Cause: "virtual functions list only types that have room now, so that it may be one without",
			Next:  "see whether that is the type's name or id; if so, stop a VM that has vGPUs on the same GPU",
		}
	}
	if err != nil {
		return nil, nil, err
	}
	candidates := make([][]candidate, len(where.VGPUs))
	types := make([]string, len(where.VGPUs))
	for i, p := range where.VGPUs {
		types[i] = p.Type
		candidates[i] = append(candidates[i], l.candidate(p.Parent, p.Type))
		for _, other := range p.Alternatives {
			candidates[i] = append(candidates[i], l.candidate(other.Parent, p.Type))
		}
	}
	return candidates, types, nil
}

// anywhere finds for each vGPU a parent that offers its type, room or not.
func (l lookup) anywhere(s spec) ([][]candidate, []string, error) {
	var (
		candidates [][]candidate
		types      []string
		taken      = map[string]bool{}
	)
	for i, q := range s.requests {
		found := false
		for _, gpu := range l.inv.GPUs {
			for _, p := range gpu.Parents {
				c := l.candidate(p.Name, q.Type)
				t, ok := l.typeOn(p.Name, q.Type)
				if found || !ok || q.Parent != "" && q.Parent != p.Name && q.Parent != gpu.Name || c.VF && taken[p.Name] {
					continue
				}
				found, taken[p.Name] = true, true
				candidates, types = append(candidates, []candidate{c}), append(types, t.ID)
			}
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
