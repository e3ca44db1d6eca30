package main

import "github.com/vgpukit/vgpukit/vgpu"

type updateCmd struct {
	VM     string `arg:"" help:"The VM's name; it must be off."`
	GiveUp bool   `help:"End the grant of the vGPUs that the document no longer has, and remove them; else they are put back into it."`
}

func (c *updateCmd) Run(g *globals) error {
	return g.manage(func(m *vgpu.Manager) error {
		vm, err := m.Update(g.ctx, c.VM, vgpu.UpdateOptions{GiveUp: c.GiveUp})
		if err != nil {
			return err
		}
		return g.done(vm)
	})
}
