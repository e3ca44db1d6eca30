package vgpu

import (
	"cmp"
	"slices"

	"github.com/vgpukit/vgpukit/domain"
	"github.com/vgpukit/vgpukit/mdev"
)

// candidate is a parent that may take a vGPU.
type candidate struct {
	Parent, GPU string
	TypeName    string // of the vGPU that it may take
	VF          bool   // the parent is the device
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
