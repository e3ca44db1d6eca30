package main

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/vgpukit/vgpukit/mdev"
	"github.com/vgpukit/vgpukit/vgpu"
	"github.com/vgpukit/vgpukit/vgpu/placement"
)

// places is where a VM's vGPUs may go.
type places struct {
	Policy     placement.Policy `enum:"pack,spread,numa,pinned" default:"pack" help:"pack fills GPUs; spread takes the least loaded; numa packs near --numa-node; pinned wants a parent in each --vgpu."`
	NUMANode   *int             `name:"numa-node" help:"NUMA node of the VM's memory, for --policy numa." placeholder:"N"`
	NUMAStrict bool             `name:"numa-strict" help:"Take no GPU of another NUMA node."`
	KeepEmpty  int              `help:"How many empty GPUs --policy spread keeps for large types." placeholder:"N"`
	Apart      bool             `help:"Put each vGPU on a GPU of its own."`
	ApartFrom  []string         `sep:"none" help:"A VM whose GPUs are not taken; repeatable." placeholder:"VM"`
	Avoid      []string         `sep:"none" help:"A GPU, by its name or a parent's, that is not taken; repeatable." placeholder:"GPU"`
}

func (c *places) options(g *globals, m *vgpu.Manager) (placement.Options, error) {
	options := placement.Options{Policy: c.Policy, NUMANode: c.NUMANode, Strict: c.NUMAStrict, KeepEmpty: c.KeepEmpty, AntiAffinity: c.Apart}
	if err := c.check(); err != nil {
		return options, err
	}
	for _, name := range c.ApartFrom {
		other, err := m.Status(g.ctx, name)
		if err != nil {
			return options, err
		}
		for _, v := range other.VGPUs {
			options.Avoid = append(options.Avoid, placement.Use{GPU: cmp.Or(v.GPU, v.Parent)})
		}
	}
	for _, name := range c.Avoid {
		if err := g.checkGPU(name); err != nil {
			return options, err
		}
		options.Avoid = append(options.Avoid, placement.Use{GPU: name})
	}
	return options, nil
}

// check refuses flags that would have no effect.
func (c *places) check() error {
	numa := c.NUMANode != nil || c.NUMAStrict
	switch {
	case c.Policy == placement.NUMA && c.NUMANode == nil:
		return usageError("--policy numa does not know the VM's NUMA node", "name it: --numa-node N")
	case c.Policy != placement.NUMA && numa:
		return usageError(fmt.Sprintf("--policy %s does not look at NUMA nodes", c.Policy), "use --policy numa, or leave --numa-node and --numa-strict out")
	case c.KeepEmpty < 0:
		return usageError("--keep-empty is negative", "keep 0 or more")
	case c.KeepEmpty > 0 && c.Policy != placement.Spread:
		return usageError(fmt.Sprintf("--policy %s keeps no GPUs empty", c.Policy), "use --policy spread, or leave --keep-empty out")
	}
	return nil
}

// checkGPU refuses what is no GPU or parent, lest a mistyped name avoids nothing.
func (g *globals) checkGPU(name string) error {
	host, err := g.host()
	if err != nil {
		return err
	}
	inv, err := host.Inventory(g.ctx)
	if err != nil {
		return err
	}
	for _, gpu := range inv.GPUs {
		if gpu.Name == name || slices.ContainsFunc(gpu.Parents, func(p mdev.Parent) bool { return p.Name == name }) {
			return nil
		}
	}
	return &ownError{fmt.Sprintf("--avoid: there is no GPU or parent %q", name), "vgpuctl inventory shows those that there are", mdev.ErrNotFound}
}
