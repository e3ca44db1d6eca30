package main

import (
	"fmt"

	"github.com/vgpukit/vgpukit/vgpu"
)

type reconcileCmd struct {
	DryRun  bool `help:"Say what would be done and do nothing."`
	Restore bool `help:"Make reserved vGPUs again that vanished with a reboot of the host."`
}

func (c *reconcileCmd) Run(g *globals) error {
	return g.manage(func(m *vgpu.Manager) error {
		rep, err := m.Reconcile(g.ctx, vgpu.ReconcileOptions{DryRun: c.DryRun, Restore: c.Restore})
		if g.Output == "json" {
			if failed := g.json(rep); failed != nil {
				return failed
			}
			return err
		}
		rows := [][]string{{"WHAT", "VM", "OBJECT", "DONE", "WHY"}}
		for _, a := range rep.Actions {
			done := "no"
			if a.Done {
				done = "yes"
			}
			rows = append(rows, []string{string(a.Kind), a.VM, a.Object, done, a.Reason})
		}
		for _, d := range rep.Strangers {
			rows = append(rows, []string{"stranger", "", d.ID, "no", "a " + d.Type + " on " + d.Parent + " that is not ours; it is left alone"})
		}
		if len(rows) == 1 && err == nil {
			fmt.Fprintln(g.stdout, "Everything is as it should be.")
			return nil
		}
		if failed := table(g.stdout, rows); failed != nil {
			return failed
		}
		return err
	})
}
