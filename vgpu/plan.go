package vgpu

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/google/uuid"

	"github.com/vgpukit/vgpukit/domain"
	"github.com/vgpukit/vgpukit/mdev"
)

// Plan is what Provision would do at this moment.
type Plan struct {
	VM       string        `json:"vm"`
	UUID     uuid.UUID     `json:"uuid"` // the VM's; zero: libvirt will make one up
	Lifetime Lifetime      `json:"lifetime"`
	VGPUs    []PlannedVGPU `json:"vgpus"`
	// Existed: the VM is there as asked, and Provision would do nothing.
	Existed bool `json:"existed,omitempty"`
	// Document is what libvirt would be given.
	Document string `json:"document"`
}

// PlannedVGPU is one vGPU of a plan.
type PlannedVGPU struct {
	ID      string `json:"id"` // the mdev's UUID, or the VF's address on the host
	Type    string `json:"type"`
	Parent  string `json:"parent"`
	GPU     string `json:"gpu"`
	Address string `json:"address,omitempty"` // in the guest; empty: libvirt chooses
	// Others are the parents that come next if the first refuses.
	Others []string `json:"others"`
}

// Plan tells what Provision would do, and does nothing: which parents, which
// guest addresses, or why not. It takes no lock; capacity may be gone by the time
// that it is asked for.
func (m *Manager) Plan(ctx context.Context, req ProvisionRequest) (plan Plan, err error) {
	s, wrong := req.check()
	err = m.operation(ctx, opPlan, s.name, func(ctx context.Context, o *operation) error {
		if wrong != nil {
			return o.wrap("check", "", wrong)
		}
		plan, err = o.plan(ctx, s)
		return err
	})
	return plan, err
}

func (o *operation) plan(ctx context.Context, s spec) (Plan, error) {
	m := o.m
	v, _, err := m.peek(ctx, s.name) // Provision sees to what is damaged
	if err == nil {
		err = m.checkHypervisor(v)
	}
	if err != nil {
		return Plan{}, o.wrap("look", "", err)
	}
	plan := Plan{VM: s.name, UUID: s.id, Lifetime: s.lifetime}
	if plan.Existed, err = s.isThere(ctx, m, v); err == nil && !plan.Existed {
		err = legal(opProvision, v.state())
	}
	if err != nil {
		return Plan{}, o.wrap("look", "", err)
	}
	if plan.Existed {
		plan.UUID, plan.Document = v.info.UUID, v.doc.String()
		plan.vgpus(v.vm().VGPUs, nil)
		return plan, nil
	}
	devices, candidates, err := m.place(ctx, s, v)
	if err != nil {
		return Plan{}, o.wrap("place", "", err)
	}
	doc, err := s.document(devices)
	if err != nil {
		return Plan{}, o.wrap("document", "", err)
	}
	plan.Document = doc.String()
	planned := view{doc: doc, devices: devices, life: s.lifetime}
	plan.vgpus(planned.vm().VGPUs, candidates)
	return plan, nil
}

// vgpus fills in the plan's vGPUs, with their candidates if they are to be made.
func (p *Plan) vgpus(vgpus []VGPU, candidates [][]candidate) {
	for i, g := range vgpus {
		planned := PlannedVGPU{ID: g.ID, Type: g.Type, Parent: g.Parent, GPU: g.GPU, Address: g.Address, Others: []string{}}
		if candidates != nil {
			planned.GPU = candidates[i][0].GPU
			for _, c := range candidates[i][1:] {
				planned.Others = append(planned.Others, c.Parent)
			}
		}
		p.VGPUs = append(p.VGPUs, planned)
	}
}

// candidate is a parent that may take a vGPU.
type candidate struct {
	Parent, GPU string
	TypeName    string // of the vGPU that it may take
	VF          bool   // the parent is the device
}

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
	s.options.Has = nil // as it is now
	for _, i := range which {
		s.requests = append(s.requests, Request{Type: devices[i].Type, Parent: devices[i].Pin})
	}
	for i, d := range devices {
		if !slices.Contains(which, i) {
			s.options.Has = append(s.options.Has, Holding{GPU: l.devices[d.ID].GPU, Type: d.Type})
		}
	}
	found, _, err := l.candidates(s)
	if errors.Is(err, ErrNotFound) { // the VM had these types; virtual functions do not list what has no room
		err = &Error{
			Kind: ErrNoCapacity, Err: fmt.Errorf("no parent offers the type of a vGPU of this VM at the moment (%v)", err),
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

// lookup finds things in an inventory by name.
type lookup struct {
	inv     *mdev.Inventory
	parents map[string]*mdev.Parent
	devices map[string]mdev.Device
}

func newLookup(inv *mdev.Inventory) lookup {
	l := lookup{inv: inv, parents: map[string]*mdev.Parent{}, devices: map[string]mdev.Device{}}
	for i := range inv.GPUs {
		for j := range inv.GPUs[i].Parents {
			p := &inv.GPUs[i].Parents[j]
			l.parents[p.Name] = p
			for _, d := range p.Devices {
				l.devices[d.ID] = d
			}
		}
	}
	return l
}

func (l lookup) candidate(parent, typ string) candidate {
	p := l.parents[parent]
	t, _ := l.typeOn(parent, typ)
	return candidate{Parent: p.Name, GPU: p.GPU, TypeName: cmp.Or(t.Name, typ), VF: p.Framework == mdev.FrameworkVendorVFIO}
}

func (l lookup) typeOn(parent, idOrName string) (mdev.Type, bool) {
	p, ok := l.parents[parent]
	if !ok {
		return mdev.Type{}, false
	}
	i := slices.IndexFunc(p.Types, func(t mdev.Type) bool { return t.ID == idOrName || t.Name == idOrName })
	if i < 0 {
		return mdev.Type{}, false
	}
	return p.Types[i], true
}

// checkVFs refuses a document that harms a virtual function which can be a vGPU:
// of all passed-through PCI devices, only the host knows which those are.
func (l lookup) checkVFs(doc *domain.Document) error {
	var vgpus domain.Metadata
	for _, h := range doc.Hostdevs() {
		if p, ok := l.parents[h.VF]; ok && p.Framework == mdev.FrameworkVendorVFIO {
			vgpus.VGPUs = append(vgpus.VGPUs, domain.VGPU{ID: h.VF})
		}
	}
	if len(vgpus.VGPUs) == 0 {
		return nil
	}
	named, err := doc.WithMetadata(vgpus)
	if err != nil {
		return err
	}
	return named.Check()
}

// gpu is the physical GPU that a parent belongs to.
func (l lookup) gpu(parent string) string {
	if p, ok := l.parents[parent]; ok {
		return p.GPU
	}
	return ""
}

// sameType tells whether some parent gives the name to the type of that id.
func (l lookup) sameType(name, id string) bool {
	for parent := range l.parents {
		if t, ok := l.typeOn(parent, name); ok {
			return t.ID == id
		}
	}
	return false
}

func (l lookup) hasRoom(parent, typeID string) bool {
	t, ok := l.typeOn(parent, typeID)
	return ok && t.Available > 0
}

// wanted tells whether a virtual function is another vGPU's first choice; mdev
// parents take several.
func (l lookup) wanted(found [][]candidate, parent string) bool {
	for _, list := range found {
		if list[0].Parent == parent && list[0].VF {
			return true
		}
	}
	return false
}

// candidates asks the placement, and gives with each vGPU its type's id. A VM
// whose vGPUs live only while it runs may be provisioned on a full host.
func (l lookup) candidates(s spec) ([][]candidate, []string, error) {
	snapshot, err := NewSnapshot(HostInventory{Inventory: l.inv})
	if err != nil {
		return nil, nil, err
	}
	placement, err := snapshot.Place(s.requests, s.options)
	if errors.Is(err, ErrNoCapacity) && s.lifetime == WhileRunning {
		return l.anywhere(s)
	}
	var refusal *Refusal
	if errors.As(err, &refusal) && refusal.noType && l.inv.MayOffer(s.requests[refusal.Request].Type) {
		err = &Error{
			Object: fmt.Sprintf("vGPU %d", refusal.Request), Kind: ErrNoCapacity,
			Err:  fmt.Errorf("%v; virtual functions list only types that have room now, so that it may be one without", err),
			Next: "see whether that is the type's name or id; if so, stop a VM that has vGPUs on the same GPU",
		}
	}
	if err != nil {
		return nil, nil, err
	}
	candidates := make([][]candidate, len(placement.VGPUs))
	types := make([]string, len(placement.VGPUs))
	for i, p := range placement.VGPUs {
		types[i] = p.Type
		candidates[i] = append(candidates[i], l.candidate(p.Parent, p.Type))
		for _, other := range p.Others {
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
