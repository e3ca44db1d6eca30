package mdev_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vgpukit/vgpukit/mdev"
	"github.com/vgpukit/vgpukit/vgpu/placement"
)

// corpusHost is a host in the form of the corpus: each function and each type on its own.
type corpusHost struct {
	PFs     []corpusFunction  `json:"pfs"`
	VFs     []corpusFunction  `json:"vfs"`
	Parents []corpusFunction  `json:"parents"`
	MDevs   []corpusMDev      `json:"mdevs"`
	Files   map[string]string `json:"files"`
	Expect  struct {
		Capacity map[string][2]int `json:"capacity"`
	} `json:"expect"`
}

type corpusFunction struct {
	Name, Path, Vendor, Device, Class, Driver, PhysFn string

	NUMA      *int     `json:"numa"`
	TotalVFs  *int     `json:"totalvfs"`
	VFs       []string `json:"vfs"`
	Group     *int     `json:"group"`
	CDev      string   `json:"cdev"`
	Creatable *string  `json:"creatable"`
	Current   string   `json:"current"`
	Types     [][]any  `json:"types"` // id, name, description, available, device API
}

type corpusMDev struct {
	UUID, Parent, Type, Driver string

	Group int `json:"group"`
}

func (c *corpusHost) build(t testing.TB) *hostTree {
	h := newHostTree(t)
	where := map[string]string{}
	for _, f := range append(append(append([]corpusFunction{}, c.PFs...), c.VFs...), c.Parents...) {
		where[f.Name] = f.Path
		one := hostFunction{Name: f.Name, Path: f.Path, Driver: f.Driver, NUMA: f.NUMA, PF: f.PhysFn}
		if f.Vendor != "" {
			hex := func(id string) string { return strings.TrimPrefix(id, "0x") }
			one.PCI = hex(f.Vendor) + ":" + hex(f.Device) + ":" + hex(f.Class)
		}
		h.function(one)
		if f.Group != nil {
			h.group(f.Path, *f.Group)
		}
		if f.CDev != "" {
			h.dir(f.Path + "/vfio-dev/" + f.CDev)
			h.file("dev/vfio/devices/"+f.CDev, "")
		}
		if f.TotalVFs != nil {
			h.vfs(f.Path, *f.TotalVFs, f.VFs)
		}
		if f.Creatable != nil {
			h.file(f.Path+"/nvidia/creatable_vgpu_types", *f.Creatable)
			h.file(f.Path+"/nvidia/current_vgpu_type", f.Current+"\n")
		}
	}
	for _, p := range c.Parents {
		h.mdevParent(p.Name, p.Path, p.types())
	}
	for _, m := range c.MDevs {
		h.mdev(m.UUID, where[m.Parent], m.Type, m.Driver, m.Group)
	}
	for name, text := range c.Files {
		h.file(name, text)
	}
	return h
}

func (f *corpusFunction) types() []hostType {
	var types []hostType
	for _, row := range f.Types {
		one := hostType{ID: row[0].(string), Left: int(row[3].(float64))}
		if name, ok := row[1].(string); ok {
			one.Name = &name
		}
		if text, ok := row[2].(string); ok {
			one.Description = &text
		}
		if len(row) > 4 {
			one.API = row[4].(string)
		}
		types = append(types, one)
	}
	return types
}

// Each host of a corpus is read whole: types and devices are those that its listing has,
// capacity is what it expects, plan agrees with capacity, and refusals advise nothing false.
// VGPUKIT_CORPUS names the directory; it is no part of this project.
func TestCorpusHosts(t *testing.T) {
	corpus := os.Getenv("VGPUKIT_CORPUS")
	if corpus == "" {
		t.Log("VGPUKIT_CORPUS is not set: none is read")
		return
	}
	for _, name := range hostNames(t, filepath.Join(corpus, "hosts")) {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".json"), func(t *testing.T) {
			data, err := os.ReadFile(name)
			require.NoError(t, err)
			var c corpusHost
			require.NoError(t, json.Unmarshal(data, &c))
			host, err := mdev.Open(mdev.Config{Root: c.build(t).root})
			require.NoError(t, err)
			inv, err := host.Inventory(t.Context())
			require.NoError(t, err)
			parents, devices := map[string]mdev.Parent{}, map[string]mdev.Device{}
			for _, g := range inv.GPUs {
				for _, p := range g.Parents {
					parents[p.Name] = p
					for _, d := range p.Devices {
						devices[d.ID] = d
					}
				}
			}
			for _, p := range c.Parents {
				checkTypes(t, parents[p.Name], p.types())
			}
			for _, vf := range c.VFs {
				if vf.Creatable != nil {
					checkCreatable(t, parents[vf.Name], *vf.Creatable)
				}
			}
			for _, m := range c.MDevs {
				d := devices[m.UUID]
				assert.Equal(t, []string{m.Type, m.Driver, string(mdev.StateReady)}, []string{d.Type, d.Driver, string(d.State)}, m.UUID)
			}
			byType := map[string][2]int{}
			for _, g := range inv.GPUs {
				for _, c := range g.Capacity {
					byType[c.Type] = [2]int{c.Available, c.Max}
				}
			}
			for typ, want := range c.Expect.Capacity {
				assert.Equal(t, want, byType[typ], "capacity of %s", typ)
			}
			planAgrees(t, inv)
			checkRefusals(t, host, inv)
			for _, p := range inv.AllProblems() {
				t.Log("problem:", p)
			}
			t.Logf("%d GPUs, %d parents, %d devices, %d types with capacity", len(inv.GPUs), len(parents), len(devices), len(byType))
		})
	}
}

func checkTypes(t *testing.T, p mdev.Parent, want []hostType) {
	require.Len(t, p.Types, len(want), p.Name)
	for _, w := range want {
		var got mdev.Type
		for _, one := range p.Types {
			if one.ID == w.ID {
				got = one
			}
		}
		api := w.API
		if api == "" {
			api = "vfio-pci"
		}
		name := w.ID
		if w.Name != nil && *w.Name != "" {
			name = *w.Name
		}
		assert.Equal(t, []any{w.ID, name, api, w.Left}, []any{got.ID, got.Name, got.DeviceAPI, got.Available}, p.Name)
		if w.Description == nil {
			continue
		}
		for _, field := range regexp.MustCompile(`([a-z_]+)[=:]\s*([^,\n]+)`).FindAllStringSubmatch(*w.Description, -1) {
			n, err := strconv.Atoi(strings.TrimRight(strings.TrimSpace(field[2]), "MB"))
			if err != nil {
				continue
			}
			d := got.Description
			for key, has := range map[string]int{
				"num_heads": d.Heads, "frl_config": d.FrameRateLimit, "framebuffer": int(d.Framebuffer >> 20), "max_instance": d.MaxInstances,
				"low_gm_size": int(d.LowGM >> 20), "high_gm_size": int(d.HighGM >> 20), "fence": d.Fences, "weight": d.Weight,
			} {
				if key == field[1] {
					assert.Equal(t, n, has, "%s of %s", key, w.ID)
				}
			}
		}
	}
}

func checkCreatable(t *testing.T, p mdev.Parent, list string) {
	var want, got []string
	for _, row := range regexp.MustCompile(`(?m)^(\d+)\s*:\s*(.*\S)\s*$`).FindAllStringSubmatch(list, -1) {
		want = append(want, row[1]+" "+row[2])
	}
	for _, one := range p.Types {
		got = append(got, one.ID+" "+one.Name)
		if size := regexp.MustCompile(`-(\d+)[ABCQ]\w*$`).FindStringSubmatch(one.Name); size != nil {
			assert.Equal(t, size[1], fmt.Sprint(one.Description.Framebuffer>>30), one.Name)
		}
	}
	assert.Equal(t, want, got, p.Name)
}

// checkRefusals asks for types without room and for one that there cannot be, everywhere and on
// each GPU's first parent, and sees that what is advised can be done.
func checkRefusals(t *testing.T, host *mdev.Host, inv *mdev.Inventory) {
	types := []string{"NVIDIA Unheard-of-8Q", "DC-1-24Q", "nvidia-99999"}
	for _, g := range inv.GPUs {
		for _, c := range g.Capacity {
			if c.Available == 0 {
				types = append(types, c.Type, c.Name)
			}
		}
	}
	snapshot, err := placement.NewSnapshot(placement.HostInventory{Inventory: inv})
	require.NoError(t, err)
	for _, typ := range types[:min(len(types), 12)] {
		if typ == "" {
			continue
		}
		_, err := snapshot.Place([]placement.Request{{Type: typ}}, placement.Options{})
		var refusal *placement.Refusal
		if errors.As(err, &refusal) {
			noFalseAdvice(t, inv, refusal.Hint())
			_, err = host.Create(t.Context(), mdev.CreateRequest{Type: typ})
			var e *mdev.Error
			require.ErrorAs(t, err, &e, typ)
			noFalseAdvice(t, inv, e.Hint())
		}
	}
}
