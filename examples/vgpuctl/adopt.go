package main

import (
	"errors"
	"fmt"

	"github.com/vgpukit/vgpukit/vgpu"
)

type adoptCmd struct {
	VM     string `arg:"" optional:"" help:"The VM's name."`
	All    bool   `help:"Adopt each VM whose document says what was granted to it: after the loss of the state directory."`
	Fresh  bool   `help:"Give the VM vGPUs of its own, in the places of those that its document names; it must be off."`
	DryRun bool   `help:"Say whether it can be done and do nothing."`
}

// Help tells what it is for.
func (*adoptCmd) Help() string {
	return `A VM whose document says which vGPUs it had, and that was granted none here, is a clone, comes from a backup, or
from before the state directory was lost: vgpuctl status and reconcile tell. Adopted, it is granted the vGPUs that its
document names, if they are nobody's; neither the VM nor they are touched.`
}

func (c *adoptCmd) Run(g *globals) error {
	switch {
	case c.All && c.VM != "":
		return usageError("adopt is given both a VM and --all", "leave one of them out")
	case c.All && c.Fresh:
		return usageError("--fresh is for one VM", "name the VM, or leave --fresh out")
	case !c.All && c.VM == "":
		return usageError("adopt is not told which VM", "name it, or use --all")
	case c.All:
		return g.manage(func(m *vgpu.Manager) error { return c.all(g, m) })
	}
	return g.manage(func(m *vgpu.Manager) error {
		vm, err := m.Adopt(g.ctx, c.VM, vgpu.AdoptOptions{Fresh: c.Fresh, DryRun: c.DryRun})
		if err != nil {
			return err
		}
		if !c.DryRun || vm.Existed {
			return g.done(vm)
		}
		vGPUs := "the vGPUs that its document names"
		if c.Fresh {
			vGPUs = "vGPUs of its own"
		}
		return g.say(vgpu.Adoption{VM: vm.Name, UUID: vm.UUID}, "%s can be adopted, with %s.", vm.Name, vGPUs)
	})
}

// all adopts them, and shows each on a line.
func (c *adoptCmd) all(g *globals, m *vgpu.Manager) error {
	adoptions, err := m.AdoptAll(g.ctx, vgpu.AdoptOptions{DryRun: c.DryRun})
	if adoptions == nil {
		return err // nothing could be looked at
	}
	for i, a := range adoptions {
		adoptions[i].Error = hintedError(a.Error, a.VM, "")
	}
	if g.Output == "json" {
		return errors.Join(err, g.json(adoptions))
	}
	if len(adoptions) == 0 {
		return errors.Join(err, g.say(nil, "No VM's document says what was granted to it, beside those that are known."))
	}
	rows := [][]string{{"VM", "ADOPTED", "WHY NOT", "WHAT TO DO"}}
	for _, a := range adoptions {
		rows = append(rows, c.row(a))
	}
	return errors.Join(err, table(g.stdout, rows))
}

func (c *adoptCmd) row(a vgpu.Adoption) []string {
	switch {
	case a.Error != nil:
		return []string{a.VM, "no", a.Error.Error(), a.Error.Next}
	case a.Done:
		return []string{a.VM, "yes", "", ""}
	}
	return []string{a.VM, "would be", "", ""}
}

type forgetCmd struct {
	VM string `arg:"" help:"The VM's name or UUID."`
}

// Help tells what it leaves.
func (*forgetCmd) Help() string {
	return `The VM and its vGPUs stay as they are, running or not; they are nobody's from then on.`
}

func (c *forgetCmd) Run(g *globals) error {
	return g.manage(func(m *vgpu.Manager) error {
		if err := m.Forget(g.ctx, c.VM); err != nil {
			return err
		}
		if err := g.say(map[string]string{"forgotten": c.VM}, "%s is forgotten; it and its vGPUs are as they were.", c.VM); err != nil {
			return &ownError{fmt.Sprintf("VM %s is forgotten, as asked, but %v", c.VM, err), "there is nothing left to do", err}
		}
		return nil
	})
}
