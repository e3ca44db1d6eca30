package mdevtest

import (
	"fmt"
	"strings"

	"github.com/vgpukit/vgpukit/internal/nvidia"
)

// model is a kind of board: what the catalogue knows about it.
type model struct {
	rule   rule
	driver string // of the parent; before the "-" of the types' directories
	mdev   string // the mdev driver's name
	api    string

	gpus     int // PCI GPUs on the board; 0: not a PCI device
	bus      int // where the first one is put if that is free
	vendorID string
	deviceID string
	class    string

	totalVFs  int
	vendor    bool // VendorVFIO by default
	slices    int  // of MIG
	instances []string
	memory    int // MiB, one GPU

	parent string         // a virtual parent's path below sys/devices
	bus2   string         // and its subsystem's: "class/mtty"
	pool   map[string]int // what all types share
	types  []*vgpuType
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
	framebuffer int // MiB
	max         int // instances on one GPU
	series      byte
	instance    profile
}

// profile is a MIG GPU instance, or what a type needs of one.
type profile struct {
	slices, gigabytes int
	media             bool // +me
}

func parseProfile(s string) (profile, bool) {
	var p profile
	s, p.media = strings.CutSuffix(s, "+me")
	_, err := fmt.Sscanf(s, "%dg.%dgb", &p.slices, &p.gigabytes)
	return p, err == nil && fmt.Sprintf("%dg.%dgb", p.slices, p.gigabytes) == s && p.slices > 0
}

func (m *model) offersProfile(p profile) bool {
	for _, t := range m.types {
		if t.instance == p {
			return true
		}
	}
	return false
}

// models is the catalogue. NVIDIA's type ids, names and the M60's rows are
// from published listings; rows that no listing shows are synthesised in the
// same form (see nvidiaType).
var models = map[string]*model{
	"tesla-m60": legacy("13f2", "0x030000", 2, 8, "GRID M60-", "11:0B 12:0Q 13:1A 14:1B 15:1Q 16:2A 17:2B 18:2Q 19:4A 20:4Q 21:8A 22:8Q 210:2B4 238:1B4"),
	"tesla-v100": legacy("1db4", "0x030200", 1, 16, "GRID V100-",
		"105:1Q 106:2Q 107:4Q 108:8Q 109:16Q 110:1A 111:2A 112:4A 113:8A 114:16A 115:1B 163:2B 217:2B4 247:1B4 299:4C 300:8C 301:16C"),
	"tesla-p40": legacy("1b38", "0x030200", 1, 24, "GRID P40-",
		"46:1Q 47:2Q 48:3Q 49:4Q 50:6Q 51:8Q 52:12Q 53:24Q 54:1A 55:2A 56:3A 57:4A 58:6A 59:8A 60:12A 61:24A 62:1B 156:2B 215:2B4 241:1B4 283:4C 284:6C 285:8C 286:12C 287:24C"),
	"tesla-t4": legacy("1eb8", "0x030200", 1, 16, "GRID T4-",
		"222:1B 223:2B 224:2B4 225:1A 226:2A 227:4A 228:8A 229:16A 230:1Q 231:2Q 232:4Q 233:8Q 234:16Q 252:1B4 319:4C 320:8C 321:16C"),
	// An SR-IOV board by its silicon; here as the listing that is published
	// shows it, with its types on the GPU itself.
	"rtx-a6000": legacy("2230", "0x030000", 1, 48, "NVIDIA RTXA6000-",
		"522:1B 523:2B 524:1Q 525:2Q 526:3Q 527:4Q 528:6Q 529:8Q 530:12Q 531:16Q 532:24Q 533:48Q 534:1A 535:2A 536:3A 537:4A 538:6A 539:8A 540:12A 541:16A 542:24A 543:48A 548:4C 549:6C 550:8C 551:12C 552:16C 553:24C 554:48C"),
	"a40": sriov("2235", 32, 48, "NVIDIA A40-",
		"555:1B 556:2B 557:1Q 558:2Q 559:3Q 560:4Q 561:6Q 562:8Q 563:12Q 564:16Q 565:24Q 566:48Q 567:1A 568:2A 569:3A 570:4A 571:6A 572:8A 573:12A 574:16A 575:24A 576:48A 581:4C 582:6C 583:8C 584:12C 585:16C 586:24C 587:48C"),
	"a100":     a100(),
	"a100-mig": a100("3g.20gb", "4g.20gb"),
	"l40s":     l40s(),
	"gvt-g": {
		rule: ruleShared, driver: "i915", mdev: "intel_vgpu_mdev", api: "vfio-pci",
		gpus: 1, vendorID: "0x8086", deviceID: "0x5912", class: "0x030000",
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

func legacy(device, class string, gpus, gigabytes int, board, rows string) *model {
	m := &model{
		rule: ruleNVIDIA, driver: "nvidia", mdev: "nvidia-vgpu-vfio", api: "vfio-pci",
		gpus: gpus, bus: 0x05, vendorID: "0x10de", deviceID: "0x" + device, class: class, memory: gigabytes << 10,
	}
	for row := range strings.FieldsSeq(rows) {
		id, series, _ := strings.Cut(row, ":")
		m.types = append(m.types, nvidiaType(id, board, series, gigabytes))
	}
	return m
}

func sriov(device string, vfs, gigabytes int, board, rows string) *model {
	m := legacy(device, "0x030200", 1, gigabytes, board, rows)
	m.totalVFs, m.bus = vfs, 0x41
	return m
}

func a100(instances ...string) *model {
	m := sriov("20b0", 16, 40, "GRID A100-", "468:4C 469:5C 470:8C 471:10C 472:20C 473:40C 474:1-5C 475:2-10C 476:3-20C 477:4-20C 478:7-40C 706:1-5CME")
	m.slices, m.instances = 7, instances
	return m
}

func l40s() *model {
	m := sriov("26b9", 32, 48, "NVIDIA L40S-",
		"1145:1B 1146:2B 1147:1Q 1148:2Q 1149:3Q 1150:4Q 1151:6Q 1152:8Q 1153:12Q 1154:16Q 1155:24Q 1156:48Q 1157:1A 1158:2A 1159:3A 1160:4A 1161:6A 1162:8A 1163:12A 1164:16A 1165:24A 1166:48A 2164:3B")
	m.vendor = true
	return m
}

// nvidiaType makes the row of one type from its series, such as 8Q, 2B4,
// 4-20C: heads, frame rate, resolution and instances follow the listings.
func nvidiaType(id, board, series string, gigabytes int) *vgpuType {
	name, ok := nvidia.Parse(board + series)
	if !ok {
		panic("not a type of NVIDIA's: " + board + series)
	}
	t := &vgpuType{id: id, name: name.String(), framebuffer: int(name.Framebuffer() >> 20), series: name.Series[0]}
	t.max = min(gigabytes<<10/t.framebuffer, 32)
	if name.Slices > 0 {
		t.instance = profile{name.Slices, name.GiB, name.Variant == "ME"}
		if t.max = 7 / name.Slices; t.instance.media {
			t.max = 1
		}
	}
	heads, rate, resolution := 4, 60, "7680x4320"
	switch t.series {
	case 'A':
		heads, resolution = 1, "1280x1024"
	case 'B':
		rate, resolution = 45, "5120x2880"
	case 'C':
		heads, resolution = 1, "4096x2160"
	case 'Q':
		if name.GiB <= 1 || gigabytes == 8 { // Maxwell stays at 5K
			resolution = "5120x2880"
		}
	}
	if name.GiB == 0 {
		heads, resolution = 2, "2560x1600"
	}
	t.description = fmt.Sprintf("num_heads=%d, frl_config=%d, framebuffer=%dM, max_resolution=%s, max_instance=%d\n", heads, rate, t.framebuffer, resolution, t.max)
	return t
}
