package mdev

import (
	"errors"
	"path"
	"slices"
	"strconv"
	"strings"
)

// candidate is a parent with the type that was asked for.
type candidate struct {
	parent Parent
	typ    Type
}

// choose finds the parents that can be asked for the type: the one named, or
// all that have room, in order of their names.
func (s *scan) choose(req *CreateRequest) ([]candidate, error) {
	var parents []Parent
	if req.Parent != "" {
		p, err := s.namedParent(req.Parent)
		if err != nil {
			return nil, err
		}
		parents = []Parent{p}
	} else {
		all, err := s.offers(req.UUID != noUUID)
		if err != nil {
			return nil, err
		}
		parents = all
	}
	var found []candidate
	known := false
	for i := range parents {
		t, ok := parents[i].typeNamed(req.Type)
		if !ok {
			continue
		}
		known = true
		if req.Parent != "" || t.Available > 0 {
			found = append(found, candidate{parents[i], t})
		}
	}
	switch {
	case len(found) > 0:
		return found, nil
	case known:
		return nil, &Error{
			Op: "create", Object: req.Type, Meaning: "no parent has room for this type", Cause: "all instances are taken, or GPUs run vGPUs of another framebuffer size",
			Next: "remove a device, or choose a type whose capacity in the inventory is not 0", Err: ErrNoCapacity,
		}
	}
	return nil, s.noSuchType(req, parents)
}

// namedParent reads one parent and its types.
func (s *scan) namedParent(name string) (Parent, error) {
	where, err := s.follow(mdevClassDir, name)
	if err == nil {
		p := s.parent(place{name, where, FrameworkMdev})
		s.types(&p)
		return p, nil
	}
	if !absent(err) {
		return Parent{}, explain("create", name, anyFile, err)
	}
	where, err = s.follow(pciDevicesDir, name)
	if err == nil {
		if _, err = s.fs.Stat(where + "/" + creatableFile); err == nil {
			p := s.parent(place{name, where, FrameworkVendorVFIO})
			s.vf(&p)
			return p, nil
		}
	}
	if err != nil && !absent(err) {
		return Parent{}, explain("create", name, anyFile, err)
	}
	return Parent{}, s.noSuchParent(name)
}

// offers reads all parents with their types.
func (s *scan) offers(mdevOnly bool) ([]Parent, error) {
	places, err := s.mdevParents()
	if err != nil {
		return nil, explain("create", mdevClassDir, anyFile, err)
	}
	known := map[string]bool{}
	for _, at := range places {
		known[at.name] = true
	}
	if !mdevOnly {
		vfs, _, err := s.pciParents(known)
		if err != nil {
			return nil, explain("create", pciDevicesDir, anyFile, err)
		}
		places = append(places, vfs...)
	}
	slices.SortFunc(places, func(a, b place) int { return compareNames(a.name, b.name) })
	parents := make([]Parent, 0, len(places))
	for _, at := range places {
		p := s.parent(at)
		if at.framework == FrameworkMdev {
			s.types(&p)
		} else {
			s.vf(&p)
		}
		parents = append(parents, p)
	}
	return parents, nil
}

// typeNamed finds a type by id, else by name.
func (p *Parent) typeNamed(name string) (Type, bool) {
	id := name
	if p.Framework == FrameworkVendorVFIO {
		id = vendorTypeID(name)
	}
	for _, t := range p.Types {
		if t.ID == id {
			return t, true
		}
	}
	for _, t := range p.Types {
		if t.Name == name {
			return t, true
		}
	}
	return Type{}, false
}

func (s *scan) noSuchParent(name string) *Error {
	e := &Error{Op: "create", Object: name, Meaning: "there is no such parent", Next: "choose one from the inventory", Err: ErrNotFound}
	places, _ := s.mdevParents()
	vfs, pfs, _ := s.pciParents(map[string]bool{})
	var names []string
	for _, at := range append(places, vfs...) {
		names = append(names, at.name)
	}
	switch near := nearest(name, names); {
	case len(names) == 0:
		e.Cause = "this host has none: no GPU driver with vGPU support is loaded"
		e.Next = "load the driver, or enable the GPU's virtual functions"
	case near != "":
		e.Next = "did you mean " + near + "?"
	}
	for _, at := range pfs {
		if at.name == name {
			e.Cause = "it is a physical function whose virtual functions are the parents"
			e.Next = "enable its virtual functions, and name one of them"
		}
	}
	return e
}

func (s *scan) noSuchType(req *CreateRequest, parents []Parent) *Error {
	e := &Error{Op: "create", Object: req.Type, Meaning: "no parent offers such a type", Next: "choose one from the inventory", Err: ErrNotFound}
	if req.Parent != "" {
		e.Meaning = "parent " + req.Parent + " offers no such type"
	}
	var names []string
	vendor := false
	for i := range parents {
		vendor = vendor || parents[i].Framework == FrameworkVendorVFIO
		for _, t := range parents[i].Types {
			names = append(names, t.Name, t.ID)
		}
	}
	slices.Sort(names)
	near := nearest(req.Type, slices.Compact(names))
	switch {
	case len(parents) == 0:
		e.Cause = "this host has no parent: no GPU driver with vGPU support is loaded, or virtual functions are not enabled"
		e.Next = "load the driver, or enable the GPU's virtual functions"
	case vendor && s.knownVendorType(req.Type, parents):
		// The list of a virtual function has only what fits at the moment.
		e.Meaning, e.Err = "it cannot be made at the moment", ErrNoCapacity
		e.Cause = "the GPU is full or runs vGPUs of another framebuffer size"
		e.Next = "remove a device, or choose a type whose capacity in the inventory is not 0"
	case near != "":
		e.Next = "did you mean " + near + "?"
	}
	return e
}

// knownVendorType tells whether a type that no list has is one all the same:
// it was seen before, or a virtual function has it, or lists are empty and it
// is written as an id.
func (s *scan) knownVendorType(name string, parents []Parent) bool {
	id := vendorTypeID(name)
	if s.host.vendorTypeName(id) != "" {
		return true
	}
	for i := range parents {
		for _, dev := range parents[i].Devices {
			if dev.Type == id || dev.TypeName == name {
				return true
			}
		}
	}
	seen := false
	s.host.names.Range(func(_, value any) bool {
		seen = value == name
		return !seen
	})
	return seen || boardDescription(name).MaxInstances > 0 && s.allFull(parents)
}

// allFull tells whether no virtual function lists anything.
func (s *scan) allFull(parents []Parent) bool {
	return !slices.ContainsFunc(parents, func(p Parent) bool {
		return p.Framework == FrameworkVendorVFIO && len(p.Types) > 0
	})
}

// runningOn says what a parent's GPU already runs: `2 of "GRID M60-2Q"`.
func (s *scan) runningOn(p *Parent) string {
	counts := map[string]int{}
	var order []string
	count := func(name string) {
		if counts[name]++; counts[name] == 1 {
			order = append(order, name)
		}
	}
	for _, other := range s.siblingParents(p) {
		if other.Framework == FrameworkVendorVFIO {
			s.vf(&other)
		} else {
			s.mdevs(&other, nil)
		}
		for _, dev := range other.Devices {
			if name := dev.TypeName; name != "" {
				count(name)
			} else {
				count("type " + dev.Type)
			}
		}
	}
	slices.Sort(order)
	var parts []string
	for _, name := range order {
		parts = append(parts, strconv.Itoa(counts[name])+" of "+strconv.Quote(name))
	}
	return strings.Join(parts, ", ")
}

// siblingParents are all parents on the GPU of p, p among them.
func (s *scan) siblingParents(p *Parent) []Parent {
	if p.PF == "" {
		return []Parent{*p}
	}
	pfPath, err := s.follow(pciDevicesDir, p.PF)
	if err != nil {
		return []Parent{*p}
	}
	state := s.sriov(pfPath, &p.Problems)
	if state == nil {
		return []Parent{*p}
	}
	siblings := make([]Parent, 0, len(state.VFs))
	for _, vf := range state.VFs {
		siblings = append(siblings, Parent{Name: vf, Path: path.Join(path.Dir(pfPath), vf), GPU: p.GPU, PF: p.PF, Framework: p.Framework})
	}
	return siblings
}

// parentGone tells whether an errno means that this parent is lost for the
// request while another may do.
func parentLost(err error) bool {
	return errors.Is(err, ErrNoCapacity) || errors.Is(err, ErrRefused) || errors.Is(err, ErrNotFound) ||
		errors.Is(err, ErrInUse) || errors.Is(err, ErrExists)
}
