package placement

import (
	"fmt"
	"slices"
	"strings"

	"github.com/vgpukit/vgpukit/mdev"
)

// ReasonCode says in one word why a parent cannot take a vGPU.
type ReasonCode string

// The reasons.
const (
	ReasonNoSuchType   ReasonCode = "no-such-type"     // the GPU has no such type
	ReasonNoRoom       ReasonCode = "no-room"          // its instances are taken
	ReasonOtherSize    ReasonCode = "other-size"       // it runs vGPUs of another framebuffer size
	ReasonOtherType    ReasonCode = "other-type"       // it runs another type, under an older driver
	ReasonMIGOff       ReasonCode = "mig-off"          // the type needs MIG mode
	ReasonMIGOn        ReasonCode = "mig-on"           // the type cannot be had in MIG mode
	ReasonNUMANode     ReasonCode = "other-numa-node"  // it is far from the VM's memory
	ReasonAntiAffinity ReasonCode = "anti-affinity"    // the VM's group is on it already
	ReasonPinned       ReasonCode = "pinned-elsewhere" // the request names another parent
	ReasonProblem      ReasonCode = "problem"          // the inventory found a problem with it
	ReasonParentInUse  ReasonCode = "parent-in-use"    // the virtual function has a vGPU
	ReasonNoParent     ReasonCode = "no-parent"        // the GPU has none: SR-IOV is not enabled
	ReasonMustBeAlone  ReasonCode = "must-be-alone"    // the type must be the VM's only vGPU
	ReasonNotJointly   ReasonCode = "not-jointly"      // it has room for this one, but not with all others
)

// Reason says why some parents of one GPU cannot take a vGPU.
type Reason struct {
	// Request is the index of the vGPU among the requests; of several that ask
	// for the same type and parent, the first.
	Request int    `json:"request"`
	Host    string `json:"host,omitempty"`
	GPU     string `json:"gpu"`
	// Parents are those of the GPU that it applies to, never nil.
	Parents []string   `json:"parents"`
	Code    ReasonCode `json:"code"`
	Text    string     `json:"text"` // a sentence about the GPU or parent
}

// Reasons says for each parent of the hosts considered why it cannot take each
// vGPU, by vGPU, host and GPU. A parent that could take the vGPU alone has
// [ReasonNotJointly]. The result is the caller's.
func (r *Refusal) Reasons() []Reason {
	reasons := []Reason{}
	r.each(true, func(reason Reason) { reasons = append(reasons, reason) })
	return reasons
}

// each calls yield for each reason. The texts are made only if asked for.
func (r *Refusal) each(texts bool, yield func(Reason)) {
	d := decisions.Get().(*decision)
	defer d.release()
	if d.prepare(r.snapshot, r.requests, &r.options) != nil {
		return
	}
	type ask struct{ typeName, parent string }
	asked := map[ask]bool{}
	for i, request := range r.requests {
		if key := (ask{request.Type, request.Parent}); asked[key] {
			continue
		} else {
			asked[key] = true
		}
		for g := d.gpus.from; g < d.gpus.to; g++ {
			d.reasons(i, g, texts, yield)
		}
	}
}

// reasons says why the parents of one GPU cannot take the i-th vGPU.
func (d *decision) reasons(i int, g int32, texts bool, yield func(Reason)) {
	gpu := &d.fleet.gpus[g]
	reason := Reason{Request: i, Host: d.fleet.hosts[d.fleet.hostOf[g]].name, GPU: gpu.name}
	say := func(code ReasonCode, parents []string, parentNote string) {
		reason.Code, reason.Parents = code, parents
		if texts {
			reason.Text = d.sentence(code, i, g, parents, parentNote)
		}
		yield(reason)
	}
	if code := d.why(i, g); code != "" {
		parents := slices.Clone(gpu.free)
		for _, closed := range gpu.closed {
			if code == ReasonNoRoom && closed.code != ReasonNoRoom {
				say(closed.code, []string{closed.name}, closed.note)
				continue
			}
			parents = append(parents, closed.name)
		}
		slices.Sort(parents)
		say(code, append([]string{}, parents...), "")
		return
	}
	var free, taken, elsewhere []string
	for j, name := range gpu.free {
		switch {
		case d.snapshot.taken(g).has(j):
			taken = append(taken, name)
		case !d.pinAllows(i, g, int32(j)):
			elsewhere = append(elsewhere, name)
		default:
			free = append(free, name)
		}
	}
	for _, closed := range gpu.closed {
		say(closed.code, []string{closed.name}, closed.note)
	}
	for _, group := range []struct {
		code    ReasonCode
		parents []string
	}{{ReasonParentInUse, taken}, {ReasonPinned, elsewhere}, {ReasonNotJointly, free}} {
		if len(group.parents) > 0 {
			say(group.code, group.parents, "")
		}
	}
}

func (d *decision) pinAllows(i int, g, parent int32) bool {
	w := &d.wants[i]
	at, ok := w.at(g)
	return !w.pinned || (ok && (at.parent == anyParent || at.parent == parent))
}

// why is the reason why a whole GPU cannot take the i-th vGPU; "": it can.
func (d *decision) why(i int, g int32) ReasonCode {
	gpu, w := &d.fleet.gpus[g], &d.wants[i]
	class := d.classes[d.snapshot.class(g)]
	if w.pinned {
		at, ok := w.at(g)
		switch {
		case !ok:
			return ReasonPinned
		case at.parent == closedSpot || !d.open(at):
			return ReasonNoRoom
		}
	}
	if len(gpu.free)+len(gpu.closed) == 0 {
		return ReasonNoParent
	}
	wanted, _ := d.wantedKind(w.sought)
	slot := d.slot(class.model, w.sought)
	// The vendor-specific framework lists only what it can make now: a type of
	// the board that it runs may be there when it is empty.
	hidden := gpu.framework == mdev.FrameworkVendorVFIO && class.runs != noKind &&
		wanted.board != "" && d.fleet.kinds[class.runs].board == wanted.board
	switch {
	case slot < 0 && !hidden:
		return ReasonNoSuchType
	case d.policy == NUMA && d.options.Strict && !d.near(g):
		return ReasonNUMANode
	case d.forbidden(g):
		return ReasonAntiAffinity
	case slot >= 0 && d.several && breaksWhole(d.fleet, class.model, slot):
		return ReasonMustBeAlone
	case wanted.slice != "" && gpu.noMIG:
		return ReasonMIGOff
	case wanted.slice == "" && wanted.size > 0 && gpu.mig:
		return ReasonMIGOn
	case slot >= 0 && class.left(slot) > 0:
		return ""
	case class.runs != noKind && wanted.slice == "" && d.fleet.kinds[class.runs].size != wanted.size:
		return ReasonOtherSize
	case slot < 0:
		return ReasonNoRoom
	case class.model.sameType && class.runs != noKind && class.runs != class.model.slots[slot].kind:
		return ReasonOtherType
	}
	return ReasonNoRoom
}

// wantedKind is one of the kinds that a sought type's name stands for; if no
// GPU has it, it is what the name says.
func (d *decision) wantedKind(sought int) (wanted kind, known bool) {
	name := d.names[sought]
	if kinds := d.fleet.kindsByName[name]; len(kinds) > 0 {
		return d.fleet.kinds[kinds[0]], true
	}
	return newKind(name, name, 0), false
}

// sentence says a reason in words.
func (d *decision) sentence(code ReasonCode, i int, g int32, parents []string, note string) string {
	gpu, class := &d.fleet.gpus[g], d.classes[d.snapshot.class(g)]
	wanted, _ := d.wantedKind(d.wants[i].sought)
	typeName := wanted.name
	runs := "vGPUs"
	if class.runs != noKind {
		runs = d.fleet.kinds[class.runs].name
	}
	switch code {
	case ReasonNoSuchType:
		return fmt.Sprintf("%s has no type %s", gpu.name, typeName)
	case ReasonNoRoom:
		switch {
		case wanted.slice != "":
			return fmt.Sprintf("%s offers no %s now: MIG mode is off, or no GPU instance of the kind is free", gpu.name, typeName)
		case class.used == 0:
			return fmt.Sprintf("%s is empty, and its driver offers no %s", gpu.name, typeName)
		case class.parents == 0 && len(parents) == 1:
			return fmt.Sprintf("%s is taken, and GPU %s has no other", parents[0], gpu.name)
		case class.parents == 0:
			return fmt.Sprintf("%s is full: none of its virtual functions or GPU instances offers a vGPU any more", gpu.name)
		}
		return fmt.Sprintf("%s has no room for another %s beside its %d vGPUs", gpu.name, typeName, class.used)
	case ReasonOtherSize:
		return fmt.Sprintf("%s runs %s, whose framebuffer is %s; %s has %s", gpu.name, runs, inWords(d.fleet.kinds[class.runs].size), typeName, inWords(wanted.size))
	case ReasonOtherType:
		return fmt.Sprintf("%s runs %s, and its driver has one type at a time", gpu.name, runs)
	case ReasonMIGOff:
		return fmt.Sprintf("%s is MIG-backed, and MIG mode of %s is off", typeName, gpu.name)
	case ReasonMIGOn:
		return fmt.Sprintf("%s is not MIG-backed, and MIG mode of %s is on", typeName, gpu.name)
	case ReasonNUMANode:
		if gpu.node < 0 {
			return fmt.Sprintf("the kernel does not say which NUMA node %s is on; node %d is required", gpu.name, *d.options.NUMANode)
		}
		return fmt.Sprintf("%s is on NUMA node %d; node %d is required", gpu.name, gpu.node, *d.options.NUMANode)
	case ReasonAntiAffinity:
		return fmt.Sprintf("%s has or serves a vGPU that this one must be apart from", gpu.name)
	case ReasonPinned:
		return fmt.Sprintf("vGPU %d is pinned to another parent than %s", i, strings.Join(few(parents, gpu.name), ", "))
	case ReasonProblem:
		return fmt.Sprintf("%s has a problem: %s", parents[0], note)
	case ReasonParentInUse:
		if note != "" && note != parents[0] {
			return fmt.Sprintf("%s has vGPU %s", parents[0], note)
		}
		return fmt.Sprintf("%s: in use by a vGPU", strings.Join(few(parents, gpu.name), ", "))
	case ReasonNoParent:
		return fmt.Sprintf("%s has no parent that makes vGPUs; its virtual functions are not enabled", gpu.name)
	case ReasonMustBeAlone:
		return fmt.Sprintf("%s on %s cannot be one of several vGPUs in a VM", typeName, gpu.name)
	}
	return fmt.Sprintf("%s has room for vGPU %d, but not together with the others", gpu.name, i)
}

// few are the names, or something shorter if they are many.
func few(names []string, gpu string) []string {
	if len(names) <= 2 {
		return names
	}
	return []string{fmt.Sprintf("%d virtual functions of %s", len(names), gpu)}
}

func inWords(size uint64) string {
	switch {
	case size == 0:
		return "unknown"
	case size%(1<<30) == 0:
		return fmt.Sprintf("%d GiB", size>>30)
	}
	return fmt.Sprintf("%d MiB", size>>20)
}
