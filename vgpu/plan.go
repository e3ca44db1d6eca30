package vgpu

import (
	"context"

	"github.com/google/uuid"
)

// Plan is what Provision would do at this moment.
type Plan struct {
	VM       string        `json:"vm"`
	UUID     uuid.UUID     `json:"uuid"` // the VM's; made up if the document has none, and then another each time
	Lifetime Lifetime      `json:"lifetime"`
	VGPUs    []PlannedVGPU `json:"vgpus"`
	// Existed: the VM is there as asked, and Provision would do nothing.
	Existed bool `json:"existed,omitempty"`
	// Document is what libvirt would be given.
	Document string `json:"document"`
}

// PlannedVGPU is one vGPU of a plan.
type PlannedVGPU struct {
	ID      string `json:"id"` // the mdev's UUID, or the VF's address on the host
	Type    string `json:"type"`
	Parent  string `json:"parent"`
	GPU     string `json:"gpu"`
	Address string `json:"address,omitempty"` // in the guest; empty: libvirt chooses
	// Alternatives are the parents that come next if the first refuses.
	Alternatives []string `json:"alternatives"`
}

// Plan tells what Provision would do, and does nothing: which parents, which
// guest addresses, or why not. It takes no lock; capacity may be gone by the time
// that it is asked for.
func (m *Manager) Plan(ctx context.Context, req ProvisionRequest) (plan Plan, err error) {
	s, wrong := req.check()
	err = m.operation(ctx, opPlan, s.name, uuid.Nil, func(ctx context.Context, o *operation) error {
		if wrong != nil {
			return o.wrap("check", "", wrong)
		}
		plan, err = o.plan(ctx, s)
		return err
	})
	return plan, err
}

func (o *operation) plan(ctx context.Context, s spec) (Plan, error) {
	m := o.m
	s, err := o.identify(ctx, s)
	if err != nil {
		return Plan{}, err
	}
	v, _, err := m.peek(ctx, s.id) // Provision sees to what is damaged
	if err == nil {
		err = m.checkHypervisor(v)
	}
	if err != nil {
		return Plan{}, o.wrap("look", "", err)
	}
	plan := Plan{VM: s.name, UUID: s.id, Lifetime: s.lifetime}
	if plan.Existed, err = s.isThere(ctx, m, v); err == nil && !plan.Existed {
		err = s.mayBegin(v)
	}
	if err != nil {
		return Plan{}, o.wrap("look", "", err)
	}
	if plan.Existed {
		plan.Document = v.doc.String()
		plan.vgpus(v.vm().VGPUs, nil)
		return plan, nil
	}
	g := s.grant(m.libvirt)
	q := s.question(g, o.begun)
	p, err := m.placeNew(ctx, s, q, &g)
	if err != nil {
		return Plan{}, o.wrap("place", "", err)
	}
	p.pick.drop()
	doc, err := s.document(g)
	if err != nil {
		return Plan{}, o.wrap("document", "", err)
	}
	plan.Document = doc.String()
	planned := view{doc: doc, devices: g.VGPUs, life: s.lifetime}
	plan.vgpus(planned.vm().VGPUs, p.candidates)
	return plan, nil
}

// vgpus fills in the plan's vGPUs, with their candidates if they are to be made.
func (p *Plan) vgpus(vgpus []VGPU, candidates map[int][]candidate) {
	for i, g := range vgpus {
		planned := PlannedVGPU{ID: g.ID, Type: g.Type, Parent: g.Parent, GPU: g.GPU, Address: g.Address, Alternatives: []string{}}
		if candidates != nil {
			planned.GPU = candidates[i][0].GPU
			for _, c := range candidates[i][1:] {
				planned.Alternatives = append(planned.Alternatives, c.Parent)
			}
		}
		p.VGPUs = append(p.VGPUs, planned)
	}
}
