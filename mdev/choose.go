package mdev

import (
	"context"
	"errors"
	"path"
	"slices"

	"github.com/vgpukit/vgpukit/internal/board"
)

// candidate is a parent with the type that was asked for.
type candidate struct {
	parent Parent
	typ    Type
}

// choose finds the parents that can be asked for the type: the one named, or
// all that have room, in order of their names.
func (s *scan) choose(ctx context.Context, req *CreateRequest) ([]candidate, error) {
	var places []place
	if req.Parent != "" {
		at, err := s.namedPlace(ctx, "create", req.Parent)
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
		return nil, s.noRoom(ctx, req.Type, places)
	}
	if req.Parent == "" && req.UUID != noUUID && s.onVFsOnly(ctx, req.Type) {
		return nil, noUUIDHere(req.Type, "only virtual functions of the vendor-specific VFIO framework can have this type, and a vGPU there has no UUID")
	}
	parents := make([]Parent, 0, len(places))
	for _, at := range places {
		parents = append(parents, s.withTypes(at))
	}
	if req.Parent != "" && parents[0].Framework == FrameworkVendorVFIO {
		parents = s.siblingsWithTypes(&parents[0])
	}
	return nil, s.noSuchType(ctx, "create", req.Type, req.Parent, parents)
}

// onVFsOnly tells whether virtual functions of the vendor-specific framework
// offer a type, or may, that no parent of mediated devices offers.
func (s *scan) onVFsOnly(ctx context.Context, typ string) bool {
	vfs, _, err := s.pciParents(map[string]bool{})
	if err != nil {
		return false
	}
	var parents []Parent
	for _, at := range vfs {
		parents = append(parents, s.withTypes(at))
	}
	gpus := s.gpusOf(ctx, parents)
	_, named := board.Parse(typ) // a bare number may be a parent's elsewhere
	return lists(gpus, typ) || named && len(unlisted(gpus, typ)) > 0
}

// noUUIDHere refuses a request that has a UUID where vGPUs have none.
func noUUIDHere(object, meaning string) *Error {
	return &Error{Op: "create", Object: object, Meaning: meaning, Next: "leave the UUID out; the device is named by its PCI address", Kind: ErrInvalid}
}

// chooseTaken answers a request for a virtual function that has a type already,
// and so lists none.
func (s *scan) chooseTaken(req *CreateRequest, p *Parent) ([]candidate, error) {
	dev := &p.Devices[0]
	s.learnTypeName(p, dev)
	if !dev.isOf(req.Type) {
		return nil, vfTaken(dev)
	}
	return []candidate{{*p, Type{ID: dev.Type, Name: dev.TypeName, DeviceAPI: dev.DeviceAPI}}}, nil
}

// namedPlace finds one parent.
func (s *scan) namedPlace(ctx context.Context, op, name string) (place, error) {
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
	return place{}, s.noSuchParent(ctx, op, name)
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

// withAll reads a parent, what it offers and what it runs.
func (s *scan) withAll(at place) Parent {
	p := s.withTypes(at)
	if at.framework == FrameworkMdev {
		s.mdevs(&p, nil)
	}
	return p
}

// typeOf reads the one type of a parent that has this id, or else this name.
func (s *scan) typeOf(p *Parent, name string) (Type, bool) {
	if p.Framework == FrameworkVendorVFIO {
		s.vf(p)
		return p.typeNamed(name)
	}
	d, err := openDir(s.fs, p.Path+"/"+mdevTypesDir, s.buf)
	if err != nil {
		return Type{}, false
	}
	defer d.close()
	ids, err := d.names()
	if err != nil {
		return Type{}, false
	}
	at := slices.Index(ids, name)
	if at < 0 {
		at = slices.IndexFunc(ids, func(id string) bool { return SameType(id, name) })
	}
	if at < 0 {
		at = slices.IndexFunc(ids, func(id string) bool { return s.mdevType(d, p, id).Name == name })
	}
	if at < 0 {
		return Type{}, false
	}
	id := ids[at]
	t := s.mdevType(d, p, id)
	t.Available, _ = d.number(id + "/available_instances") // unreadable: it has none to give
	return t, true
}

// typeNamed finds a type by id, else by name.
func (p *Parent) typeNamed(name string) (Type, bool) {
	for _, is := range []func(Type) bool{
		func(t Type) bool { return t.ID == name },
		func(t Type) bool { return SameType(t.ID, name) },
		func(t Type) bool { return t.Name == name },
	} {
		if at := slices.IndexFunc(p.Types, is); at >= 0 {
			return p.Types[at], true
		}
	}
	return Type{}, false
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

// siblingsWithAll are all parents on the GPU of p, with what they offer and run.
func (s *scan) siblingsWithAll(p *Parent) []Parent {
	var parents []Parent
	for _, one := range s.siblingParents(p) {
		parents = append(parents, s.withAll(place{one.Name, one.Path, one.Framework}))
	}
	return parents
}

// parentLost tells whether an errno means that this parent is lost for the
// request while another may do.
func parentLost(err error) bool {
	return errors.Is(err, ErrNoCapacity) || errors.Is(err, ErrRefused) || errors.Is(err, ErrNotFound) ||
		errors.Is(err, ErrInUse) || errors.Is(err, ErrExists)
}
