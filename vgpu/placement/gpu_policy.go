package placement

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/vgpukit/vgpukit/mdev"
)

// GPUPolicy says what an operator lets be placed on a GPU. The zero value allows all that the
// driver takes. It decides on new places only: what the GPU runs is left alone, and counts.
type GPUPolicy struct {
	// Cordoned says why nothing is placed on the GPU; empty: it is not cordoned.
	Cordoned string `json:"cordoned,omitempty"`
	// Reserved GPUs are taken only by requests that name them, or one of their parents.
	Reserved bool `json:"reserved,omitempty"`
	// Types are those that the GPU may run. Nil: all that it offers.
	Types []TypeLimit `json:"types,omitzero"`
	// Quarantined parents take nothing: the parent's name, and why.
	Quarantined map[string]string `json:"quarantined,omitempty"`
}

// TypeLimit allows a type on a GPU.
type TypeLimit struct {
	// Type is the type's id or name.
	Type string `json:"type"`
	// Most is how many vGPUs of the type the GPU runs at most. 0: as many as it takes.
	Most int `json:"most,omitempty"`
}

// IsZero tells that a policy allows everything.
func (p GPUPolicy) IsZero() bool {
	return p.Cordoned == "" && !p.Reserved && p.Types == nil && len(p.Quarantined) == 0
}

// Limit finds what the policy says of a type by id and name. ok is false if the GPU may not run
// it; one that is cordoned may run it all the same.
func (p GPUPolicy) Limit(id, name string) (limit TypeLimit, ok bool) {
	if p.Types == nil {
		return TypeLimit{Type: id}, true
	}
	at := slices.IndexFunc(p.Types, func(l TypeLimit) bool { return mdev.SameType(l.Type, id) || name != "" && l.Type == name })
	if at < 0 {
		return TypeLimit{}, false
	}
	return p.Types[at], true
}

// The reasons that lie in a GPU's policy: without it, the GPU would take the vGPU.
const (
	ReasonCordoned       ReasonCode = "cordoned"         // the GPU takes nothing new
	ReasonReserved       ReasonCode = "reserved"         // the GPU is taken by those that name it
	ReasonTypeNotAllowed ReasonCode = "type-not-allowed" // the GPU may not run the type
	ReasonTypeLimit      ReasonCode = "type-limit"       // the GPU runs as many of the type as it may
	ReasonQuarantined    ReasonCode = "quarantined"      // the parent has failed, and is not used
)

// byPolicy tells whether a reason lies in a GPU's policy.
func (c ReasonCode) byPolicy() bool {
	switch c {
	case ReasonCordoned, ReasonReserved, ReasonTypeNotAllowed, ReasonTypeLimit, ReasonQuarantined:
		return true
	}
	return false
}

// inOrder are the closed parents, those first that are the reason.
func (d *device) inOrder(why ReasonCode) []closedParent {
	if why != ReasonQuarantined {
		return d.closed
	}
	closed := slices.Clone(d.closed)
	slices.SortStableFunc(closed, func(a, b closedParent) int {
		return int(number(a.code != why) - number(b.code != why))
	})
	return closed
}

// limits are how many more vGPUs of each type the policy of the GPU at hand allows; nil: as many
// as it takes.
func (b *builder) limits(g *mdev.GPU) []int32 {
	p := b.policy
	if p == nil || p.Cordoned == "" && p.Types == nil {
		return nil
	}
	limits := make([]int32, len(b.offers))
	for i := range b.offers {
		k := &b.kinds[b.offers[i].kind]
		limit, ok := p.Limit(k.id, k.name)
		switch {
		case !ok || p.Cordoned != "":
		case limit.Most <= 0:
			limits[i] = math.MaxInt32
		default:
			limits[i] = clamp(limit.Most - b.count(g, i))
		}
	}
	return limits
}

// count is how many vGPUs of the i-th type the GPU runs.
func (b *builder) count(g *mdev.GPU, i int) int {
	n := 0
	for p := range g.Parents {
		for _, dev := range g.Parents[p].Devices {
			if dev.Type != "" && b.offered(dev.Type) == i {
				n++
			}
		}
	}
	return n
}

// quarantined tells why a parent of the GPU at hand takes nothing.
func (b *builder) quarantined(parent string) (why string, ok bool) {
	if b.policy == nil {
		return "", false
	}
	why, ok = b.policy.Quarantined[parent]
	return why, ok
}

// limitsWith are the limits with one more vGPU of the slot's type.
func (s *state) limitsWith(n int) []int32 {
	if s.limits == nil || s.limits[n] == math.MaxInt32 {
		return s.limits
	}
	next := slices.Clone(s.limits)
	next[n] = max(0, next[n]-1)
	return next
}

// reserved tells whether the GPU is for those that name it.
func (d *device) reserved() bool { return d.policy != nil && d.policy.Reserved }

// keepsOff tells whether the GPU is not for a request that does not name it.
func (d *device) keepsOff(w *want) bool { return !w.pinned && d.reserved() }

// isQuarantined tells whether a parent that could take a vGPU is quarantined.
func (d *device) isQuarantined(parent string) bool {
	return slices.ContainsFunc(d.closed, func(c closedParent) bool { return c.name == parent && c.code == ReasonQuarantined })
}

// ruledOut is why a GPU whose driver would take a type does not get it; "": the driver would not.
func (d *decision) ruledOut(g *gpu, n int) ReasonCode {
	if g.policy == nil || g.room[n] <= 0 {
		return ""
	}
	quarantined := slices.ContainsFunc(g.closed, func(c closedParent) bool { return c.code == ReasonQuarantined })
	limited := g.limits != nil && g.limits[n] == 0
	switch {
	case g.parents <= 0 && !quarantined, g.parents > 0 && !limited:
		return ""
	case g.policy.Cordoned != "":
		return ReasonCordoned
	case limited:
		k := &d.kinds[g.model.slots[n].kind]
		if _, ok := g.policy.Limit(k.id, k.name); !ok {
			return ReasonTypeNotAllowed
		}
		return ReasonTypeLimit
	}
	return ReasonQuarantined
}

// onQuarantined is the GPU with one more vGPU of the slot's type on a parent that is quarantined
// and has none: it was granted there before.
func (g gpu) onQuarantined(parent string, n int) gpu {
	at := slices.IndexFunc(g.closed, func(c closedParent) bool { return c.name == parent })
	next := g.with(n)
	if g.model.single {
		next.parents = g.parents
		next.setTop()
		changed := *g.device
		changed.closed = slices.Clone(g.closed)
		changed.closed[at] = closedParent{name: parent, code: ReasonParentInUse}
		g.device = &changed
	}
	g.state = next
	return g
}

// policySentence puts a reason of a GPU's policy into words.
func policySentence(g *gpu, f finding, wanted kind) string {
	switch f.code {
	case ReasonCordoned:
		return fmt.Sprintf("%s is cordoned: %s", g.name, g.policy.Cordoned)
	case ReasonReserved:
		return fmt.Sprintf("%s is reserved for vGPUs that are pinned to it", g.name)
	case ReasonTypeLimit:
		limit, _ := g.policy.Limit(wanted.id, wanted.name)
		return fmt.Sprintf("%s has no room for another %s by its policy, which allows %d", g.name, wanted.name, limit.Most)
	case ReasonQuarantined:
		return fmt.Sprintf("%s is quarantined: %s", f.parents[0], f.note)
	}
	return fmt.Sprintf("%s may not run %s by its policy, which allows %s", g.name, wanted.name, g.policy.typesInWords())
}

// typesInWords lists the types that are allowed.
func (p GPUPolicy) typesInWords() string {
	var names []string
	for _, limit := range p.Types {
		names = append(names, limit.Type)
	}
	switch {
	case len(names) == 0:
		return "none"
	case len(names) > mostNamed:
		return fmt.Sprintf("%s and %d more", strings.Join(names[:mostNamed], ", "), len(names)-mostNamed)
	}
	return strings.Join(names, ", ")
}

// policyNext is what to do about a reason of a GPU's policy.
func policyNext(g *gpu, f finding) string {
	switch f.code {
	case ReasonCordoned:
		return "uncordon the GPU " + g.name
	case ReasonReserved:
		return "pin the vGPU to the GPU " + g.name + ", or change the policy of " + g.name
	case ReasonTypeNotAllowed:
		return "ask for a type that is allowed, or change the policy of " + g.name
	case ReasonTypeLimit:
		return "remove a vGPU of that type, ask for another type, or change the policy of " + g.name
	case ReasonQuarantined:
		return "see to " + f.parents[0] + ", then release the quarantine of " + f.parents[0]
	}
	return ""
}
