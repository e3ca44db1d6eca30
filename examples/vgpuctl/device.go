package main

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/google/uuid"

	"github.com/vgpukit/vgpukit/mdev"
)

// host opens the host that --root names.
func (g *globals) host() (*mdev.Host, error) {
	return mdev.Open(mdev.Config{Root: g.Root})
}

type inventoryCmd struct{}

func (*inventoryCmd) Run(g *globals) error {
	host, err := g.host()
	if err != nil {
		return err
	}
	inv, err := host.Inventory(g.ctx)
	if err != nil {
		return err
	}
	if g.Output == "json" {
		return g.json(inv)
	}
	if len(inv.GPUs) == 0 {
		fmt.Fprintln(g.stdout, "This host offers no vGPUs: no GPU driver with mediated devices or NVIDIA's vendor-specific VFIO framework is loaded.")
		return nil
	}
	return g.inventoryTables(inv)
}

func (g *globals) inventoryTables(inv *mdev.Inventory) error {
	types := [][]string{{"PARENT", "TYPE", "NAME", "LEFT", "GPU HAS ROOM FOR", "FRAMEBUFFER", "API"}}
	devices := [][]string{{"VGPU", "TYPE", "PARENT", "STATE", "HELD BY"}}
	for _, gpu := range inv.GPUs {
		room := map[string]string{}
		for _, c := range gpu.Capacity {
			room[c.Type] = strconv.Itoa(c.Available)
		}
		for _, p := range gpu.Parents {
			for _, t := range p.Types {
				types = append(types, []string{p.Name, t.ID, t.Name, strconv.Itoa(t.Available), room[t.ID], size(t.Description.Framebuffer), t.DeviceAPI})
			}
			for _, d := range p.Devices {
				devices = append(devices, []string{d.ID, d.Type, d.Parent, string(d.State), holder(d.Holder)})
			}
		}
	}
	if err := g.table(types); err != nil {
		return err
	}
	fmt.Fprintln(g.stdout)
	if len(devices) == 1 {
		fmt.Fprintln(g.stdout, "No vGPUs exist.")
	} else if err := g.table(devices); err != nil {
		return err
	}
	return g.problems(inv)
}

func (g *globals) problems(inv *mdev.Inventory) error {
	all := inv.Problems
	for _, gpu := range inv.GPUs {
		all = append(all, gpu.Problems...)
		for _, p := range gpu.Parents {
			all = append(all, p.Problems...)
			for _, d := range p.Devices {
				all = append(all, d.Problems...)
			}
		}
	}
	for _, p := range all {
		fmt.Fprintln(g.stderr, "problem:", p)
	}
	return nil
}

func size(bytes uint64) string {
	if bytes == 0 {
		return ""
	}
	return strconv.FormatUint(bytes>>20, 10) + " MiB"
}

func holder(h *mdev.Holder) string {
	switch {
	case h == nil:
		return ""
	case h.VM != "":
		return fmt.Sprintf("VM %s (process %d)", h.VM, h.PID)
	}
	return fmt.Sprintf("%s (process %d)", h.Command, h.PID)
}

type createCmd struct {
	Type   string    `required:"" help:"vGPU type, by id or name." placeholder:"T"`
	Parent string    `help:"Parent; left out: any that has room." placeholder:"P"`
	UUID   uuid.UUID `name:"uuid" help:"UUID of the mdev; left out: a new one." placeholder:"U"`
	Param  []param   `help:"Attribute to write after creation, in order." placeholder:"NAME=VALUE" sep:"none"`
}

func (c *createCmd) Run(g *globals) error {
	host, err := g.host()
	if err != nil {
		return err
	}
	made, err := host.Create(g.ctx, mdev.CreateRequest{Type: c.Type, Parent: c.Parent, UUID: c.UUID, Params: params(c.Param)})
	if err != nil {
		return err
	}
	return g.say(made, "%s", made.ID)
}

type removeCmd struct {
	ID   string        `arg:"" help:"UUID or VF address."`
	Wait time.Duration `default:"10s" help:"How long the driver may take to let go."`
}

func (c *removeCmd) Run(g *globals) error {
	host, err := g.host()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(g.ctx, c.Wait)
	defer cancel()
	if err := host.Remove(ctx, c.ID); err != nil {
		return err
	}
	if g.Output == "json" {
		return g.json(map[string]string{"removed": c.ID})
	}
	return nil
}
