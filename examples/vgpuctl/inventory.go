package main

import (
	"fmt"
	"strconv"

	"github.com/vgpukit/vgpukit/mdev"
	"github.com/vgpukit/vgpukit/vgpu"
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
	policies, unread := vgpu.ReadPolicies(g.stateDir(), inv)
	if g.Output == "json" {
		return g.json(struct {
			*mdev.Inventory
			Policies []vgpu.GPUPolicy `json:"policies,omitempty"`
		}{inv, policies})
	}
	gpus := [][]string{{"GPU", "DRIVER", "NUMA NODE", "VIRTUAL FUNCTIONS", "MIG"}}
	types := [][]string{{"PARENT", "TYPE", "NAME", "LEFT", "GPU HAS ROOM FOR", "FRAMEBUFFER", "API"}}
	devices := [][]string{{"VGPU", "TYPE", "PARENT", "STATE", "HELD BY"}}
	for i := range inv.GPUs {
		gpu := &inv.GPUs[i]
		gpus = append(gpus, []string{gpu.Name, gpu.Driver, node(gpu.NUMANode), virtualFunctions(gpu.SRIOV), mig(gpu.MIG)})
		types = append(types, typeRows(gpu)...)
		for _, p := range gpu.Parents {
			for _, d := range p.Devices {
				devices = append(devices, []string{d.ID, d.Type, d.Parent, string(d.State), holder(d.Holder)})
			}
		}
	}
	if len(inv.GPUs) == 0 {
		_, err = fmt.Fprintln(g.stdout, "This host offers no vGPUs: no GPU driver with mediated devices or NVIDIA's vendor-specific VFIO framework is loaded.")
	} else {
		err = g.tables(gpus, types, devices, policyRows(policies), parentRows(policies))
	}
	if err == nil && len(inv.GPUs) > 0 && len(devices) == 1 {
		_, err = fmt.Fprintln(g.stdout, "\nNo vGPUs exist.")
	}
	if err == nil && unread != nil {
		_, err = fmt.Fprintln(g.stdout, "\nnot known: what operators let be placed on the GPUs:", unread)
	}
	for _, p := range inv.AllProblems() {
		if err == nil {
			_, err = fmt.Fprintln(g.stdout, "\nproblem:", p)
		}
	}
	return err
}

// typeRows has what each parent offers. Virtual functions come by the dozen: those
// of a GPU that offer the same are told once, by the first one's name.
func typeRows(gpu *mdev.GPU) [][]string {
	room := map[string]string{}
	for i := range gpu.Parents {
		for _, t := range gpu.Parents[i].Types {
			for _, c := range gpu.Capacity {
				if room[t.ID] == "" && mdev.SameType(c.Type, t.ID) {
					room[t.ID] = strconv.Itoa(c.Available)
				}
			}
		}
	}
	var offers []string
	alike := map[string][]mdev.Parent{}
	for _, p := range gpu.Parents {
		offer := ""
		for _, t := range p.Types {
			offer += fmt.Sprintln(t.ID, t.Available)
		}
		if alike[offer] == nil {
			offers = append(offers, offer)
		}
		alike[offer] = append(alike[offer], p)
	}
	var rows [][]string
	for _, offer := range offers {
		first, name := alike[offer][0], alike[offer][0].Name
		if others := len(alike[offer]) - 1; others > 0 {
			name += fmt.Sprintf(" and %d more", others)
		}
		for _, t := range first.Types {
			rows = append(rows, []string{name, t.ID, t.Name, strconv.Itoa(t.Available), room[t.ID], size(t.Description.Framebuffer), t.DeviceAPI})
		}
	}
	return rows
}

func node(numa *int) string {
	if numa == nil {
		return ""
	}
	return strconv.Itoa(*numa)
}

func virtualFunctions(s *mdev.SRIOV) string {
	if s == nil {
		return ""
	}
	return fmt.Sprintf("%d of %d", s.Enabled, s.Total)
}

func mig(m *mdev.MIG) string {
	switch {
	case m == nil:
		return ""
	case !m.Enabled:
		return "off"
	}
	if len(m.Instances) == 0 {
		return "on, no GPU instances"
	}
	return "on, " + m.Profiles()
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
