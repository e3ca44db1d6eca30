package mdev

import (
	"context"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/vgpukit/vgpukit/internal/board"
	"github.com/vgpukit/vgpukit/internal/fault"
)

func (s *scan) noSuchParent(ctx context.Context, op, name string) *Error {
	e := &Error{Op: op, Object: name, Meaning: "there is no such parent", Next: "choose one from the inventory", Kind: ErrNotFound}
	places, _ := s.mdevParents()
	vfs, pfs, _ := s.pciParents(map[string]bool{})
	var names []string
	for _, at := range append(places, vfs...) {
		names = append(names, at.name)
	}
	switch near := nearestParent(name, names); {
	case len(names) == 0:
		e.Cause, e.Next = s.noParents(ctx)
	case near != "":
		e.Next = "did you mean " + near + "?"
	}
	if cause, next, ok := s.idleVF(name); ok {
		e.Cause, e.Next = cause, next
	}
	for _, at := range pfs {
		if at.name != name {
			continue
		}
		e.Cause, e.Next = s.physical(ctx, name)
	}
	return e
}

// idleVF says of a virtual function of NVIDIA's why it is no parent; false: it is none.
func (s *scan) idleVF(name string) (cause, next string, ok bool) {
	where, err := s.follow(pciDevicesDir, name)
	if err != nil {
		return "", "", false
	}
	p := s.parent(place{name: name, path: where})
	if p.PF == "" || p.PCI.Vendor != nvidiaVendor {
		return "", "", false
	}
	switch {
	case isVFIO(p.Driver):
		return "it is a virtual function that is bound to " + p.Driver + ", to be given to a VM as it is", "name another, or none", true
	case p.Driver == nvidiaDriver:
		return "it is a virtual function that offers no types of vGPUs", "see the problems of GPU " + p.PF + " in the inventory", true
	case p.Driver == "":
		return "it is a virtual function without a driver", "name another, or none", true
	}
	return "it is a virtual function that is bound to " + p.Driver, "name another, or none", true
}

// physical says of a physical function why it is no parent.
func (s *scan) physical(ctx context.Context, name string) (cause, next string) {
	cause = "it is a physical function whose virtual functions are the parents"
	for _, p := range s.idleGPUs(ctx) {
		if p.Object == name {
			return cause + ": " + p.Text, p.Next
		}
	}
	var problems []Problem
	if where, err := s.follow(pciDevicesDir, name); err == nil {
		if state := s.sriov(where, &problems); state != nil && state.Enabled > 0 {
			return cause, "name one of them, such as " + state.VFs[0]
		}
	}
	return cause, "enable its virtual functions, and name one of them"
}

// noRoom says that parents offer a type and none has room for it, and what their
// GPUs run.
func (s *scan) noRoom(ctx context.Context, typ string, places []place) *Error {
	parents := make([]Parent, 0, len(places))
	for _, at := range places {
		parents = append(parents, s.withAll(at))
	}
	var offering []*GPU
	name := typ
	gpus := s.gpusOf(ctx, parents)
	for i := range gpus {
		for j := range gpus[i].Parents {
			if t, ok := gpus[i].Parents[j].typeNamed(typ); ok {
				name = t.Name
				offering = append(offering, &gpus[i])
				break
			}
		}
	}
	e := &Error{Op: "create", Object: typ, Meaning: "no parent has room for this type", Kind: ErrNoCapacity}
	e.Cause, e.Next = s.lackOf(offering, name)
	if e.Cause == "" {
		e.Cause, e.Next = "the GPUs that have it run nothing: their driver is not ready", nextNotReady
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
var typeSources = []string{mdevTypesDir, "name", path.Base(creatableFile), path.Base(currentFile)}

// noSuchType says that none of these parents offers a type: those of the host, or
// of the GPU of the one that was named.
func (s *scan) noSuchType(ctx context.Context, op, typ, parent string, parents []Parent) *Error {
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
	gpus := unlisted(s.gpusOf(ctx, parents), name)
	switch {
	case len(gpus) > 0:
		s.explainUnlisted(e, gpus, name, seen)
		if _, named := board.Parse(name); near != "" && !named {
			e.Next += "; or did you mean " + near + "?"
		}
		return e
	case len(parents) == 0:
		e.Cause, e.Next = s.noParents(ctx)
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
	if idle := s.idleGPUs(ctx); parent == "" && len(idle) > 0 {
		e.Cause, e.Next = "some GPUs make no vGPUs: "+saying(idle), idle[0].Next+"; or choose one from the inventory"
		if near != "" {
			e.Next = "did you mean " + near + "?"
		}
	}
	return e
}

// gpusOf groups virtual functions by their GPU, and names the types that they
// run as far as siblings tell.
func (s *scan) gpusOf(ctx context.Context, parents []Parent) []GPU {
	s.nameVFTypes(parents)
	return s.gpus(ctx, parents, nil)
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
			seen = seen || dev.Framework == FrameworkVendorVFIO && SameType(dev.Type, id)
		}
	}
	return typ, seen
}

// idleGPUs are what is the matter with the GPUs that could have virtual functions and have no
// parent.
func (s *scan) idleGPUs(ctx context.Context) []Problem {
	_, pfs, _ := s.pciParents(map[string]bool{})
	all, _ := s.places(false)
	var parents []Parent
	for _, at := range all {
		parents = append(parents, s.parent(at))
	}
	var found []Problem
	for _, g := range s.gpus(ctx, parents, pfs) {
		if len(g.Parents) > 0 {
			continue
		}
		if p, ok := g.diagnosis(); ok {
			found = append(found, p)
		}
	}
	return found
}

// saying are the texts of problems, each with its object.
func saying(problems []Problem) string {
	var texts []string
	for _, p := range problems {
		texts = append(texts, p.Object+": "+p.Text)
	}
	return few(texts)
}

// noParents says why a host has no parent at all.
func (s *scan) noParents(ctx context.Context) (cause, next string) {
	if idle := s.idleGPUs(ctx); len(idle) > 0 {
		return "this host has no parent: " + saying(idle), idle[0].Next
	}
	return "this host has no parent: no GPU driver with vGPU support is loaded", "load the driver"
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
