package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/vgpukit/vgpukit"
	"github.com/vgpukit/vgpukit/domain"
	"github.com/vgpukit/vgpukit/vgpu"
	"github.com/vgpukit/vgpukit/vgpu/placement"
)

// manage opens host, libvirt and state directory, and hands over a Manager.
func (g *globals) manage(do func(*vgpu.Manager) error) error {
	return g.manageWith(vgpukit.Config{Observer: g.progress()}, do)
}

func (g *globals) manageWith(cfg vgpukit.Config, do func(*vgpu.Manager) error) error {
	cfg.Root, cfg.Source, cfg.URI = g.Root, g.source(), g.Connect
	cfg.StateDir, cfg.RuntimeDir = g.stateDir(), g.runtimeDir()
	kit, err := vgpukit.Open(g.ctx, cfg)
	if err != nil {
		return err
	}
	defer kit.Close()
	return do(kit.Manager)
}

type planCmd struct{ machine }

func (c *planCmd) Run(g *globals) error {
	return g.manage(func(m *vgpu.Manager) error {
		req, err := c.request(g, m)
		if err != nil {
			return err
		}
		plan, err := m.Plan(g.ctx, req)
		if err != nil {
			return errors.Join(err, g.whyNot(err))
		}
		if g.Output == "json" {
			return g.json(plan)
		}
		rows := [][]string{{"VGPU", "TYPE", "PARENT", "GPU", "GUEST ADDRESS"}}
		for _, v := range plan.VGPUs {
			rows = append(rows, []string{v.ID, v.Type, v.Parent, v.GPU, v.Address})
		}
		return table(g.stdout, rows)
	})
}

// whyNot shows people for each parent why it was not taken; for scripts the
// failure itself has it.
func (g *globals) whyNot(err error) error {
	var refusal *placement.Refusal
	if g.Output == "json" || !errors.As(err, &refusal) {
		return nil
	}
	rows := [][]string{{"REQUEST", "GPU", "PARENTS", "WHY NOT"}}
	for _, r := range refusal.Reasons() {
		parents := strings.Join(r.Parents, ", ")
		if len(r.Parents) > 2 {
			parents = fmt.Sprintf("%s and %d more", r.Parents[0], len(r.Parents)-1)
		}
		rows = append(rows, []string{strconv.Itoa(r.Request), r.GPU, parents, r.Text})
	}
	return table(g.stderr, rows)
}

type provisionCmd struct {
	machine
	Start bool `help:"Start the VM too; if that fails, it is torn down again."`
}

func (c *provisionCmd) Run(g *globals) error {
	return g.manage(func(m *vgpu.Manager) error {
		req, err := c.request(g, m)
		if err != nil {
			return err
		}
		vm, err := m.Provision(g.ctx, req)
		if err != nil {
			return err
		}
		if c.Start {
			made := vm
			if vm, err = m.Start(g.ctx, made.Name, vgpu.StartOptions{}); err != nil {
				if !made.Existed {
					err = errors.Join(err, m.Teardown(context.WithoutCancel(g.ctx), made.Name, vgpu.TeardownOptions{Stop: vgpu.StopOptions{SkipGuest: true}}))
				}
				return err
			}
		}
		return g.done(vm)
	})
}

// done shows a VM that is as asked. That it could not be shown is no reason to
// undo it: the caller knows its name.
func (g *globals) done(vm vgpu.VM) error {
	if err := g.vms(vm); err != nil {
		return &ownError{fmt.Sprintf("VM %s is %s, as asked, but %v", vm.Name, vm.State, err), "vgpuctl status " + vm.Name + " shows it; the same command again does no harm", err}
	}
	return nil
}

// vms shows VMs with their vGPUs; one VM alone is not a list in JSON.
func (g *globals) vms(list ...vgpu.VM) error {
	list = hintedVMs(list)
	if g.Output == "json" {
		if len(list) == 1 {
			return g.json(list[0])
		}
		return g.json(list)
	}
	rows := [][]string{{"VM", "STATE", "VGPU", "TYPE", "PARENT", "GUEST ADDRESS", "PROBLEM"}}
	drift := [][]string{{"VM", "VGPU", "DRIFT", "WHAT TO DO"}}
	for _, vm := range list {
		name, state := vm.Name, string(vm.State)
		if vm.Unfinished != "" {
			state += ", " + vm.Unfinished + " unfinished"
		}
		if len(vm.VGPUs) == 0 {
			rows = append(rows, []string{name, state, "", "", "", "", ""})
		}
		for _, v := range vm.VGPUs {
			rows = append(rows, []string{name, state, v.ID, v.Type, v.Parent, v.Address, v.Problem})
			name, state = " ", " "
		}
		for _, d := range vm.Drift {
			drift = append(drift, []string{vm.Name, d.Object, d.Text, d.Next})
		}
	}
	return g.tables(rows, drift)
}

type startCmd struct {
	VM string `arg:"" help:"The VM's name."`
}

func (c *startCmd) Run(g *globals) error {
	return g.manage(func(m *vgpu.Manager) error {
		vm, err := m.Start(g.ctx, c.VM, vgpu.StartOptions{})
		if err != nil {
			return err
		}
		return g.done(vm)
	})
}

// halt is how a VM is stopped.
type halt struct {
	Timeout patience `default:"60s" help:"How long the guest may take to shut down; 0: it is not asked."`
	Force   bool     `help:"Allow SIGKILL if nothing else helps."`
}

func (h halt) options() vgpu.StopOptions {
	return vgpu.StopOptions{SkipGuest: h.Timeout == 0, GuestTimeout: time.Duration(h.Timeout), Force: h.Force}
}

type stopCmd struct {
	VM string `arg:"" help:"The VM's name."`
	halt
}

func (c *stopCmd) Run(g *globals) error {
	return g.manage(func(m *vgpu.Manager) error {
		vm, err := m.Stop(g.ctx, c.VM, c.options())
		if err != nil {
			return err
		}
		return g.done(vm)
	})
}

type teardownCmd struct {
	VM string `arg:"" help:"The VM's name."`
	halt
	ManagedSave bool `help:"Drop a managed save too."`
	NVRAM       bool `name:"nvram" help:"Remove the NVRAM file too."`
	Snapshots   bool `help:"Forget the snapshots' metadata too."`
}

func (c *teardownCmd) Run(g *globals) error {
	return g.manage(func(m *vgpu.Manager) error {
		err := m.Teardown(g.ctx, c.VM, vgpu.TeardownOptions{
			Stop:     c.options(),
			Undefine: domain.UndefineOptions{ManagedSave: c.ManagedSave, NVRAM: c.NVRAM, SnapshotsMetadata: c.Snapshots},
		})
		if err != nil {
			return err
		}
		if err := g.say(map[string]string{"removed": c.VM}, "%s and its vGPUs are gone.", c.VM); err != nil {
			return &ownError{fmt.Sprintf("VM %s and its vGPUs are gone, as asked, but %v", c.VM, err), "there is nothing left to do", err}
		}
		return nil
	})
}

type statusCmd struct {
	VM string `arg:"" optional:"" help:"The VM's name or UUID; left out: all VMs that have vGPUs of ours."`
}

func (c *statusCmd) Run(g *globals) error {
	if c.VM == "" {
		return (&listCmd{}).Run(g)
	}
	return g.manage(func(m *vgpu.Manager) error {
		vm, err := m.Status(g.ctx, c.VM)
		if err != nil {
			return err
		}
		return g.vms(vm)
	})
}

type listCmd struct{}

func (*listCmd) Run(g *globals) error {
	return g.manage(func(m *vgpu.Manager) error {
		list, err := m.List(g.ctx)
		if err != nil {
			return err
		}
		if g.Output == "json" { // one VM is a list too
			return g.json(hintedVMs(list))
		}
		if len(list) == 0 {
			_, err := fmt.Fprintln(g.stdout, "No VM has vGPUs that were provisioned here.")
			return err
		}
		return g.vms(list...)
	})
}
