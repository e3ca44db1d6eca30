package placement

import (
	"cmp"
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/vgpukit/vgpukit/internal/board"
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
	ReasonNoParent     ReasonCode = "no-parent"        // the GPU makes no vGPUs: the text says why
	ReasonNoInstance   ReasonCode = "no-instance"      // it is in MIG mode without a GPU instance for the type
	ReasonIdle         ReasonCode = "offers-nothing"   // it runs nothing and offers nothing
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

// finding is a [Reason] that has not been put into words.
type finding struct {
	request, host, gpu int
	code               ReasonCode
	parents            []string
	note               string // of one parent: its problem, or the vGPU that it has
}

// findings are the reasons by vGPU, host and GPU.
func (d *decision) findings() iter.Seq[finding] {
	return func(yield func(finding) bool) {
		for i, r := range d.requests {
			if slices.Contains(d.requests[:i], r) {
				continue
			}
			for h := d.from; h < d.to; h++ {
				for n := range d.hosts[h].gpus {
					for _, f := range d.find(i, h, n) {
						if !yield(f) {
							return
						}
					}
				}
			}
		}
	}
}

// find says why the parents of one GPU cannot take the i-th vGPU.
func (d *decision) find(i, h, n int) (found []finding) {
	g := &d.hosts[h].gpus[n]
	add := func(code ReasonCode, note string, parents ...string) {
		found = append(found, finding{i, h, n, code, append([]string{}, parents...), note})
	}
	code := d.why(i, h, n)
	if w := &d.wants[i]; w.pinned {
		if at, ok := w.pin(h, n); ok && !d.isOpen(at) {
			return d.findShut(finding{i, h, n, code, nil, ""})
		}
	}
	if code != "" && code != ReasonNoRoom && !code.byPolicy() {
		add(code, "", g.parentNames()...)
		return found
	}
	var free, full, taken, elsewhere []string
	for j, name := range g.free {
		switch at, _ := d.wants[i].pin(h, n); {
		case code == ReasonNoRoom:
			full = append(full, name)
		case g.isTaken(j):
			taken = append(taken, name)
		case d.wants[i].pinned && at.parent != anyParent && int(at.parent) != j:
			elsewhere = append(elsewhere, name)
		default:
			free = append(free, name)
		}
	}
	if code.byPolicy() && len(free) > 0 {
		add(code, "", free...)
		free = nil
	}
	for _, c := range g.inOrder(code) {
		if code == ReasonNoRoom && (c.code == ReasonNoRoom || c.code == ReasonQuarantined) {
			full = append(full, c.name)
		} else if at, ok := d.wants[i].pin(h, n); ok && at.parent != anyParent && c.code == ReasonQuarantined {
			elsewhere = append(elsewhere, c.name)
		} else {
			add(c.code, c.note, c.name)
		}
	}
	if slices.Sort(full); code == ReasonNoRoom {
		add(code, "", full...)
	}
	for _, group := range []struct {
		code    ReasonCode
		parents []string
	}{{ReasonParentInUse, taken}, {ReasonPinned, elsewhere}, {ReasonNotJointly, free}} {
		if len(group.parents) > 0 {
			add(group.code, "", group.parents...)
		}
	}
	return found
}

// findShut says why a vGPU cannot be on the parent that it is pinned to, which takes none, and
// that the GPU's others are not what was asked for.
func (d *decision) findShut(f finding) (found []finding) {
	g := &d.hosts[f.host].gpus[f.gpu]
	pin := d.requests[f.request].Parent
	shut := f
	shut.parents = []string{pin}
	if at := slices.IndexFunc(g.closed, func(c closedParent) bool { return c.name == pin }); at >= 0 {
		shut.note = g.closed[at].note
	}
	others := slices.DeleteFunc(g.parentNames(), func(name string) bool { return name == pin })
	if len(others) > 0 {
		f.code, f.parents = ReasonPinned, others
		return append(found, shut, f)
	}
	return append(found, shut)
}

// why is the reason why a whole GPU cannot take the i-th vGPU; "": it can.
func (d *decision) why(i, h, n int) ReasonCode {
	w, g := &d.wants[i], &d.hosts[h].gpus[n]
	if w.pinned {
		at, ok := w.pin(h, n)
		switch {
		case !ok:
			return ReasonPinned
		case d.isOpen(at):
		case at.parent >= 0:
			return ReasonParentInUse
		default:
			shut := slices.IndexFunc(g.closed, func(c closedParent) bool { return c.name == d.requests[i].Parent })
			code := g.closed[shut].code
			if code != ReasonNoRoom && code != ReasonQuarantined {
				return code
			}
			return cmp.Or(d.whyWhole(w, h, n), code)
		}
	}
	return d.whyWhole(w, h, n)
}

// lists tells whether a GPU is known to have a type, though none of its parents may list it now.
func (d *decision) lists(g *gpu, slot int, wanted *kind) bool {
	if slot >= 0 {
		return true
	}
	if g.otherBoard(wanted) {
		return false
	}
	if g.framework != mdev.FrameworkVendorVFIO { // which lists all its types
		return false
	}
	runs := ""
	if g.runs != noKind {
		runs = d.kinds[g.runs].board
	}
	if runs == "" && g.used > 0 && len(g.model.slots) > 0 { // what it runs has a number only
		runs = d.kinds[g.model.slots[0].kind].board
	}
	if wanted.numbered() && (g.used > 0 || g.mig || len(g.model.slots) == 0) {
		return true
	}
	if len(g.model.slots) == 0 && runs == "" { // nothing shows what board it is
		return wanted.board != ""
	}
	// It lists only what it can make now: a type of the board that it runs may be there
	// when it is empty.
	return wanted.board != "" && runs == wanted.board
}

// otherBoard tells that a GPU is known to be of another board than the type.
func (g *gpu) otherBoard(wanted *kind) bool {
	makes, known := board.Makes(g.pci, wanted.named)
	return known && !makes
}

// perhaps tells whether a finding is of a GPU that may be of another board than the type: it lists
// nothing that would tell.
func (d *decision) perhaps(f finding) bool {
	g := &d.hosts[f.host].gpus[f.gpu]
	switch f.code {
	case ReasonNoParent, ReasonIdle, ReasonNoInstance, ReasonMIGOn, ReasonMIGOff:
		wanted := d.wanted(&d.wants[f.request])
		_, known := board.Makes(g.pci, wanted.named)
		return !known && len(g.model.slots) == 0
	}
	return false
}

// whyWhole is why, of a vGPU that may go anywhere on the GPU.
func (d *decision) whyWhole(w *want, h, n int) ReasonCode {
	g := &d.hosts[h].gpus[n]
	wanted, slot, runs := d.wanted(w), g.model.slotOf(d.types[w.sought].kinds), kind{}
	if len(g.free)+len(g.closed) == 0 {
		if g.otherBoard(&wanted) {
			return ReasonNoSuchType
		}
		return ReasonNoParent
	}
	if g.runs != noKind {
		runs = d.kinds[g.runs]
	}
	switch {
	case !d.lists(g, slot, &wanted):
		return ReasonNoSuchType
	case d.options.Strict && !d.near(g):
		return ReasonNUMANode
	case d.forbidden(h, n):
		return ReasonAntiAffinity
	case slot >= 0 && d.several && g.model.slots[slot].alone:
		return ReasonMustBeAlone
	case slot >= 0 && g.left(slot) > 0 && g.keepsOff(w):
		return ReasonReserved
	case slot >= 0 && g.left(slot) > 0:
		return ""
	case slot >= 0 && d.ruledOut(g, slot) != "":
		return d.ruledOut(g, slot)
	case wanted.migBacked() && g.noMIG:
		return ReasonMIGOff
	case g.instances != nil && len(g.instances.shapes) == 0:
		return ReasonNoInstance
	case !wanted.migBacked() && wanted.size > 0 && g.mig:
		return ReasonMIGOn
	case wanted.migBacked() && g.instances != nil && g.instances.fitting(wanted.named) == 0:
		return ReasonNoInstance
	case g.runs != noKind && !wanted.migBacked() && runs.size != wanted.size && runs.size > 0 && wanted.size > 0:
		return ReasonOtherSize
	case g.used == 0 && g.idle.Code != "":
		return ReasonIdle
	case slot < 0:
		return ReasonNoRoom
	case g.model.sameType && g.runs != noKind && g.runs != g.model.slots[slot].kind:
		return ReasonOtherType
	}
	return ReasonNoRoom
}

// wanted is one of the kinds that a type's name stands for; if no GPU has it, it is what
// the name says.
func (d *decision) wanted(w *want) kind {
	a := &d.types[w.sought]
	if len(a.kinds) > 0 {
		return d.kinds[a.kinds[0]]
	}
	return newKind(a.name, a.name, 0)
}

// reason puts a finding into words.
func (d *decision) reason(f finding) Reason {
	h := &d.hosts[f.host]
	return Reason{Request: f.request, Host: h.name, GPU: h.gpus[f.gpu].name, Parents: f.parents, Code: f.code, Text: d.sentence(f)}
}

func (d *decision) sentence(f finding) string {
	g := &d.hosts[f.host].gpus[f.gpu]
	wanted := d.wanted(&d.wants[f.request])
	runs := kind{name: "vGPUs"}
	if g.runs != noKind {
		runs = d.kinds[g.runs]
	}
	switch f.code {
	case ReasonNoSuchType:
		return fmt.Sprintf("%s has no type %s", g.name, wanted.name)
	case ReasonNoRoom:
		return noRoom(g, wanted)
	case ReasonOtherSize:
		return fmt.Sprintf("%s runs %s, whose framebuffer is %s; %s has %s", g.name, runs.name, inWords(runs.size), wanted.name, inWords(wanted.size))
	case ReasonOtherType:
		return fmt.Sprintf("%s runs %s, and its driver has one type at a time", g.name, runs.name)
	case ReasonMIGOff:
		return fmt.Sprintf("%s is MIG-backed, and MIG mode of %s is off", wanted.name, g.name)
	case ReasonMIGOn:
		return fmt.Sprintf("%s is not MIG-backed, and MIG mode of %s is on", wanted.name, g.name)
	case ReasonNUMANode:
		if g.node < 0 {
			return fmt.Sprintf("the kernel does not say which NUMA node %s is on; node %d is required", g.name, d.node)
		}
		return fmt.Sprintf("%s is on NUMA node %d; node %d is required", g.name, g.node, d.node)
	case ReasonAntiAffinity:
		return fmt.Sprintf("%s has or serves a vGPU that this one must be apart from", g.name)
	case ReasonPinned:
		return fmt.Sprintf("vGPU %d is pinned to another parent than %s", f.request, cmp.Or(inShort(f.parents, g.name), g.name))
	case ReasonProblem:
		return fmt.Sprintf("%s has a problem: %s", f.parents[0], f.note)
	case ReasonParentInUse:
		if f.note != "" && f.note != f.parents[0] {
			return fmt.Sprintf("%s has vGPU %s", f.parents[0], f.note)
		}
		return fmt.Sprintf("%s: in use by a vGPU", inShort(f.parents, g.name))
	case ReasonNoParent:
		if g.idle.Code != "" {
			return g.name + ": " + g.idle.Text
		}
		return g.name + " has no parent that makes vGPUs"
	case ReasonIdle:
		return g.name + ": " + g.idle.Text
	case ReasonNoInstance:
		return noInstance(g, wanted)
	case ReasonCordoned, ReasonReserved, ReasonTypeNotAllowed, ReasonTypeLimit, ReasonQuarantined:
		return policySentence(g, f, wanted)
	case ReasonMustBeAlone:
		return fmt.Sprintf("%s on %s cannot be one of several vGPUs in a VM", wanted.name, g.name)
	}
	return fmt.Sprintf("%s has room for vGPU %d, but not together with the others", g.name, f.request)
}

func noRoom(g *gpu, wanted kind) string {
	switch {
	case wanted.migBacked() && g.instances != nil && g.used > 0:
		return fmt.Sprintf("%s has no room for another %s in its GPU instances (%s) beside what they run (%d)", g.name, wanted.name, g.instances.names, g.used)
	case wanted.migBacked():
		return fmt.Sprintf("%s offers no %s now, and it is not known which GPU instances it has", g.name, wanted.name)
	case wanted.numbered() && g.model.single:
		return fmt.Sprintf("%s lists no type %s beside what it runs (%d): it has no room for it, or no such type", g.name, wanted.name, g.used)
	case g.used == 0:
		return fmt.Sprintf("%s is empty, and its driver offers no %s", g.name, wanted.name)
	case len(g.model.slots) == 0:
		return fmt.Sprintf("%s runs vGPUs (%d), and has room for no other", g.name, g.used)
	case g.parents == 0:
		return fmt.Sprintf("%s is full: none of its virtual functions or GPU instances offers a vGPU any more", g.name)
	}
	return fmt.Sprintf("%s has no room for another %s beside what it runs (%d)", g.name, wanted.name, g.used)
}

func noInstance(g *gpu, wanted kind) string {
	if len(g.instances.shapes) == 0 {
		return g.name + " is in MIG mode without GPU instances"
	}
	needs := fmt.Sprintf("one of %d slices", wanted.named.Slices)
	if p, ok := g.instances.board.Wanted(wanted.named); ok {
		needs = "a " + p.String()
	}
	return fmt.Sprintf("%s has no GPU instance for %s, which needs %s; it has %s", g.name, wanted.name, needs, g.instances.names)
}

// next is what to do about a finding, where that depends on the GPU; "": see hints.
func (d *decision) next(f finding) string {
	g, wanted := &d.hosts[f.host].gpus[f.gpu], d.wanted(&d.wants[f.request])
	off := "disable MIG mode (nvidia-smi -i " + g.name + " -mig 0)"
	switch f.code {
	case ReasonNoParent:
		vfs, enable := strings.CutPrefix(g.idle.Next, "enable them: ")
		switch { // the mode wipes virtual functions, so it comes first
		case enable && wanted.migBacked() && g.noMIG:
			return "enable MIG mode (nvidia-smi -i " + g.name + " -mig 1), then its virtual functions: " + vfs
		case enable && !wanted.migBacked() && wanted.size > 0 && g.mig:
			return off + ", then enable its virtual functions: " + vfs
		}
		return g.idle.Next
	case ReasonIdle:
		return g.idle.Next
	case ReasonNoInstance:
		if !wanted.migBacked() {
			return off + ", or make GPU instances and ask for a MIG-backed type"
		}
		makeOne := "make one: " + g.instances.board.HowToMake(g.name, wanted.named)
		if len(g.instances.shapes) == 0 {
			return makeOne + "; or " + off
		}
		return makeOne + "; or ask for a type for one that is there"
	case ReasonMIGOn:
		return "ask for a MIG-backed type, or " + off
	case ReasonNoRoom:
		switch {
		case wanted.numbered() && g.model.single && g.used > 0:
			return "see whether that is the type's id; if so, remove a vGPU that is not needed"
		case g.used == 0:
			return "ask for another type, or see the kernel log (dmesg) for why the driver offers none"
		case wanted.migBacked() && g.instances != nil:
			return "remove a vGPU that is not needed, or make a GPU instance: " + g.instances.board.HowToMake(g.name, wanted.named)
		}
	}
	return policyNext(g, f)
}

// inShort are the names, or something shorter if they are many.
func inShort(names []string, gpu string) string {
	if len(names) > 2 {
		return fmt.Sprintf("%d virtual functions of %s", len(names), gpu)
	}
	return strings.Join(names, ", ")
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
