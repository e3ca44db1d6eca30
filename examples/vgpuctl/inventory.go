package main

import (
	"fmt"
	"strconv"

	"github.com/vgpukit/vgpukit/mdev"
)

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
