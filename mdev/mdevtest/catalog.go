package mdevtest

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/vgpukit/vgpukit/internal/closest"
	"github.com/vgpukit/vgpukit/internal/nvidia"
	"github.com/vgpukit/vgpukit/mdev"
)

// model is a kind of board: what the catalogue knows about it.
type model struct {
	name   string
	rule   rule
	driver string // of the parent; before the "-" of the types' directories
	mdev   string // the mdev driver's name
	api    string

	gpus      int // PCI GPUs on the board; 0: not a PCI device
	bus       int // where the first one is put if that is free
	vendorID  string
	deviceID  string
	subsystem string
	class     string

	parent string         // a virtual parent's path below sys/devices
	bus2   string         // and its subsystem's: "class/mtty"
	pool   map[string]int // what all types share
	types  []*vgpuType

	series series // of NVIDIA's
}

// rule is who decides whether another device fits.
type rule int

const (
	ruleCount  rule = iota // the mdev core counts instances: EUSERS
	ruleShared             // types share resources: ENOSPC
	ruleNVIDIA             // sizes, placements, MIG: EIO
)

func (m *model) nvidia() bool { return m.rule == ruleNVIDIA }

// vgpuType is one kind of vGPU.
type vgpuType struct {
	id          string // without the driver: "22", "GVTg_V5_8"
	name        string
	description string // "" when the driver shows none
	needs       map[string]int
	says        nvidia.Type // what an NVIDIA type's name says
	framebuffer int         // MiB
	max         int         // instances on one GPU
	heads, rate int
	resolution  mdev.Resolution
}

// migBacked tells a type that needs a GPU instance.
func (t *vgpuType) migBacked() bool { return t.says.Slices > 0 }

// presets are names of boards in a mode.
var presets = map[string]struct {
	board     string
	instances []string
}{
	"a100-mig": {"a100", []string{"3g.20gb", "4g.20gb"}},
}

// Boards returns the names that [NewBoard] knows, sorted.
func Boards() []string {
	names := slices.Concat(slices.Collect(maps.Keys(others)), slices.Collect(maps.Keys(table())), slices.Collect(maps.Keys(presets)))
	slices.Sort(names)
	return names
}

// findModel looks a board up in the catalogue.
func findModel(name string) (*model, error) {
	if preset, ok := presets[name]; ok {
		name = preset.board
	}
	if m, ok := others[name]; ok {
		return m, nil
	}
	if m, ok := table()[name]; ok {
		return m, nil
	}
	if near := closest.Names(name, Boards(), 3); len(near) > 0 {
		return nil, fmt.Errorf("board %q is not known; did you mean %s?", name, strings.Join(near, ", "))
	}
	return nil, fmt.Errorf("board %q is not known; there are %s", name, strings.Join(Boards(), ", "))
}

// others are the boards of the catalogue that are not NVIDIA's.
var others = map[string]*model{
	"gvt-g": {
		rule: ruleShared, driver: "i915", mdev: "intel_vgpu_mdev", api: "vfio-pci",
		gpus: 1, vendorID: "0x8086", deviceID: "0x5912", subsystem: "0x0000", class: "0x030000",
		// A 256 MiB aperture and 4 GiB of graphics address space, less what
		// the driver keeps for the host.
		pool: map[string]int{"low": 128, "high": 3456, "fence": 28},
		types: []*vgpuType{
			gvt("GVTg_V5_4", 128, 512, 4, "1920x1200", 4),
			gvt("GVTg_V5_8", 64, 384, 4, "1024x768", 2),
		},
	},
	"ap-matrix": {
		rule: ruleCount, driver: "vfio_ap", mdev: "vfio_ap_mdev", api: "vfio-ap",
		parent: "vfio_ap/matrix", bus2: "bus/matrix", pool: map[string]int{"instances": 65536}, // chosen
		types: []*vgpuType{{id: "passthrough", name: "VFIO AP Passthrough Device"}},
	},
	"ccw": {
		rule: ruleCount, driver: "vfio_ccw", mdev: "vfio_ccw_mdev", api: "vfio-ccw",
		parent: "css0/0.0.0313", bus2: "bus/css", pool: map[string]int{"instances": 1},
		types: []*vgpuType{{id: "io", name: "I/O subchannel (Non-QDIO)"}},
	},
	"mtty": {
		rule: ruleShared, driver: "mtty", mdev: "mtty", api: "vfio-pci",
		parent: "virtual/mtty/mtty", bus2: "class/mtty", pool: map[string]int{"ports": 24},
		types: []*vgpuType{
			{id: "1", name: "Single port serial", needs: map[string]int{"ports": 1}},
			{id: "2", name: "Dual port serial", needs: map[string]int{"ports": 2}},
		},
	},
	"mdpy": {
		rule: ruleCount, driver: "mdpy", mdev: "mdpy", api: "vfio-pci",
		parent: "virtual/mdpy/mdpy", bus2: "class/mdpy", pool: map[string]int{"instances": 4},
		types: []*vgpuType{
			{id: "vga", name: "mdpy-vga", description: "virtual display, 640x480 framebuffer\n"},
			{id: "xga", name: "mdpy-xga", description: "virtual display, 1024x768 framebuffer\n"},
			{id: "hd", name: "mdpy-hd", description: "virtual display, 1920x1080 framebuffer\n"},
		},
	},
	"mbochs": {
		rule: ruleShared, driver: "mbochs", mdev: "mbochs", api: "vfio-pci",
		parent: "virtual/mbochs/mbochs", bus2: "class/mbochs", pool: map[string]int{"mbytes": 256},
		types: []*vgpuType{mbochs("small", 4), mbochs("medium", 16), mbochs("large", 64)},
	},
}

func mbochs(size string, mbytes int) *vgpuType {
	return &vgpuType{
		id: size, name: "mbochs-" + size, needs: map[string]int{"mbytes": mbytes},
		description: fmt.Sprintf("virtual display, %d MB video memory\n", mbytes),
	}
}

func gvt(id string, low, high, fence int, resolution string, weight int) *vgpuType {
	return &vgpuType{
		id: id, name: id, needs: map[string]int{"low": low, "high": high, "fence": fence},
		description: fmt.Sprintf("low_gm_size: %dMB\nhigh_gm_size: %dMB\nfence: %d\nresolution: %s\nweight: %d\n", low, high, fence, resolution, weight),
	}
}
