package mdevtest

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/vgpukit/vgpukit/internal/nvidia"
	"github.com/vgpukit/vgpukit/mdev"
)

// What NVIDIA's host drivers changed, by their first number.
const (
	driver4KWide     = 525 // a C type's width is 2400, not 2160
	driverVendorVFIO = 550 // the vendor-specific VFIO framework
	driverPlacement  = 570 // its files placement_id and gpu_instance_id
)

// series is what the table of NVIDIA's boards says of one.
type series struct {
	brand, board string // "NVIDIA", "A40"; a brand may be missing
	memory       int    // MiB, one GPU
	totalVFs     int
	vendor       bool   // VendorVFIO by default
	release      string // of the host driver, by default
	renamed      int    // from this driver on the brand is NVIDIA; 0: never
	low          bool   // no resolution above 5120x2880
	kinds        []instanceKind
	rows         []row
	views        *sync.Map // of a driver's first number: *model
}

// instanceKind is a profile that a GPU can have instances of.
type instanceKind struct {
	profile nvidia.Profile
	most    int
}

// row is one type of the table.
type row struct {
	id            int
	name          nvidia.Type // without the board
	most          int         // 0: what the memory has room for
	before, since int         // the drivers that list it; 0: all
}

// maxTimeSliced is the most vGPUs that share the time of one GPU.
const maxTimeSliced = 32

// under returns the board with the types that a host driver lists for it.
func (m *model) under(driver int) *model {
	if !m.nvidia() {
		return m
	}
	if view, ok := m.series.views.Load(driver); ok {
		return view.(*model)
	}
	view := *m
	view.types = nil
	for _, r := range m.series.rows {
		if (r.before == 0 || driver < r.before) && driver >= r.since {
			view.types = append(view.types, m.typeOf(r, driver))
		}
	}
	kept, _ := m.series.views.LoadOrStore(driver, &view)
	return kept.(*model)
}

// major is the first number of a driver's release: 550 of "550.54.10".
func major(release string) (int, error) {
	first, _, _ := strings.Cut(release, ".")
	n, err := strconv.Atoi(first)
	if err != nil || n <= 0 || strings.Trim(release, "0123456789.") != "" {
		return 0, fmt.Errorf("%q is not a driver's release such as 550.54.10", release)
	}
	return n, nil
}

// typeOf makes a type of a row: heads, frame rate, resolution and instances follow from
// the listings.
func (m *model) typeOf(r row, driver int) *vgpuType {
	says := r.name
	says.Board = m.boardName(driver)
	t := &vgpuType{id: strconv.Itoa(r.id), name: says.String(), says: says, framebuffer: int(says.Framebuffer() >> 20)}
	t.max = min(m.series.memory/t.framebuffer, maxTimeSliced)
	if t.migBacked() {
		t.max = 0
		for _, k := range m.series.kinds {
			t.max = max(t.max, k.most*k.profile.Holds(says))
		}
	}
	if r.most > 0 {
		t.max = r.most
	}
	t.heads, t.rate, t.resolution = m.display(says, driver)
	t.description = fmt.Sprintf("num_heads=%d, frl_config=%d, framebuffer=%dM, max_resolution=%dx%d, max_instance=%d\n",
		t.heads, t.rate, t.framebuffer, t.resolution.Width, t.resolution.Height, t.max)
	return t
}

// boardName is what the names of the types begin with.
func (m *model) boardName(driver int) string {
	brand := m.series.brand
	if m.series.renamed > 0 && driver >= m.series.renamed {
		brand = "NVIDIA"
	}
	return strings.TrimSpace(brand + " " + m.series.board)
}

// display is what a type's VM can show.
func (m *model) display(t nvidia.Type, driver int) (heads, rate int, resolution mdev.Resolution) {
	switch {
	case t.Series == "A":
		return 1, 60, mdev.Resolution{Width: 1280, Height: 1024}
	case t.Series == "C" && driver < driver4KWide:
		return 1, 60, mdev.Resolution{Width: 4096, Height: 2160}
	case t.Series == "C":
		return 1, 60, mdev.Resolution{Width: 4096, Height: 2400}
	}
	heads, rate, resolution = 4, 60, mdev.Resolution{Width: 7680, Height: 4320}
	if t.Series == "B" {
		rate = 45
	}
	switch {
	case t.GiB == 0:
		heads, resolution = 2, mdev.Resolution{Width: 2560, Height: 1600}
	case t.Series == "B" || t.GiB == 1 || m.series.low:
		resolution = mdev.Resolution{Width: 5120, Height: 2880}
	}
	return heads, rate, resolution
}

// slices is how many compute slices MIG makes of the GPU; 0: it has no MIG.
func (m *model) slices() int {
	most := 0
	for _, k := range m.series.kinds {
		most = max(most, k.profile.Slices)
	}
	return most
}

// memorySlices is in how many parts MIG divides the memory: one more than the slices of a
// GPU of seven.
func (m *model) memorySlices() int {
	if n := m.slices(); n != 7 {
		return n
	}
	return 8
}

// parts is how many of the memory's parts an instance has.
func (m *model) parts(p nvidia.Profile) int {
	memory := m.series.memory >> 10
	return max(1, (2*p.GiB*m.memorySlices()+memory)/(2*memory))
}

// kind finds the instances of a profile.
func (m *model) kind(p nvidia.Profile) (instanceKind, bool) {
	i := slices.IndexFunc(m.series.kinds, func(k instanceKind) bool { return k.profile == p })
	if i < 0 {
		return instanceKind{}, false
	}
	return m.series.kinds[i], true
}
