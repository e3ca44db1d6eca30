package mdev_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/vgpukit/vgpukit/mdev"
	"github.com/vgpukit/vgpukit/mdev/mdevtest"
)

// hostTree is the files of a host as listings of real ones show them, as plain files: nothing of
// a kernel is in them.
type hostTree struct {
	t    testing.TB
	root string
}

func newHostTree(t testing.TB) *hostTree { return &hostTree{t, t.TempDir()} }

func (h *hostTree) file(name, text string) {
	full := filepath.Join(h.root, name)
	require.NoError(h.t, os.MkdirAll(filepath.Dir(full), 0o755))
	require.NoError(h.t, os.WriteFile(full, []byte(text), 0o644))
}

func (h *hostTree) link(name, target string) {
	full := filepath.Join(h.root, name)
	require.NoError(h.t, os.MkdirAll(filepath.Dir(full), 0o755))
	rel, err := filepath.Rel(filepath.Dir(name), target)
	require.NoError(h.t, err)
	require.NoError(h.t, os.Symlink(rel, full))
}

func (h *hostTree) dir(name string) {
	require.NoError(h.t, os.MkdirAll(filepath.Join(h.root, name), 0o755))
}

// hostFunction is a PCI function, or a parent on another bus.
type hostFunction struct {
	Name   string `json:"name"`
	Path   string `json:"path"`
	PCI    string `json:"pci"` // "10de:2235:030200"
	Driver string `json:"driver"`
	NUMA   *int   `json:"numa"`
	PF     string `json:"pf"`
	Group  int    `json:"group"`
}

func (h *hostTree) function(f hostFunction) {
	h.dir(f.Path)
	if ids := strings.Split(f.PCI, ":"); len(ids) == 3 {
		h.file(f.Path+"/vendor", "0x"+ids[0]+"\n")
		h.file(f.Path+"/device", "0x"+ids[1]+"\n")
		h.file(f.Path+"/class", "0x"+ids[2]+"\n")
		h.link("sys/bus/pci/devices/"+f.Name, f.Path)
	}
	if f.Driver != "" {
		h.dir("sys/bus/pci/drivers/" + f.Driver)
		h.link(f.Path+"/driver", "sys/bus/pci/drivers/"+f.Driver)
	}
	if f.NUMA != nil {
		h.file(f.Path+"/numa_node", fmt.Sprintln(*f.NUMA))
	}
	if f.PF != "" {
		h.link(f.Path+"/physfn", path.Dir(f.Path)+"/"+f.PF)
	}
	if f.Group > 0 {
		h.group(f.Path, f.Group)
	}
}

func (h *hostTree) group(where string, n int) {
	group := fmt.Sprintf("sys/kernel/iommu_groups/%d", n)
	h.dir(group)
	h.link(where+"/iommu_group", group)
	h.file(fmt.Sprintf("dev/vfio/%d", n), "")
}

// vfs makes a physical function's files about its virtual ones.
func (h *hostTree) vfs(pf string, total int, names []string) {
	h.file(pf+"/sriov_totalvfs", fmt.Sprintln(total))
	h.file(pf+"/sriov_numvfs", fmt.Sprintln(len(names)))
	for i, vf := range names {
		h.link(fmt.Sprintf("%s/virtfn%d", pf, i), path.Dir(pf)+"/"+vf)
	}
}

// hostType is a type of a parent of mediated devices.
type hostType struct {
	ID          string  `json:"id"`
	Name        *string `json:"name"`
	Description *string `json:"description"`
	Left        int     `json:"left"`
	API         string  `json:"api"`
}

func (h *hostTree) mdevParent(name, where string, types []hostType) {
	h.link("sys/class/mdev_bus/"+name, where)
	h.dir(where + "/mdev_supported_types")
	for _, t := range types {
		dir := where + "/mdev_supported_types/" + t.ID
		h.file(dir+"/available_instances", fmt.Sprintln(t.Left))
		if t.API == "" {
			t.API = "vfio-pci"
		}
		h.file(dir+"/device_api", t.API+"\n")
		h.file(dir+"/create", "")
		h.dir(dir + "/devices")
		if t.Name != nil {
			h.file(dir+"/name", *t.Name+"\n")
		}
		if t.Description != nil {
			h.file(dir+"/description", *t.Description+"\n")
		}
	}
}

func (h *hostTree) mdev(uuid, parent, typeID, driver string, group int) {
	dev, dir := parent+"/"+uuid, parent+"/mdev_supported_types/"+typeID
	h.file(dev+"/remove", "")
	h.link(dev+"/mdev_type", dir)
	h.link(dir+"/devices/"+uuid, dev)
	h.link("sys/bus/mdev/devices/"+uuid, dev)
	if driver != "" {
		h.dir("sys/bus/mdev/drivers/" + driver)
		h.link(dev+"/driver", "sys/bus/mdev/drivers/"+driver)
	}
	h.group(dev, group)
}

// hostFile is a host in the form of testdata/hosts: physical GPUs with runs of virtual functions
// that are alike. Types are those that a simulated board lists, so that a file names them only
// by the board; what is left of them is by their number, "*" for the others.
type hostFile struct {
	About   string            `json:"about"`
	GPUs    []hostGPU         `json:"gpus"`
	Parents []hostParent      `json:"parents"`
	Files   map[string]string `json:"files"`
	Expect  hostExpect        `json:"expect"`
}

type hostGPU struct {
	hostFunction
	Board string         `json:"board"` // its types are on the GPU itself
	Left  map[string]int `json:"left"`  // -1: as many as an empty GPU has
	Total int            `json:"total_vfs"`
	VFs   []hostVFs      `json:"vfs"`
	VGPUs []hostVGPU     `json:"vgpus"`
	Minor *int           `json:"minor"` // of NVIDIA's device node; shows the GPU in /proc
	MIG   []string       `json:"mig"`   // in MIG mode: its GPU instances, "gi1"
}

type hostVFs struct {
	Count   int            `json:"count"`
	Driver  string         `json:"driver"`
	Board   string         `json:"board"`
	Prefix  string         `json:"prefix"` // of types' directories; empty: the vendor-specific framework
	Left    map[string]int `json:"left"`   // without a prefix: the types that are listed
	Current string         `json:"current"`
}

type hostVGPU struct {
	UUID, Parent, Type string
}

type hostParent struct {
	hostFunction
	Types []hostType `json:"types"`
	VGPUs []hostVGPU `json:"vgpus"`
}

type hostExpect struct {
	Capacity map[string][2]int `json:"capacity"` // available and at most; exactly, of these types
	Problems []string          `json:"problems"` // codes, in order of the GPUs
	Place    []hostPlace       `json:"place"`
	Blocker  string            `json:"blocker"` // of enabling the first GPU's virtual functions
	Disable  *string           `json:"disable"` // of disabling them; "": none
}

// hostPlace is a question to the placement, and to Create if it is refused.
type hostPlace struct {
	Type   string `json:"type"`
	Parent string `json:"parent"`
	On     string `json:"on"`   // the parent that is chosen; empty: refused
	No     string `json:"no"`   // what the refusal says
	Code   string `json:"code"` // one of its reasons
	Next   string `json:"next"` // what the hint says
	Create string `json:"create"`
}

func readHostFile(t testing.TB, name string) hostFile {
	data, err := os.ReadFile(name)
	require.NoError(t, err)
	var f hostFile
	d := json.NewDecoder(strings.NewReader(string(data)))
	d.DisallowUnknownFields()
	require.NoError(t, d.Decode(&f), name)
	return f
}

func (f *hostFile) build(t testing.TB) *hostTree {
	h := newHostTree(t)
	group := 100
	for _, g := range f.GPUs {
		if g.Path == "" {
			g.Path = "sys/devices/pci" + strings.TrimSuffix(g.Name, ":00.0") + "/" + g.Name
		}
		h.function(g.hostFunction)
		where := map[string]string{g.Name: g.Path}
		if g.Board != "" {
			h.mdevParent(g.Name, g.Path, boardTypes(t, g.Board, "nvidia", g.Left))
		}
		var vfs []string
		for _, run := range g.VFs {
			for range run.Count {
				group++
				f := hostFunction{Name: vfAddress(t, g.Name, len(vfs)), PCI: g.PCI, Driver: run.Driver, PF: g.Name, NUMA: g.NUMA, Group: group}
				f.Path = path.Dir(g.Path) + "/" + f.Name
				vfs = append(vfs, f.Name)
				where[f.Name] = f.Path
				h.function(f)
				switch {
				case run.Board == "":
				case run.Prefix != "":
					h.mdevParent(f.Name, f.Path, boardTypes(t, run.Board, run.Prefix, run.Left))
				default:
					h.vendorVF(f.Path, run)
				}
			}
		}
		if g.Total > 0 || len(vfs) > 0 {
			h.vfs(g.Path, max(g.Total, len(vfs)), vfs)
		}
		for _, v := range g.VGPUs {
			group++
			h.mdev(v.UUID, where[v.Parent], v.Type, "nvidia-vgpu-vfio", group)
		}
		if g.Minor != nil {
			h.file("proc/driver/nvidia/gpus/"+g.Name+"/information", fmt.Sprintf("Model: \t\t a board\nDevice Minor: \t %d\n", *g.Minor))
		}
		if g.MIG != nil {
			mig := fmt.Sprintf("proc/driver/nvidia/capabilities/gpu%d/mig", *g.Minor)
			h.dir(mig)
			for _, gi := range g.MIG {
				h.file(mig+"/"+gi+"/access", "DeviceFileMinor: 30\n")
			}
		}
	}
	for _, p := range f.Parents {
		h.function(p.hostFunction)
		h.mdevParent(p.Name, p.Path, p.Types)
		for _, v := range p.VGPUs {
			group++
			h.mdev(v.UUID, p.Path, v.Type, "vfio_mdev", group)
		}
	}
	for name, text := range f.Files {
		h.file(name, text)
	}
	return h
}

// boardTypes are the types that a simulated board lists, with what is left of each.
func boardTypes(t testing.TB, spec, prefix string, left map[string]int) []hostType {
	board, err := mdevtest.NewBoard(spec)
	require.NoError(t, err)
	listed, err := board.Types()
	require.NoError(t, err)
	var types []hostType
	for _, one := range listed {
		number, ok := mdev.TypeNumber(one.ID)
		require.True(t, ok, one.ID)
		n, said := left[number]
		if !said {
			n = left["*"]
		}
		if n < 0 {
			n = one.Description.MaxInstances
		}
		types = append(types, hostType{ID: prefix + "-" + number, Name: &one.Name, Description: &one.Description.Raw, Left: n})
	}
	return types
}

func (h *hostTree) vendorVF(where string, run hostVFs) {
	text := "ID    : vGPU Name\n"
	for _, t := range boardTypes(h.t, run.Board, "x", run.Left) {
		if t.Left > 0 && run.Current == "" {
			text += fmt.Sprintf("%-5s : %s\n", strings.TrimPrefix(t.ID, "x-"), *t.Name)
		}
	}
	h.file(where+"/nvidia/creatable_vgpu_types", text)
	current := run.Current
	if current == "" {
		current = "0"
	}
	h.file(where+"/nvidia/current_vgpu_type", current+"\n")
}

// vfAddress is the n-th virtual function of a GPU, as NVIDIA's boards number them.
func vfAddress(t testing.TB, pf string, n int) string {
	a, err := mdev.ParsePCIAddress(pf)
	require.NoError(t, err)
	a.Slot, a.Function = uint8((n+4)/8), uint8((n+4)%8)
	return a.String()
}

func hostNames(t testing.TB, dir string) []string {
	names, err := filepath.Glob(filepath.Join(dir, "*.json"))
	require.NoError(t, err)
	require.NotEmpty(t, names, dir)
	slices.Sort(names)
	return names
}
