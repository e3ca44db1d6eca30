package mdev

import (
	"context"
	"slices"
	"strings"
)

// GPU is one physical GPU, or a virtual parent such as mtty, together with
// what it can really still hold.
type GPU struct {
	Name     string     `json:"name"` // "0000:41:00.0", "mtty"
	PCI      *PCI       `json:"pci,omitempty"`
	NUMANode *int       `json:"numa_node,omitempty"` // nil: the kernel knows of none
	Driver   string     `json:"driver,omitempty"`
	SRIOV    *SRIOV     `json:"sriov,omitempty"` // nil: it has no such capability
	MIG      *MIG       `json:"mig,omitempty"`   // nil: not known
	Facts    *Facts     `json:"facts,omitempty"` // nil: no [Source] told any
	Parents  []Parent   `json:"parents"`         // sorted by name; none while its VFs are not enabled
	Capacity []Capacity `json:"capacity"`        // sorted by type
	Problems []Problem  `json:"problems"`
}

// SRIOV is the state of a physical function's virtual functions.
type SRIOV struct {
	Total   int      `json:"total"`   // that it could have
	Enabled int      `json:"enabled"` // that it has
	VFs     []string `json:"vfs"`     // their PCI addresses, in order of their number
}

// gpus groups parents by physical GPU.
func (s *scan) gpus(ctx context.Context, parents []Parent, pfs []place) []GPU {
	byName := map[string]*GPU{}
	var order []string
	gpu := func(name string) *GPU {
		if g, ok := byName[name]; ok {
			return g
		}
		g := &GPU{Name: name, Parents: []Parent{}, Problems: []Problem{}}
		byName[name] = g
		order = append(order, name)
		return g
	}
	for i := range parents {
		g := gpu(parents[i].GPU)
		g.Parents = append(g.Parents, parents[i])
	}
	for _, at := range pfs {
		gpu(at.name)
	}
	slices.SortFunc(order, compareNames)
	gpus := make([]GPU, 0, len(order))
	for _, name := range order {
		g := byName[name]
		s.describeGPU(ctx, g)
		s.learnBoard(g)
		s.fillMaxima(g)
		g.Capacity = capacity(g, s.board(g))
		s.diagnose(g)
		gpus = append(gpus, *g)
	}
	return gpus
}

// describeGPU reads the physical function, or takes what a parent that is the
// GPU itself has.
func (s *scan) describeGPU(ctx context.Context, g *GPU) {
	if len(g.Parents) > 0 && g.Parents[0].Name == g.Name {
		own := &g.Parents[0]
		g.PCI, g.NUMANode, g.Driver = own.PCI, own.NUMANode, own.Driver
		if own.PCI != nil {
			g.SRIOV = s.sriov(own.Path, &g.Problems)
		}
	} else if where, err := s.follow(pciDevicesDir, g.Name); err == nil {
		pf := s.parent(place{name: g.Name, path: where})
		g.PCI, g.NUMANode, g.Driver, g.Problems = pf.PCI, pf.NUMANode, pf.Driver, pf.Problems
		g.SRIOV = s.sriov(where, &g.Problems)
	} else {
		s.note(&g.Problems, pciDevicesDir+"/"+g.Name, err)
	}
	if g.PCI != nil && g.PCI.Vendor == nvidiaVendor {
		g.Facts = s.facts(ctx, g.Name, g.Driver, &g.Problems)
		g.MIG = s.mig(g.Name, g.Parents, g.Facts)
		g.MIG.settle(g.Parents)
	}
}

// sriov reads a physical function's virtual functions; nil when it cannot
// have any.
func (s *scan) sriov(where string, problems *[]Problem) *SRIOV {
	d, err := openDir(s.fs, where, s.buf)
	if err != nil {
		return nil
	}
	defer d.close()
	total, err := d.number("sriov_totalvfs")
	if absent(err) {
		return nil
	}
	if err != nil {
		s.note(problems, where+"/sriov_totalvfs", err)
	}
	state := &SRIOV{Total: total, VFs: []string{}}
	names, err := d.names()
	if err != nil {
		s.note(problems, where, err)
	}
	slices.SortFunc(names, compareNames)
	for _, name := range names {
		number, ok := strings.CutPrefix(name, "virtfn")
		if _, isNumber := parseCount(number); !ok || !isNumber {
			continue
		}
		if vf := d.base(name); vf != "" {
			state.VFs = append(state.VFs, vf)
		}
	}
	state.Enabled = len(state.VFs)
	return state
}

// parseDeviceMinor finds "Device Minor: 	 0" in a GPU's information.
func parseDeviceMinor(text string) (string, bool) {
	for line := range strings.Lines(text) {
		key, value, _ := strings.Cut(line, ":")
		if strings.TrimSpace(key) == "Device Minor" {
			value = strings.TrimSpace(value)
			_, ok := parseCount(value)
			return value, ok
		}
	}
	return "", false
}
