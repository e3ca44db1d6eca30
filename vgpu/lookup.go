package vgpu

import (
	"cmp"
	"errors"
	"slices"

	"github.com/google/uuid"

	"github.com/vgpukit/vgpukit/domain"
	"github.com/vgpukit/vgpukit/mdev"
)

// candidate is a parent that may take a vGPU.
type candidate struct {
	Parent, GPU string
	TypeName    string // of the vGPU that it may take
	API         string // the type's device API
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
	return candidate{Parent: p.Name, GPU: p.GPU, TypeName: cmp.Or(t.Name, typ), API: t.DeviceAPI, VF: p.Framework == mdev.FrameworkVendorVFIO}
}

func (l lookup) typeOn(parent, idOrName string) (mdev.Type, bool) {
	p, ok := l.parents[parent]
	if !ok {
		return mdev.Type{}, false
	}
	i := slices.IndexFunc(p.Types, func(t mdev.Type) bool { return mdev.SameType(t.ID, idOrName) || t.Name == idOrName })
	if i < 0 {
		return mdev.Type{}, false
	}
	return p.Types[i], true
}

// checkDocument refuses a document that names another VM's vGPU, the whole of a GPU that
// vGPUs are made on, or harms a virtual function which can be a vGPU.
func (r *reading) checkDocument(m *Manager, doc *domain.Document, vm uuid.UUID) error {
	var vgpus domain.Metadata
	for _, id := range doc.Named() {
		if name, other, ok := r.namedBy(id, vm); ok {
			return takenBy(owner{Device: id, Name: name, VM: other})
		}
		if w, owned, err := m.ownerOf(id); err != nil || owned && w.VM != vm {
			return cmp.Or[error](err, takenBy(w))
		}
		if p, ok := r.parents[id]; ok && p.Framework == mdev.FrameworkVendorVFIO {
			vgpus.VGPUs = append(vgpus.VGPUs, domain.VGPU{ID: id})
		}
		if what := r.usedWhole(id); what != "" {
			return &Error{
				Object: id, Kind: ErrInUse, Err: errors.New("the document gives the VM the whole GPU, and " + what),
				Next: "take it out of the document, or choose another GPU",
			}
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

// usedWhole tells what stands against giving a GPU to a VM as a whole.
func (r *reading) usedWhole(gpu string) string {
	for i := range r.inv.GPUs {
		if r.inv.GPUs[i].Name != gpu {
			continue
		}
		for _, p := range r.inv.GPUs[i].Parents {
			for _, d := range p.Devices {
				return "it has the vGPU " + d.ID
			}
		}
	}
	for _, u := range r.absent {
		if r.gpuOf(u.device) == gpu {
			return "vGPUs of it are granted to VMs"
		}
	}
	return ""
}

// gpuOf is the physical GPU of a device's parent, as far as it is known.
func (l lookup) gpuOf(d device) string { return cmp.Or(l.gpu(d.Parent), d.GPU) }

// pciOf is what PCI device a parent or GPU is: "10de:13f2"; "" where that is not known.
func (l lookup) pciOf(name string) string {
	if p, ok := l.parents[name]; ok && p.PCI != nil {
		return p.PCI.ID()
	}
	for i := range l.inv.GPUs {
		if l.inv.GPUs[i].Name == name {
			return l.inv.GPUs[i].PCI.ID()
		}
	}
	return ""
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
			return mdev.SameType(t.ID, id)
		}
	}
	return false
}

func (l lookup) hasRoom(parent, typeID string) bool { return l.available(parent, typeID) > 0 }

func (l lookup) available(parent, typeID string) int {
	t, _ := l.typeOn(parent, typeID)
	return t.Available
}
