package mdev

import (
	"path"
	"slices"
)

// The files of NVIDIA's vendor-specific VFIO framework, below a virtual
// function. Its physical function has none of them.
const (
	creatableFile = "nvidia/creatable_vgpu_types"
	currentFile   = "nvidia/current_vgpu_type"
	instanceFile  = "nvidia/gpu_instance_id" // from driver 570 on
)

// noVGPU is what currentFile holds when the virtual function has no type.
const noVGPU = "0"

// vf reads what a virtual function offers, or the vGPU that it is.
func (s *scan) vf(p *Parent) {
	d, err := openDir(s.fs, p.Path, s.buf)
	if err != nil {
		s.note(&p.Problems, p.Path, err)
		return
	}
	defer d.close()
	current, err := d.read(currentFile)
	if err != nil {
		s.note(&p.Problems, path.Join(p.Path, currentFile), err)
		return
	}
	used := string(current)
	list, err := d.read(creatableFile)
	if err != nil {
		s.note(&p.Problems, path.Join(p.Path, creatableFile), err)
	}
	p.Types = slices.Clone(s.creatable(list))
	if used == noVGPU {
		for i := range p.Types {
			p.Types[i].Available = 1
		}
	}
	if used != noVGPU {
		dev := s.vfDevice(d, p, used)
		p.Devices = append(p.Devices, dev)
	}
}

// creatable reads a list of types. The virtual functions of one GPU mostly have the same.
func (s *scan) creatable(list []byte) []Type {
	if types, ok := s.lists[string(list)]; ok {
		return types
	}
	types := []Type{}
	for _, row := range parseCreatableTypes(string(list)) {
		t := vendorTypeOf(row)
		s.host.names.Store(t.ID, t.Name)
		types = append(types, t)
	}
	s.lists[string(list)] = types
	return types
}

// vendorTypeOf fills in what the driver does not say from the type's name.
func vendorTypeOf(row vendorType) Type {
	return Type{ID: row.ID, Name: row.Name, DeviceAPI: "vfio-pci", Description: boardDescription(row.Name)}
}

func (s *scan) vfDevice(d *dir, p *Parent, typeID string) Device {
	dev := Device{
		ID: p.Name, Framework: p.Framework, Parent: p.Name, GPU: p.GPU,
		Type: typeID, TypeName: s.host.vendorTypeName(typeID), DeviceAPI: "vfio-pci", Path: p.Path, State: StateReady, Driver: p.Driver, Problems: []Problem{},
	}
	s.vfio(d, &dev)
	if id, err := d.read(instanceFile); err == nil {
		if n, ok := parseCount(string(id)); ok { // none is told as the largest number
			dev.GPUInstance = &n
		}
	}
	if dev.IOMMUGroup == "" && dev.VFIOCdev == "" {
		dev.State = StateHalfMade
		dev.Problems = append(dev.Problems, Problem{
			Object: dev.ID, Text: "the virtual function has a vGPU type but no VFIO device",
			Next: "see that it is bound to NVIDIA's driver, and the kernel log (dmesg)",
		})
	}
	return dev
}

// learnTypeName looks for the name of a virtual function's type in the lists of
// its siblings, unless it was seen before. While the GPU is full they have none.
func (s *scan) learnTypeName(p *Parent, dev *Device) {
	if dev.TypeName != "" {
		return
	}
	for _, sibling := range s.siblingParents(p) {
		s.vf(&sibling)
		if dev.TypeName = s.host.vendorTypeName(dev.Type); dev.TypeName != "" {
			return
		}
	}
}

// vendorTypeName is a type's name as any scan has seen it; a list of
// creatable types no longer shows it once the GPU is full.
func (h *Host) vendorTypeName(id string) string {
	if name, ok := h.names.Load(id); ok {
		return name.(string)
	}
	return ""
}
