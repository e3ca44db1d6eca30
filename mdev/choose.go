package mdev

import (
	"errors"
	"maps"
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
	var places []place
	if req.Parent != "" {
		at, err := s.namedPlace("create", req.Parent)
		if err != nil {
			return nil, err
		}
		places = []place{at}
	} else {
		all, err := s.places(req.UUID != noUUID)
		if err != nil {
			return nil, err
		}
		places = all
	}
	var found []candidate
	known := false
	for _, at := range places {
		p := s.parent(at)
		t, ok := s.typeOf(&p, req.Type)
		if req.Parent != "" && len(p.Devices) > 0 {
			return s.chooseTaken(req, &p)
		}
		if !ok {
			continue
		}
		known = true
		if req.Parent != "" || t.Available > 0 && len(p.Devices) == 0 {
			found = append(found, candidate{p, t})
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
	if req.Parent == "" && req.UUID != noUUID && s.onVFsOnly(req.Type) {
		return nil, noUUIDHere(req.Type, "only virtual functions of the vendor-specific VFIO framework can have this type, and a vGPU there has no UUID")
	}
	parents := make([]Parent, 0, len(places))
	for _, at := range places {
		parents = append(parents, s.withTypes(at))
	}
	if req.Parent != "" && parents[0].Framework == FrameworkVendorVFIO {
		parents = s.siblingsWithTypes(&parents[0])
	}
	return nil, s.noSuchType("create", req.Type, req.Parent, parents)
}

// onVFsOnly tells whether virtual functions of the vendor-specific framework
// offer a type, or may, that no parent of mediated devices offers.
func (s *scan) onVFsOnly(typ string) bool {
	vfs, _, err := s.pciParents(map[string]bool{})
	if err != nil {
		return false
	}
	var parents []Parent
	for _, at := range vfs {
		parents = append(parents, s.withTypes(at))
	}
	gpus := s.gpusOf(parents)
	_, named := parseProfile(typ) // a bare number may be a parent's elsewhere
	return lists(gpus, typ) || named && len(unlisted(gpus, typ)) > 0
}

// noUUIDHere refuses a request that has a UUID where vGPUs have none.
func noUUIDHere(object, meaning string) *Error {
	return &Error{Op: "create", Object: object, Meaning: meaning, Next: "leave the UUID out; the device is named by its PCI address", Err: ErrInvalid}
}

// chooseTaken answers a request for a virtual function that has a type already,
// and so lists none.
func (s *scan) chooseTaken(req *CreateRequest, p *Parent) ([]candidate, error) {
	dev := &p.Devices[0]
	s.learnTypeName(p, dev)
	if dev.Type != vendorTypeID(req.Type) && dev.TypeName != req.Type {
		return nil, vfTaken(dev)
	}
	return []candidate{{*p, Type{ID: dev.Type, Name: dev.TypeName, DeviceAPI: dev.DeviceAPI}}}, nil
}

// namedPlace finds one parent.
func (s *scan) namedPlace(op, name string) (place, error) {
	where, err := s.follow(mdevClassDir, name)
	if err == nil {
		return place{name, where, FrameworkMdev}, nil
	}
	if !absent(err) {
		return place{}, explain(op, name, anyFile, err)
	}
	where, err = s.follow(pciDevicesDir, name)
	if err == nil {
		if _, err = s.fs.Stat(where + "/" + creatableFile); err == nil {
			return place{name, where, FrameworkVendorVFIO}, nil
		}
	}
	if !absent(err) {
		return place{}, explain(op, name, anyFile, err)
	}
	return place{}, s.noSuchParent(op, name)
}

// places finds all parents, in order of their names.
func (s *scan) places(mdevOnly bool) ([]place, error) {
	places, err := s.mdevParents()
	if err != nil {
		return nil, explain("create", mdevClassDir, anyFile, err)
	}
	if !mdevOnly {
		known := map[string]bool{}
		for _, at := range places {
			known[at.name] = true
		}
		vfs, _, err := s.pciParents(known)
		if err != nil {
			return nil, explain("create", pciDevicesDir, anyFile, err)
		}
		places = append(places, vfs...)
	}
	slices.SortFunc(places, func(a, b place) int { return compareNames(a.name, b.name) })
	return places, nil
}

// withTypes reads a parent and what it offers.
func (s *scan) withTypes(at place) Parent {
	p := s.parent(at)
	if at.framework == FrameworkMdev {
		s.types(&p)
	} else {
		s.vf(&p)
	}
	return p
}

// typeOf reads the one type of a parent that has this id, or else this name.
func (s *scan) typeOf(p *Parent, name string) (Type, bool) {
	if p.Framework == FrameworkVendorVFIO {
		s.vf(p)
		return p.typeNamed(name)
	}
	d, err := openDir(s.fs, p.Path+"/mdev_supported_types", s.buf)
	if err != nil {
		return Type{}, false
	}
	defer d.close()
	ids, err := d.names()
	if err != nil {
		return Type{}, false
	}
	id := name
	if !slices.Contains(ids, name) {
		at := slices.IndexFunc(ids, func(id string) bool { return s.mdevType(d, p, id).Name == name })
		if at < 0 {
			return Type{}, false
		}
		id = ids[at]
	}
	t := s.mdevType(d, p, id)
	t.Available, _ = d.number(id + "/available_instances") // unreadable: it has none to give
	return t, true
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

func (s *scan) noSuchParent(op, name string) *Error {
	e := &Error{Op: op, Object: name, Meaning: "there is no such parent", Next: "choose one from the inventory", Err: ErrNotFound}
	places, _ := s.mdevParents()
	vfs, pfs, _ := s.pciParents(map[string]bool{})
	var names []string
	for _, at := range append(places, vfs...) {
		names = append(names, at.name)
	}
	switch near := nearestParent(name, names); {
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

// noSuchType says that none of these parents offers a type: those of the host, or
// of the GPU of the one that was named.
func (s *scan) noSuchType(op, typ, parent string, parents []Parent) *Error {
	e := &Error{Op: op, Object: typ, Meaning: "no parent offers such a type", Next: "choose one from the inventory", Err: ErrNotFound}
	if parent != "" {
		e.Meaning = "parent " + parent + " offers no such type"
	}
	var names []string
	for i := range parents {
		for _, t := range parents[i].Types {
			names = append(names, t.Name)
			if parents[i].Framework == FrameworkMdev { // one bare number is as near as another
				names = append(names, t.ID)
			}
		}
	}
	slices.Sort(names)
	near := nearest(typ, slices.Compact(names))
	name, seen := s.seenVendorType(typ, parents)
	gpus := unlisted(s.gpusOf(parents), name)
	switch {
	case len(gpus) > 0:
		explainUnlisted(e, gpus, name, seen)
		if _, named := parseProfile(name); near != "" && !named {
			e.Next += "; or did you mean " + near + "?"
		}
		return e
	case len(parents) == 0:
		e.Cause = "this host has no parent: no GPU driver with vGPU support is loaded, or virtual functions are not enabled"
		e.Next = "load the driver, or enable the GPU's virtual functions"
		return e
	case near != "":
		e.Next = "did you mean " + near + "?"
	}
	if closed := s.withoutVFs(); parent == "" && len(closed) > 0 {
		e.Cause = "GPUs without virtual functions offer none; theirs are not enabled: " + strings.Join(closed, ", ")
	}
	return e
}

// gpusOf groups virtual functions by their GPU, and names the types that they
// run as far as siblings tell.
func (s *scan) gpusOf(parents []Parent) []GPU {
	s.nameVFTypes(parents)
	return s.gpus(parents, nil)
}

// seenVendorType tells whether a type is one although no list has it: it was
// seen before, or a virtual function has it. It returns the type's name, if that
// is known.
func (s *scan) seenVendorType(typ string, parents []Parent) (name string, seen bool) {
	id := vendorTypeID(typ)
	if name := s.host.vendorTypeName(id); name != "" {
		return name, true
	}
	s.host.names.Range(func(_, value any) bool {
		seen = value == typ
		return !seen
	})
	for i := range parents {
		for _, dev := range parents[i].Devices {
			seen = seen || dev.Framework == FrameworkVendorVFIO && dev.Type == id
		}
	}
	return typ, seen
}

// withoutVFs are the GPUs that could have virtual functions and have none.
func (s *scan) withoutVFs() []string {
	_, pfs, _ := s.pciParents(map[string]bool{})
	var names []string
	for _, at := range pfs {
		var problems []Problem
		if state := s.sriov(at.path, &problems); state != nil && state.Enabled == 0 {
			names = append(names, at.name)
		}
	}
	return names
}

// runsBeside says what the GPU of a parent already runs.
func (s *scan) runsBeside(p *Parent) string {
	siblings := s.siblingParents(p)
	for i := range siblings {
		if siblings[i].Framework == FrameworkVendorVFIO {
			s.vf(&siblings[i])
		} else {
			s.mdevs(&siblings[i], nil)
		}
	}
	s.nameVFTypes(siblings)
	return runningOn(siblings)
}

// runningOn says what the parents of a GPU run: `2 of "GRID M60-2Q"`.
func runningOn(parents []Parent) string {
	counts := map[string]int{}
	var parts []string
	for i := range parents {
		for _, dev := range parents[i].Devices {
			switch {
			case dev.Type == "":
				parts = append(parts, "vGPU "+dev.ID+" that is being made or removed")
			case dev.TypeName == "":
				counts["type "+dev.Type]++
			default:
				counts[strconv.Quote(dev.TypeName)]++
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		parts = append(parts, strconv.Itoa(counts[name])+" of "+name)
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

// siblingsWithTypes are the parents on the GPU of p, which was read, with what
// they offer.
func (s *scan) siblingsWithTypes(p *Parent) []Parent {
	siblings := s.siblingParents(p)
	parents := []Parent{*p}
	for _, other := range siblings {
		if other.Name != p.Name {
			parents = append(parents, s.withTypes(place{other.Name, other.Path, other.Framework}))
		}
	}
	return parents
}

// parentLost tells whether an errno means that this parent is lost for the
// request while another may do.
func parentLost(err error) bool {
	return errors.Is(err, ErrNoCapacity) || errors.Is(err, ErrRefused) || errors.Is(err, ErrNotFound) ||
		errors.Is(err, ErrInUse) || errors.Is(err, ErrExists)
}
