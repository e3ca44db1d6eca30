package placement

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/vgpukit/vgpukit/internal/fault"
	"github.com/vgpukit/vgpukit/mdev"
)

// Refusal is why a VM's vGPUs have no place. The reasons are worked out when
// they are asked for. It is immutable and safe for concurrent use.
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

	snapshot *Snapshot
	requests []Request
	options  Options
}

// Error is one line: what has no place, and why not, summed up over the GPUs.
func (r *Refusal) Error() string { return fault.Line(r.parts()) }

// Unwrap gives the kind to [errors.Is].
func (r *Refusal) Unwrap() error { return r.Kind }

// As lets errors around this one take its words apart.
func (r *Refusal) As(target any) bool { return fault.As(r.parts(), target) }

func (r *Refusal) parts() fault.Parts {
	at := fault.Place{Op: opPlace}
	if !r.Jointly {
		at.Object = fmt.Sprintf("vGPU %d", r.Request)
	}
	return fault.Parts{Places: []fault.Place{at}, Meaning: r.meaning()}
}

func (r *Refusal) meaning() string {
	var b strings.Builder
	switch {
	case r.UnknownType:
		fmt.Fprintf(&b, "no GPU has a type %q", r.requests[r.Request].Type)
		if n := r.count()[ReasonNoParent]; n > 0 {
			fmt.Fprintf(&b, " now, and %d GPUs have no virtual functions enabled", n)
		}
		r.suggest(&b)
		return b.String()
	case r.UnknownParent:
		fmt.Fprintf(&b, "there is no parent or GPU %q", r.requests[r.Request].Parent)
		r.suggest(&b)
		return b.String()
	case !r.Jointly:
		fmt.Fprintf(&b, "no GPU can take %s", r.requests[r.Request].Type)
	case r.GaveUp:
		fmt.Fprintf(&b, "found no place for all %d vGPUs on one host before the search became too long", len(r.requests))
	default:
		fmt.Fprintf(&b, "no host can take all %d vGPUs", len(r.requests))
	}
	b.WriteString(r.because())
	return b.String()
}

// said is how many GPUs are named with their reason.
const said = 3

// because names the GPUs that come closest with their reasons, and counts the
// others: those that have no such type or are not what was asked for say little.
func (r *Refusal) because() string {
	var sentences []string
	rest := map[ReasonCode]int{}
	r.each(true, func(reason Reason) {
		switch {
		case !r.Jointly && reason.Request != r.Request:
		case reason.Code != ReasonPinned && reason.Code != ReasonNoSuchType && len(sentences) < said:
			sentences = append(sentences, reason.Text)
		default:
			rest[reason.Code]++
		}
	})
	order := slices.Sorted(maps.Keys(rest))
	slices.SortStableFunc(order, func(a, b ReasonCode) int { return rest[b] - rest[a] })
	for _, code := range order {
		sentences = append(sentences, fmt.Sprintf("%d %s", rest[code], code))
	}
	return ": " + strings.Join(sentences, "; ")
}

// count sums the reasons up, over the GPUs.
func (r *Refusal) count() map[ReasonCode]int {
	counts := map[ReasonCode]int{}
	r.each(false, func(reason Reason) {
		if r.Jointly || reason.Request == r.Request {
			counts[reason.Code]++
		}
	})
	return counts
}

func (r *Refusal) suggest(b *strings.Builder) {
	if len(r.DidYouMean) > 0 {
		fmt.Fprintf(b, "; did you mean %s?", strings.Join(r.DidYouMean, " or "))
	}
}

// Hint is the next step.
func (r *Refusal) Hint() string {
	counts := r.count()
	if (r.UnknownType && counts[ReasonNoParent] == 0) || r.UnknownParent {
		return "look at the inventory for what there is; virtual functions without mediated devices list only what they can make now"
	}
	for _, code := range []ReasonCode{
		ReasonNotJointly, ReasonPinned, ReasonNUMANode, ReasonAntiAffinity, ReasonProblem, ReasonMIGOff, ReasonMIGOn,
		ReasonNoParent, ReasonMustBeAlone, ReasonOtherSize, ReasonOtherType, ReasonNoRoom, ReasonParentInUse,
	} {
		if counts[code] > 0 {
			return hints[code]
		}
	}
	return "look at the inventory for what there is"
}

var hints = map[ReasonCode]string{
	ReasonNotJointly:   "ask for fewer or smaller vGPUs, or free a GPU",
	ReasonPinned:       "name another parent, or none",
	ReasonNUMANode:     "allow GPUs of other NUMA nodes, or free one that is near",
	ReasonAntiAffinity: "free another GPU, or leave anti-affinity out",
	ReasonProblem:      "see the problems in the inventory",
	ReasonMIGOff:       "enable MIG mode and make GPU instances, or ask for a type that is not MIG-backed",
	ReasonMIGOn:        "ask for a MIG-backed type, or disable MIG mode",
	ReasonNoParent:     "enable the GPU's virtual functions: /usr/lib/nvidia/sriov-manage -e ALL",
	ReasonMustBeAlone:  "give the VM one vGPU, or several of the largest Q or C profile",
	ReasonOtherSize:    "ask for the size that a GPU with room runs, or wait until one is empty",
	ReasonOtherType:    "ask for the type that a GPU with room runs, or wait until one is empty",
	ReasonNoRoom:       "remove a vGPU that is not needed, or ask for a smaller type",
	ReasonParentInUse:  "remove a vGPU that is not needed",
}

// ruledOut are the reasons that lie in the request: no waiting helps against them.
var ruledOut = []ReasonCode{ReasonPinned, ReasonMustBeAlone, ReasonNUMANode}

// refuse makes the error for a VM that has no place.
func (d *decision) refuse(requests []Request, options Options, gaveUp bool) error {
	r := &Refusal{Jointly: true, GaveUp: gaveUp, snapshot: d.snapshot, requests: slices.Clone(requests), options: options}
	r.Kind = ErrNotFound
	for i := range d.wants {
		w := &d.wants[i]
		possible, offered, ruled := false, false, false
		for g := d.gpus.from; g < d.gpus.to && !possible; g++ {
			code := d.why(i, g)
			possible = code == ""
			ruled = ruled || slices.Contains(ruledOut, code)
			offered = offered || !slices.Contains(ruledOut, code) && code != ReasonNoSuchType && code != ReasonNoParent
		}
		if possible {
			continue
		}
		r.Request, r.Jointly = i, false
		if _, known := d.wantedKind(w.sought); !known && !offered {
			r.UnknownType = true
			r.DidYouMean = nearest(requests[i].Type, d.typeNames())
		} else if w.pinned && !slices.ContainsFunc(w.spots, func(at spot) bool { return d.gpus.has(at.gpu) }) {
			r.UnknownParent = true
			// One PCI address is as near as another.
			if _, err := mdev.ParsePCIAddress(requests[i].Parent); err != nil {
				r.DidYouMean = nearest(requests[i].Parent, d.parentNames())
			}
		} else if offered {
			r.Kind = ErrNoCapacity
		} else if ruled {
			r.Kind = ErrInvalid
		}
		break
	}
	if r.Jointly {
		r.Kind = ErrNoCapacity
	}
	return r
}

func (d *decision) typeNames() []string {
	var names []string
	for i := range d.fleet.kinds {
		names = append(names, d.fleet.kinds[i].id, d.fleet.kinds[i].name)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// parentNames are those of the hosts considered, unless they are too many to
// guess among.
func (d *decision) parentNames() []string {
	var names []string
	for g := d.gpus.from; g < d.gpus.to && len(names) < 10_000; g++ {
		gpu := &d.fleet.gpus[g]
		names = append(append(names, gpu.name), gpu.free...)
		for _, closed := range gpu.closed {
			names = append(names, closed.name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// nearest returns up to three of the sorted names that name was probably meant
// to be, the nearest first.
func nearest(name string, names []string) []string {
	type guess struct {
		name     string
		distance int
	}
	most := max(2, len(name)/4)
	var guesses []guess
	for _, other := range names {
		a, b := strings.ToLower(name), strings.ToLower(other)
		n := edits(a, b)
		if len(a) > 2 && strings.Contains(b, a) {
			n = min(n, 1) // "M60-8Q" for "GRID M60-8Q"
		}
		if n <= most {
			guesses = append(guesses, guess{other, n})
		}
	}
	slices.SortStableFunc(guesses, func(a, b guess) int { return a.distance - b.distance })
	var found []string
	for _, g := range guesses[:min(3, len(guesses))] {
		found = append(found, g.name)
	}
	return found
}

// edits is how many letters must be changed, added or taken away to make b
// out of a.
func edits(a, b string) int {
	line := make([]int, len(b)+1)
	for j := range line {
		line[j] = j
	}
	for i := range len(a) {
		corner := line[0]
		line[0] = i + 1
		for j := range len(b) {
			change := corner
			if a[i] != b[j] {
				change++
			}
			corner = line[j+1]
			line[j+1] = min(change, corner+1, line[j]+1)
		}
	}
	return line[len(b)]
}
