package vgpu

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/vgpukit/vgpukit/internal/closest"
	"github.com/vgpukit/vgpukit/mdev"
	"github.com/vgpukit/vgpukit/vgpu/placement"
)

const opPolicy = "policy"

// GPUPolicy is what an operator lets be placed on a GPU of this host, with what has failed on it.
type GPUPolicy struct {
	GPU string `json:"gpu"`
	// PCI is what the GPU was when the policy was written: "10de:2235". At the address of another
	// device the policy does not apply.
	PCI string `json:"pci,omitempty"`
	placement.GPUPolicy
	// Failures are those of parents that have taken no vGPU since: see [Failure].
	Failures map[string][]Failure `json:"failures,omitempty"`
	// Void says why the policy does not apply now; empty: it does.
	Void string `json:"void,omitempty"`
}

// says tells whether there is anything to store.
func (p GPUPolicy) says() bool { return !p.IsZero() || len(p.Failures) > 0 }

func (p GPUPolicy) key() string { return p.GPU }

// Policies lists what operators have said of the host's GPUs, and which parents have failed, by
// GPU. It takes no lock and changes nothing.
func (m *Manager) Policies(ctx context.Context) (list []GPUPolicy, err error) {
	err = m.operation(ctx, opPolicy, "", uuid.Nil, func(ctx context.Context, o *operation) error {
		stored, unread, err := m.store.policies.All()
		if err != nil {
			return o.wrap("look", "", err)
		}
		inv, err := m.host.Inventory(ctx)
		if err != nil {
			return o.wrap("look", "", err)
		}
		list = m.store.policiesOf(inv, stored, unread)
		return nil
	})
	return list, err
}

// Policies is [Manager.Policies].
func (l *Ledger) Policies(ctx context.Context) ([]GPUPolicy, error) { return l.m.Policies(ctx) }

// ChangePolicy changes what may be placed on a GPU, which gpu or the name of one of its parents
// names: change is given the policy as it is, and one that allows everything if there is none. It
// decides on new places only: vGPUs that exist, and Reserved ones that are made again on their
// GPU, are left alone. An error of change is returned, and nothing is changed.
//
// The types must be such as the GPU offers or may offer. A parent that is no longer quarantined
// has no failures any more.
func (m *Manager) ChangePolicy(ctx context.Context, gpu string, change func(*GPUPolicy) error) (policy GPUPolicy, err error) {
	err = m.operation(ctx, opPolicy, "", uuid.Nil, func(ctx context.Context, o *operation) error {
		return o.step(ctx, "change", gpu, func(ctx context.Context) error {
			policy, err = o.changePolicy(ctx, gpu, change)
			return err
		})
	})
	return policy, err
}

// ChangePolicy is [Manager.ChangePolicy].
func (l *Ledger) ChangePolicy(ctx context.Context, gpu string, change func(*GPUPolicy) error) (GPUPolicy, error) {
	return l.m.ChangePolicy(ctx, gpu, change)
}

func (o *operation) changePolicy(ctx context.Context, name string, change func(*GPUPolicy) error) (GPUPolicy, error) {
	inv, err := o.m.host.Inventory(ctx)
	if err != nil {
		return GPUPolicy{}, err
	}
	gpu, err := o.m.gpuNamed(inv, name)
	if err != nil {
		return GPUPolicy{}, err
	}
	return o.m.updatePolicy(ctx, gpu, o.op, func(before GPUPolicy) (GPUPolicy, error) {
		after := before.clone()
		if err := change(&after); err != nil {
			return before, err
		}
		after.GPU, after.PCI, after.Void = before.GPU, before.PCI, ""
		if err := after.settle(before, gpu); err != nil {
			return before, err
		}
		return after, nil
	}, func(after GPUPolicy) { o.recordPolicy(after) })
}

// gpuNamed is a GPU of the host, by its own name or a parent's; one that is not there and has a
// policy has only its name.
func (m *Manager) gpuNamed(inv *mdev.Inventory, name string) (*mdev.GPU, error) {
	var names []string
	for i := range inv.GPUs {
		g := &inv.GPUs[i]
		if g.Name == name || slices.ContainsFunc(g.Parents, func(p mdev.Parent) bool { return p.Name == name }) {
			return g, nil
		}
		names = append(names, g.Name)
	}
	if m.store.policies.Has(name) {
		return &mdev.GPU{Name: name}, nil
	}
	if of, ok := m.quarantinedOn(name); ok {
		return &mdev.GPU{Name: of}, nil
	}
	none := &Error{Object: name, Kind: ErrNotFound, Err: errors.New("there is no GPU of that name, nor parent of one"), Next: "name one of the inventory"}
	if len(names) > 0 {
		none.Next += ": " + strings.Join(names[:min(len(names), 4)], ", ")
	}
	return nil, none
}

// updatePolicy changes a GPU's policy under the GPU's lock; what it was is given to change, and
// nothing is written if that says so. done is told what is written.
func (m *Manager) updatePolicy(ctx context.Context, gpu *mdev.GPU, op string, change func(GPUPolicy) (GPUPolicy, error), done func(GPUPolicy)) (GPUPolicy, error) {
	unlock, err := m.lock(ctx, lockOfGPU, gpu.Name, op)
	if err != nil {
		return GPUPolicy{}, err
	}
	defer unlock()
	before, there, err := m.store.policies.Read(gpu.Name)
	if err != nil {
		return before, &Error{Object: gpu.Name, Kind: ErrState, Err: fmt.Errorf("its policy cannot be read: %w", err), Next: "reconcile, which sets what is damaged aside"}
	}
	if !there || before.void(gpu) != "" && gpu.PCI != nil {
		before = GPUPolicy{GPU: gpu.Name, PCI: gpu.PCI.ID()}
	}
	after, err := change(before)
	if err != nil || reflect.DeepEqual(before, after) {
		return after, err
	}
	if after.says() {
		err = m.store.policies.Write(after)
	} else {
		err = m.store.policies.Remove(gpu.Name)
	}
	if err == nil {
		done(after)
	}
	return after, err
}

func (p GPUPolicy) clone() GPUPolicy {
	p.Types, p.Quarantined = slices.Clone(p.Types), maps.Clone(p.Quarantined)
	p.Failures = maps.Clone(p.Failures)
	return p
}

// void tells why a stored policy does not apply to the GPU of its name.
func (p GPUPolicy) void(gpu *mdev.GPU) string {
	if gpu == nil {
		return "there is no such GPU now"
	}
	if now := gpu.PCI.ID(); now != p.PCI {
		return fmt.Sprintf("it was made for the PCI device %s, which is %s now", cmp.Or(p.PCI, "none"), cmp.Or(now, "none"))
	}
	return ""
}

// settle checks what is new in a policy, and forgets the failures of what was released.
func (p *GPUPolicy) settle(before GPUPolicy, gpu *mdev.GPU) error {
	for i, limit := range p.Types {
		switch {
		case limit.Type == "":
			return invalid("name a type, by id or name", "type %d of the policy has no name", i)
		case limit.Most < 0:
			return invalid("allow 1 or more; 0 is as many as the GPU takes", "%s is allowed %d times", limit.Type, limit.Most)
		case slices.ContainsFunc(p.Types[:i], func(l placement.TypeLimit) bool { return mdev.SameType(l.Type, limit.Type) }):
			return invalid("say once how many of it are allowed", "%s is named twice", limit.Type)
		case !slices.ContainsFunc(before.Types, func(l placement.TypeLimit) bool { return l.Type == limit.Type }):
			if err := checkType(gpu, limit.Type); err != nil {
				return err
			}
		}
	}
	for parent, why := range p.Quarantined {
		_, before := before.Quarantined[parent]
		if !before && !slices.ContainsFunc(gpu.Parents, func(p mdev.Parent) bool { return p.Name == parent }) {
			return &Error{Object: gpu.Name, Kind: ErrNotFound, Err: fmt.Errorf("it has no parent %s", parent), Next: "name one of the inventory"}
		}
		if why == "" {
			p.Quarantined[parent] = byOperator
		}
	}
	for parent := range before.Quarantined {
		if _, still := p.Quarantined[parent]; !still {
			delete(p.Failures, parent)
		}
	}
	if len(p.Quarantined) == 0 {
		p.Quarantined = nil
	}
	if len(p.Failures) == 0 {
		p.Failures = nil
	}
	return nil
}

const byOperator = "by an operator"

// checkType refuses a type that the GPU surely does not have.
func checkType(gpu *mdev.GPU, typ string) error {
	var names []string
	for i := range gpu.Parents {
		for _, t := range gpu.Parents[i].Types {
			names = append(names, t.ID, t.Name)
		}
	}
	if len(names) == 0 || (&mdev.Inventory{GPUs: []mdev.GPU{*gpu}}).MayOffer(typ) {
		return nil // nothing is known of the types of a GPU that lists none
	}
	slices.Sort(names)
	none := &Error{Object: gpu.Name, Kind: ErrNotFound, Err: fmt.Errorf("it has no type %q", typ), Next: "see the inventory for the types that it has"}
	if near := closest.Names(typ, slices.Compact(names), 3); len(near) > 0 {
		none.Err = fmt.Errorf("it has no type %q; did you mean %s?", typ, strings.Join(near, " or "))
	}
	return none
}

// policiesOf are all policies that are stored, with whether they apply. One that cannot be read
// lets nothing be placed.
func (s store) policiesOf(inv *mdev.Inventory, stored map[string]GPUPolicy, unread map[string]error) []GPUPolicy {
	gpus := map[string]*mdev.GPU{}
	list := []GPUPolicy{}
	for i := range inv.GPUs {
		g := &inv.GPUs[i]
		gpus[g.Name] = g
		if err := unread[s.policies.Path(g.Name)]; err != nil {
			cannot := placement.GPUPolicy{Cordoned: "its policy cannot be read: " + err.Error()}
			list = append(list, GPUPolicy{GPU: g.Name, PCI: g.PCI.ID(), GPUPolicy: cannot})
		}
	}
	for _, p := range stored {
		p.Void = p.void(gpus[p.GPU])
		list = append(list, p)
	}
	slices.SortFunc(list, func(a, b GPUPolicy) int { return strings.Compare(a.GPU, b.GPU) })
	return list
}

// applied are those policies that apply, for the placement; nil: there are none.
func (s store) applied(inv *mdev.Inventory, stored map[string]GPUPolicy, unread map[string]error) map[string]placement.GPUPolicy {
	if len(stored) == 0 && len(unread) == 0 {
		return nil
	}
	applied := map[string]placement.GPUPolicy{}
	for _, p := range s.policiesOf(inv, stored, unread) {
		if p.Void == "" && !p.IsZero() {
			applied[p.GPU] = p.GPUPolicy
		}
	}
	return applied
}

// voidPolicies reports the policies that do not apply to what has their GPU's address now.
func (m *Manager) voidPolicies(inv *mdev.Inventory) (found []Action) {
	stored, unread, err := m.store.policies.All()
	if err != nil {
		return []Action{Action{Kind: ReportPolicy, Reason: "the policies of GPUs could not be read"}.failed(err)}
	}
	for _, p := range m.store.policiesOf(inv, stored, unread) {
		if p.Void != "" {
			found = append(found, Action{Kind: ReportPolicy, Object: p.GPU, Reason: "the GPU's policy does not apply: " + p.Void, Next: "clear the policy of " + p.GPU})
		}
	}
	return found
}

// recordPolicy notes who changed a policy, and to what.
func (o *operation) recordPolicy(p GPUPolicy) {
	o.recordDetail("policy", p.GPU, p.String())
	o.log.Info("the policy of a GPU was changed", "gpu", p.GPU, "policy", p.String())
}

// String is the policy in words: "reserved; GRID M60-2Q, at most 2".
func (p GPUPolicy) String() string {
	var parts []string
	if p.Cordoned != "" {
		parts = append(parts, "cordoned: "+p.Cordoned)
	}
	if p.Reserved {
		parts = append(parts, "reserved")
	}
	if p.Types != nil {
		var types []string
		for _, limit := range p.Types {
			text := limit.Type
			if limit.Most > 0 {
				text += fmt.Sprintf(" (%d at most)", limit.Most)
			}
			types = append(types, text)
		}
		parts = append(parts, "only "+cmp.Or(strings.Join(types, ", "), "no type"))
	}
	for _, parent := range slices.Sorted(maps.Keys(p.Quarantined)) {
		parts = append(parts, parent+" quarantined: "+p.Quarantined[parent])
	}
	return cmp.Or(strings.Join(parts, "; "), "everything is allowed")
}
