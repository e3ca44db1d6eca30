package main

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/vgpukit/vgpukit/mdev"
	"github.com/vgpukit/vgpukit/vgpu"
	"github.com/vgpukit/vgpukit/vgpu/placement"
)

type policyCmd struct {
	Show  policyShowCmd  `cmd:"" default:"withargs" help:"Show what may be placed on the host's GPUs, or on one (the default)."`
	Set   policySetCmd   `cmd:"" help:"Say which types a GPU may run, and how many of each, and whether it is reserved."`
	Clear policyClearCmd `cmd:"" help:"Let everything be placed on a GPU again, whatever was said of it."`
}

type policyShowCmd struct {
	GPU string `arg:"" optional:"" help:"The GPU's name, or a parent's; left out: all that have a policy."`
}

func (c *policyShowCmd) Run(g *globals) error {
	host, err := g.host()
	if err != nil {
		return err
	}
	inv, err := host.Inventory(g.ctx)
	if err != nil {
		return err
	}
	list, err := vgpu.ReadPolicies(g.stateDir(), inv)
	if err != nil {
		return err
	}
	if c.GPU == "" {
		return g.policies(list)
	}
	p, err := policyOf(inv, list, c.GPU)
	if err != nil {
		return err
	}
	return g.policy(p)
}

// policyOf is the policy of a GPU, by its name or a parent's.
func policyOf(inv *mdev.Inventory, list []vgpu.GPUPolicy, name string) (vgpu.GPUPolicy, error) {
	p, known := vgpu.GPUPolicy{GPU: name}, false
	for i := range inv.GPUs {
		gpu := &inv.GPUs[i]
		if gpu.Name == name || slices.ContainsFunc(gpu.Parents, func(p mdev.Parent) bool { return p.Name == name }) {
			p, known = vgpu.GPUPolicy{GPU: gpu.Name, PCI: gpu.PCI.ID()}, true
		}
	}
	if at := slices.IndexFunc(list, func(q vgpu.GPUPolicy) bool { return q.GPU == p.GPU }); at >= 0 {
		return list[at], nil
	}
	if !known {
		return p, &ownError{fmt.Sprintf("there is no GPU or parent %q", name), "vgpuctl inventory shows those that there are", vgpu.ErrNotFound}
	}
	return p, nil
}

// typeLimit is NAME or NAME=N on the command line.
type typeLimit placement.TypeLimit

func (l *typeLimit) UnmarshalText(text []byte) error {
	name, most, limited := strings.Cut(string(text), "=")
	n, err := strconv.Atoi(most)
	if name == "" || limited && (err != nil || n < 1) {
		return usageError(fmt.Sprintf("%q is not NAME or NAME=N", text), "write one as --type 'GRID M60-2Q' or --type nvidia-18=2")
	}
	*l = typeLimit{Type: name, Most: n}
	return nil
}

type policySetCmd struct {
	GPU      string      `arg:"" help:"The GPU's name, or a parent's."`
	Type     []typeLimit `sep:"none" help:"A type that the GPU may run, by id or name, and how many of it at most; repeatable. No others are allowed, also if they were before." placeholder:"NAME[=N]"`
	AllTypes bool        `help:"The GPU may run all types."`
	Reserve  *bool       `negatable:"" help:"Only vGPUs that are pinned to the GPU, or to one of its parents, are placed on it; --no-reserve: any."`
}

func (c *policySetCmd) Run(g *globals) error {
	switch {
	case len(c.Type) > 0 && c.AllTypes:
		return usageError("--type and --all-types exclude each other", "leave one out")
	case len(c.Type) == 0 && !c.AllTypes && c.Reserve == nil:
		return usageError("nothing to set", "give --type, --all-types, --reserve or --no-reserve")
	}
	return g.changePolicy(c.GPU, func(p *vgpu.GPUPolicy) {
		if len(c.Type) > 0 || c.AllTypes {
			p.Types = nil
		}
		for _, l := range c.Type {
			p.Types = append(p.Types, placement.TypeLimit(l))
		}
		if c.Reserve != nil {
			p.Reserved = *c.Reserve
		}
	})
}

type policyClearCmd struct {
	GPU string `arg:"" help:"The GPU's name, or a parent's."`
}

func (c *policyClearCmd) Run(g *globals) error {
	return g.changePolicy(c.GPU, func(p *vgpu.GPUPolicy) { *p = vgpu.GPUPolicy{} })
}

type cordonCmd struct {
	GPU    string `arg:"" help:"The GPU's name, or a parent's."`
	Reason string `default:"by an operator" help:"Why; whoever is refused is told."`
}

func (c *cordonCmd) Run(g *globals) error {
	if strings.TrimSpace(c.Reason) == "" {
		return usageError("--reason is empty", "say why, or leave it out")
	}
	return g.changePolicy(c.GPU, func(p *vgpu.GPUPolicy) { p.Cordoned = c.Reason })
}

type uncordonCmd struct {
	GPU string `arg:"" help:"The GPU's name, or a parent's."`
}

func (c *uncordonCmd) Run(g *globals) error {
	return g.changePolicy(c.GPU, func(p *vgpu.GPUPolicy) { p.Cordoned = "" })
}

type quarantineCmd struct {
	VF      string `arg:"" name:"vf" help:"The virtual function, or another parent, by its name."`
	Reason  string `help:"Why; whoever is refused is told (default: by an operator)." placeholder:"TEXT"`
	Release bool   `help:"Let vGPUs be placed on it again, and forget that it failed."`
}

func (c *quarantineCmd) Run(g *globals) error {
	if c.Release && c.Reason != "" {
		return usageError("--release takes no --reason", "leave one out")
	}
	return g.changePolicy(c.VF, func(p *vgpu.GPUPolicy) {
		if c.Release {
			delete(p.Quarantined, c.VF)
			delete(p.Failures, c.VF)
			return
		}
		if p.Quarantined == nil {
			p.Quarantined = map[string]string{}
		}
		p.Quarantined[c.VF] = c.Reason
	})
}

// changePolicy changes a GPU's policy and shows it. It needs no libvirt.
func (g *globals) changePolicy(gpu string, change func(*vgpu.GPUPolicy)) error {
	host, err := g.host()
	if err != nil {
		return err
	}
	ledger, err := g.ledger(host)
	if err != nil {
		return err
	}
	p, err := ledger.ChangePolicy(g.ctx, gpu, func(p *vgpu.GPUPolicy) error {
		change(p)
		return nil
	})
	if err != nil {
		return err
	}
	if err := g.policy(p); err != nil {
		return &ownError{fmt.Sprintf("the policy of %s is as asked, but %v", p.GPU, err), "vgpuctl policy " + p.GPU + " shows it", err}
	}
	return nil
}

// policy shows one policy; in JSON it is no list.
func (g *globals) policy(p vgpu.GPUPolicy) error {
	if g.Output == "json" {
		return g.json(p)
	}
	return g.policies([]vgpu.GPUPolicy{p})
}

func (g *globals) policies(list []vgpu.GPUPolicy) error {
	if g.Output == "json" {
		return g.json(list)
	}
	if len(list) == 0 {
		_, err := fmt.Fprintln(g.stdout, "No GPU has a policy: everything may be placed.")
		return err
	}
	return g.tables(policyRows(list), parentRows(list))
}

// policyRows has what may be placed on GPUs.
func policyRows(list []vgpu.GPUPolicy) [][]string {
	rows := [][]string{{"GPU", "CORDONED", "RESERVED", "MAY RUN", "PROBLEM"}}
	for _, p := range list {
		reserved, types := "", "all types"
		if p.Reserved {
			reserved = "yes"
		}
		if p.Types != nil {
			types = "no type"
		}
		for i, l := range p.Types {
			text := l.Type
			if l.Most > 0 {
				text += fmt.Sprintf(" (%d at most)", l.Most)
			}
			if types = types + ", " + text; i == 0 {
				types = text
			}
		}
		problem := ""
		if p.Void != "" {
			problem = "it does not apply: " + p.Void
		}
		rows = append(rows, []string{p.GPU, p.Cordoned, reserved, types, problem})
	}
	return rows
}

// parentRows has the parents that are quarantined or have failed.
func parentRows(list []vgpu.GPUPolicy) [][]string {
	rows := [][]string{{"PARENT", "GPU", "QUARANTINED", "FAILED FOR", "LAST"}}
	for _, p := range list {
		parents := map[string]bool{}
		for parent := range p.Quarantined {
			parents[parent] = true
		}
		for parent := range p.Failures {
			parents[parent] = true
		}
		for _, parent := range slices.Sorted(maps.Keys(parents)) {
			var vms []string
			last := ""
			for _, f := range p.Failures[parent] {
				vms = append(vms, f.VM)
				last = f.Time.Local().Format("2006-01-02 15:04:05") + " " + f.Reason
			}
			rows = append(rows, []string{parent, p.GPU, p.Quarantined[parent], strings.Join(vms, ", "), last})
		}
	}
	return rows
}
