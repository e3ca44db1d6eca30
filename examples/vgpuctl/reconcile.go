package main

import (
	"errors"

	"github.com/vgpukit/vgpukit/mdev"
	"github.com/vgpukit/vgpukit/vgpu"
)

type reconcileCmd struct {
	DryRun  bool `help:"Say what would be done and do nothing."`
	Restore bool `help:"Make reserved vGPUs again that vanished with a reboot of the host."`
	Repair  bool `help:"Write into documents again what their VMs were granted, where their metadata says something else."`
	Now     bool `help:"Collect what was granted to VMs that libvirt does not have any more without waiting for a second look."`
}

func (c *reconcileCmd) Run(g *globals) error {
	return g.manage(func(m *vgpu.Manager) error {
		rep, err := m.Reconcile(g.ctx, vgpu.ReconcileOptions{DryRun: c.DryRun, Restore: c.Restore, Repair: c.Repair, Now: c.Now})
		for i, a := range rep.Actions {
			rep.Actions[i] = hintedAction(a)
		}
		rows := reconcileRows(rep)
		switch {
		case len(rows) == 1 && err != nil:
			return err // nothing could be looked at
		case len(rows) == 1:
			return g.say(rep, "Everything is as it should be.")
		case g.Output == "json":
			return errors.Join(err, g.json(rep))
		}
		return errors.Join(err, table(g.stdout, rows))
	})
}

// reconcileRows is a report for people. A ghost, which is a finding, is not told
// again as a stranger.
func reconcileRows(rep vgpu.Report) [][]string {
	rows := [][]string{{"WHAT", "VM", "OBJECT", "DONE", "WHY", "WHAT TO DO"}}
	for _, a := range rep.Actions {
		done, why := "no", a.Reason
		if a.Done {
			done = "yes"
		}
		if a.Error != nil {
			why += ": " + a.Error.Error()
		}
		rows = append(rows, []string{string(a.Kind), a.VM, a.Object, done, why, a.Next})
	}
	for _, d := range rep.Strangers {
		if d.State != mdev.StateGhost {
			rows = append(rows, []string{"stranger", "", d.ID, "no", "a " + d.Type + " on " + d.Parent + " that is not ours; it is left alone", ""})
		}
	}
	return rows
}
