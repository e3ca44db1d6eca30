package mdev

import (
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/vgpukit/vgpukit/internal/fault"
)

func (s *scan) noSuchParent(op, name string) *Error {
	e := &Error{Op: op, Object: name, Meaning: "there is no such parent", Next: "choose one from the inventory", Kind: ErrNotFound}
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
		if at.name != name {
			continue
		}
		e.Cause = "it is a physical function whose virtual functions are the parents"
		e.Next = "enable its virtual functions, and name one of them"
		var problems []Problem
		if state := s.sriov(at.path, &problems); state != nil && state.Enabled > 0 {
			e.Next = "name one of them, such as " + state.VFs[0]
		}
	}
	return e
}

// noRoom says that parents offer a type and none has room for it, and what their
// GPUs run.
func (s *scan) noRoom(typ string, places []place) *Error {
	parents := make([]Parent, 0, len(places))
	for _, at := range places {
		p := s.parent(at)
		if at.framework == FrameworkMdev {
			s.mdevs(&p, nil)
		} else {
			s.vf(&p)
		}
		parents = append(parents, p)
	}
	var reasons []string
	for _, g := range s.gpusOf(parents) {
		if running := runningOn(g.Parents); running != "" {
			reasons = append(reasons, "GPU "+g.Name+" runs "+running)
		}
	}
	e := &Error{
		Op: "create", Object: typ, Meaning: "no parent has room for this type", Cause: few(reasons),
		Next: "remove a device, or choose a type whose capacity in the inventory is not 0", Kind: ErrNoCapacity,
	}
	if len(reasons) == 0 { // MIG without instances, a driver that is not ready
		e.Cause = "its GPUs run nothing, and have no instance of it: they may be in another MIG mode, or their driver is not ready"
	}
	return e
}

// few joins what one line can tell of.
func few(reasons []string) string {
	const most = 3
	if more := len(reasons) - most; more > 0 {
		reasons = append(reasons[:most:most], strconv.Itoa(more)+" more are like that")
	}
	return strings.Join(reasons, "; ")
}

// typeSources are the files that tell which types a parent offers.
var typeSources = []string{"mdev_supported_types", "name", path.Base(creatableFile), path.Base(currentFile)}

// noSuchType says that none of these parents offers a type: those of the host, or
// of the GPU of the one that was named.
func (s *scan) noSuchType(op, typ, parent string, parents []Parent) *Error {
	e := &Error{Op: op, Object: typ, Meaning: "no parent offers such a type", Next: "choose one from the inventory", Kind: ErrNotFound}
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
	for i := range parents { // what cannot be read may offer it
		for _, problem := range parents[i].Problems {
			if problem.unread() && slices.Contains(typeSources, path.Base(problem.Object)) {
				e.Meaning = "no parent that can be read offers such a type"
				e.Kind, e.Errno = fault.KindOf(problem.Err), errnoOf(problem.Err)
				e.Cause, e.Next = problem.Text, problem.Next
				return e
			}
		}
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
