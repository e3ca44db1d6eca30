package placement

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/vgpukit/vgpukit/internal/closest"
	"github.com/vgpukit/vgpukit/internal/fault"
	"github.com/vgpukit/vgpukit/mdev"
)

// Refusal is the error of a VM whose vGPUs have no place. The reasons are worked out
// when they are asked for. It is immutable, safe for concurrent use, and travels as
// JSON.
type Refusal struct {
	// Kind is ErrNoCapacity, ErrNotFound or ErrInvalid.
	Kind error `json:"-"`
	// Request is the index of the first vGPU that has no place even alone.
	Request int `json:"request"`
	// Jointly: each vGPU would have a place alone, and Request says nothing.
	Jointly bool `json:"jointly,omitempty"`
	// UnknownType and UnknownParent: no GPU has a type, or parent, of that name.
	UnknownType   bool `json:"unknown_type,omitempty"`
	UnknownParent bool `json:"unknown_parent,omitempty"`
	// DidYouMean are names near to a type or parent that does not exist.
	DidYouMean []string `json:"did_you_mean,omitempty"`
	// GaveUp says that the search became too long to be sure.
	GaveUp bool `json:"gave_up,omitempty"`

	decision *decision // what was asked; nil: it was read from JSON
	told     told      // if so
}

// told is what a refusal says beside its fields when it travels.
type told struct {
	Error   string   `json:"error"`          // in one line
	Kind    string   `json:"kind"`           // no_capacity, not_found or invalid
	Next    string   `json:"next,omitempty"` // the hint
	Reasons []Reason `json:"reasons"`
}

// Reasons says for each parent of the hosts considered why it cannot take each
// vGPU, by vGPU, host and GPU. A parent that could take the vGPU alone has
// [ReasonNotJointly]. The result is the caller's.
func (r *Refusal) Reasons() []Reason {
	if r.decision == nil {
		return slices.Clone(r.told.Reasons)
	}
	reasons := []Reason{}
	for f := range r.decision.findings() {
		reasons = append(reasons, r.decision.reason(f))
	}
	return reasons
}

// Error is one line: what has no place, and why not, summed up over the GPUs.
func (r *Refusal) Error() string {
	if r.decision == nil {
		return r.told.Error
	}
	return fault.Line(r.parts())
}

// Unwrap gives the kind to [errors.Is].
func (r *Refusal) Unwrap() error { return r.Kind }

// As is for this library's own formatting of errors around this one.
func (r *Refusal) As(target any) bool { return r.decision != nil && fault.As(r.parts(), target) }

func (r *Refusal) parts() fault.Parts {
	at := fault.Place{Op: opPlace}
	if !r.Jointly {
		at.Object = fmt.Sprintf("vGPU %d", r.Request)
	}
	return fault.Parts{Places: []fault.Place{at}, Meaning: r.meaning()}
}

func (r *Refusal) meaning() string {
	requests, request := r.decision.requests, r.decision.requests[r.Request]
	guess := ""
	if len(r.DidYouMean) > 0 {
		guess = fmt.Sprintf("; did you mean %s?", strings.Join(r.DidYouMean, " or "))
	}
	switch {
	case r.UnknownType:
		idle := ""
		if r.count()[ReasonNoParent] > 0 {
			idle = " now; " + r.because()
		}
		return fmt.Sprintf("no GPU has a type %q", request.Type) + idle + guess
	case r.UnknownParent:
		return fmt.Sprintf("there is no parent or GPU %q", request.Parent) + guess
	case !r.Jointly:
		return "no GPU can take it: " + r.because()
	case r.GaveUp:
		return fmt.Sprintf("found no place for all %d vGPUs on one host before the search became too long: ", len(requests)) + r.because()
	}
	return fmt.Sprintf("no host can take all %d vGPUs: ", len(requests)) + r.because()
}

// beside tells a finding that says little of why a vGPU has no place, beside the GPU's own reason:
// there are as many as virtual functions. What is the matter with the one that was asked for says all.
func (d *decision) beside(f finding) bool {
	at, pinned := d.wants[f.request].pin(f.host, f.gpu)
	if !pinned || at.parent == anyParent {
		return f.code == ReasonParentInUse
	}
	return (f.code == ReasonParentInUse || f.code == ReasonProblem) && !slices.Equal(f.parents, []string{d.requests[f.request].Parent})
}

// mostNamed is how many GPUs are named with their reason.
const mostNamed = 3

// because names the GPUs that come closest with their reasons, those of one reason
// together, and counts the others: those that have no such type or are not what was
// asked for say little.
func (r *Refusal) because() string {
	var (
		order []string // of the sentences, with a mark for the GPU
		first = map[string]string{}
		same  = map[string][]string{}
		rest  = map[ReasonCode]int{}
	)
	for f := range r.decision.findings() {
		if !r.Jointly && f.request != r.Request {
			continue
		}
		if r.decision.beside(f) || f.code == ReasonPinned || f.code == ReasonNoSuchType {
			rest[f.code]++
			continue
		}
		sentence, gpu := r.decision.sentence(f), r.decision.hosts[f.host].gpus[f.gpu].name
		key := strings.ReplaceAll(sentence, gpu, "\x00")
		switch _, told := first[key]; {
		case told:
			same[key] = append(same[key], gpu)
		case len(order) < mostNamed:
			order, first[key] = append(order, key), sentence
		default:
			rest[f.code]++
		}
	}
	var sentences []string
	for _, key := range order {
		sentence := first[key]
		switch others := same[key]; {
		case len(others) > 0 && len(r.decision.hosts) > 1: // their GPUs may have the same names
			sentence += fmt.Sprintf(" (the same: %d more GPUs)", len(others))
		case len(others) > 0:
			sentence += " (the same: " + fault.List(others) + ")"
		}
		sentences = append(sentences, sentence)
	}
	codes := slices.Sorted(maps.Keys(rest))
	slices.SortStableFunc(codes, func(a, b ReasonCode) int { return rest[b] - rest[a] })
	for _, code := range codes {
		sentences = append(sentences, fmt.Sprintf("%d more: %s", rest[code], inFew[code]))
	}
	return strings.Join(sentences, "; ")
}

// inFew are the reasons of GPUs that are only counted.
var inFew = map[ReasonCode]string{
	ReasonNoSuchType: "no such type", ReasonNoRoom: "no room", ReasonOtherSize: "another size", ReasonOtherType: "another type",
	ReasonMIGOff: "not in MIG mode", ReasonMIGOn: "in MIG mode", ReasonNUMANode: "on another NUMA node", ReasonAntiAffinity: "to be kept apart from",
	ReasonPinned: "not what was asked for", ReasonProblem: "with a problem", ReasonParentInUse: "virtual functions in use", ReasonNoParent: "without vGPUs", ReasonNoInstance: "without a GPU instance for it", ReasonIdle: "offering nothing",
	ReasonMustBeAlone: "for a VM's only vGPU", ReasonNotJointly: "not for all together",
	ReasonCordoned: "cordoned", ReasonReserved: "reserved", ReasonTypeNotAllowed: "not for this type", ReasonTypeLimit: "with as many of this type as they may", ReasonQuarantined: "quarantined",
}

// count sums the reasons up.
func (r *Refusal) count() map[ReasonCode]int {
	counts := map[ReasonCode]int{}
	for f := range r.decision.findings() {
		if r.Jointly || f.request == r.Request {
			counts[f.code]++
		}
	}
	return counts
}

// Hint is the next step.
func (r *Refusal) Hint() string {
	if r.decision == nil {
		return r.told.Next
	}
	if r.UnknownType && r.count()[ReasonNoParent] == 0 || r.UnknownParent {
		return "look at the inventory for what there is; virtual functions without mediated devices list only what they can make now"
	}
	return cmp.Or(r.hint(false), r.hint(true), "look at the inventory for what there is")
}

// hint is the step that helps most, on the GPUs that are known to be of the type's board or, perhaps,
// on those of which that is not known; "": there is none.
func (r *Refusal) hint(perhaps bool) string {
	counts := map[ReasonCode]int{}
	next, open := map[ReasonCode]string{}, map[ReasonCode]bool{} // open: of some GPU there is nothing special to say
	for f := range r.decision.findings() {
		if (r.Jointly || f.request == r.Request) && r.decision.perhaps(f) == perhaps {
			counts[f.code]++
			step := r.decision.next(f)
			next[f.code], open[f.code] = cmp.Or(next[f.code], step), open[f.code] || step == ""
		}
	}
	for _, hint := range hints {
		switch {
		case counts[hint.code] == 0:
		case hint.code == ReasonPinned:
			if elsewhere := r.decision.unpinned(r.Request); elsewhere != "" {
				return elsewhere
			}
		default:
			if open[hint.code] {
				return hint.text
			}
			return next[hint.code]
		}
	}
	return ""
}

// unpinned is the hint to a request that has room elsewhere than where it is pinned to; "": it
// has none.
func (d *decision) unpinned(i int) string {
	w := &d.wants[i]
	if !w.pinned {
		return ""
	}
	elsewhere := ""
	for h := d.from; h < d.to; h++ {
		for n := range d.hosts[h].gpus {
			if d.whyWhole(w, h, n) != "" {
				continue
			}
			_, same := w.pin(h, n)
			switch g := &d.hosts[h].gpus[n]; {
			case same && g.reserved():
				return "pin to the GPU " + g.name
			case g.reserved():
				continue
			case same:
				return "leave the parent out, or pin to the GPU " + d.hosts[h].gpus[n].name
			}
			elsewhere = "leave the parent out, or name another"
		}
	}
	return elsewhere
}

// hints are in the order in which they help.
var hints = []struct {
	code ReasonCode
	text string
}{
	{ReasonNotJointly, "ask for fewer or smaller vGPUs, or free a GPU"},
	{ReasonPinned, ""}, // see unpinned
	{ReasonNUMANode, "allow GPUs of other NUMA nodes, or free one that is near"},
	{ReasonAntiAffinity, "free another GPU, or leave anti-affinity out"},
	{ReasonReserved, ""}, // see policyNext
	{ReasonCordoned, ""},
	{ReasonQuarantined, ""},
	{ReasonTypeLimit, ""},
	{ReasonTypeNotAllowed, ""},
	{ReasonProblem, "see the problems in the inventory"},
	{ReasonMIGOff, "enable MIG mode and make GPU instances, or ask for a type that is not MIG-backed"},
	{ReasonMIGOn, "ask for a MIG-backed type, or disable MIG mode"},
	{ReasonNoInstance, "make a GPU instance for the type, or ask for another type"},
	{ReasonNoParent, "see the inventory for what is the matter with the GPU"},
	{ReasonIdle, "see the problems in the inventory"},
	{ReasonMustBeAlone, "give the VM one vGPU, or several of the largest Q or C profile"},
	{ReasonOtherSize, "ask for the size that a GPU with room runs, or wait until one is empty"},
	{ReasonOtherType, "ask for the type that a GPU with room runs, or wait until one is empty"},
	{ReasonNoRoom, "remove a vGPU that is not needed, or ask for a smaller type"},
	{ReasonParentInUse, "remove a vGPU that is not needed"},
}

// plain is a Refusal without methods.
type plain Refusal

// MarshalJSON writes the refusal with its text, kind, hint and reasons.
func (r *Refusal) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		told
		*plain
	}{told{r.Error(), fault.Name(r.Kind), r.Hint(), r.Reasons()}, (*plain)(r)})
}

// UnmarshalJSON reads a refusal that was written so.
func (r *Refusal) UnmarshalJSON(data []byte) error {
	var read struct {
		told
		plain
	}
	if err := json.Unmarshal(data, &read); err != nil {
		return err
	}
	*r = Refusal(read.plain)
	r.Kind, r.told = fault.Named(read.told.Kind), read.told
	return nil
}

// ruledOut are the reasons that lie in the request: no waiting helps against them.
var ruledOut = []ReasonCode{ReasonPinned, ReasonMustBeAlone, ReasonNUMANode}

// refuse makes the error for a VM that has no place.
func (d *decision) refuse(gaveUp bool) *Refusal {
	for i := range d.wants {
		if r := d.refuseAlone(i); r != nil {
			r.GaveUp = gaveUp
			return r
		}
	}
	return &Refusal{Kind: ErrNoCapacity, Jointly: true, GaveUp: gaveUp, decision: d}
}

// refuseAlone is why the i-th vGPU has no place even alone; nil: it has one.
func (d *decision) refuseAlone(i int) *Refusal {
	offered, ruled := false, false
	for h := d.from; h < d.to; h++ {
		for n := range d.hosts[h].gpus {
			code := d.why(i, h, n)
			if code == "" {
				return nil
			}
			out := slices.Contains(ruledOut, code)
			ruled = ruled || out
			offered = offered || !out && code != ReasonNoSuchType && code != ReasonNoParent
		}
	}
	r := &Refusal{Kind: ErrNotFound, Request: i, decision: d}
	w := &d.wants[i]
	switch {
	case len(d.types[w.sought].kinds) == 0 && !offered:
		r.UnknownType = true
		r.DidYouMean = closest.Names(d.requests[i].Type, d.typeNames(), mostNamed)
	case w.pinned && !slices.ContainsFunc(w.spots, func(at spot) bool { return int(at.host) >= d.from && int(at.host) < d.to }):
		r.UnknownParent = true
		// One PCI address is as near as another.
		if _, err := mdev.ParsePCIAddress(d.requests[i].Parent); err != nil {
			r.DidYouMean = closest.Names(d.requests[i].Parent, d.parentNames(), mostNamed)
		}
	case offered:
		r.Kind = ErrNoCapacity
	case ruled:
		r.Kind = ErrInvalid
	}
	return r
}

func (d *decision) typeNames() []string {
	var names []string
	for i := range d.kinds {
		names = append(names, d.kinds[i].id, d.kinds[i].name)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// parentNames are those of the hosts considered, unless they are too many to
// guess among.
func (d *decision) parentNames() []string {
	var names []string
	for h := d.from; h < d.to && len(names) < 10_000; h++ {
		for i := range d.hosts[h].gpus {
			g := &d.hosts[h].gpus[i]
			names = append(append(names, g.name), g.parentNames()...)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}
