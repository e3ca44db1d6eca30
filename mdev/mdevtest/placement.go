package mdevtest

import (
	"slices"
	"syscall"
)

// What the driver shows when there is none, as NVML's invalid ids.
const (
	noPlacement = 0xffff
	noInstance  = -1
)

// placements are NVIDIA's ids in mixed-size mode: GiB of the GPU, then GiB of
// the type. Boards of other sizes have multiples of the type's size (chosen).
var placements = map[int]map[int][]int{
	80: {
		80: {0}, 40: {0, 40}, 20: {0, 20, 40, 60}, 16: {0, 24, 40, 64}, 10: {0, 10, 20, 30, 40, 50, 60, 70},
		8: {0, 12, 20, 32, 40, 52, 60, 72}, 5: {0, 5, 10, 15, 20, 25, 30, 35, 40, 45, 50, 55, 60, 65, 70, 75},
		4: {0, 6, 10, 16, 20, 26, 30, 36, 40, 46, 50, 56, 60, 66, 70, 76},
	},
	40: {
		40: {0}, 20: {0, 20}, 10: {0, 10, 20, 30}, 8: {0, 12, 20, 32},
		5: {0, 5, 10, 15, 20, 25, 30, 35}, 4: {0, 6, 10, 16, 20, 26, 30, 36},
	},
	24: {
		24: {0}, 12: {0, 12}, 8: {0, 16}, 6: {0, 6, 12, 18}, 4: {0, 8, 12, 20}, 3: {0, 3, 6, 9, 12, 15, 18, 21},
		2: {0, 4, 6, 10, 12, 16, 18, 22}, 1: {0, 2, 3, 5, 6, 8, 9, 11, 12, 14, 15, 17, 18, 20, 21, 23},
	},
}

func (t *vgpuType) gigabytes() int { return max(1, t.framebuffer>>10) }

// ids returns the placements that a type can have on the GPU.
func (g *gpu) ids(t *vgpuType) []int {
	if g.mixed {
		if ids, ok := placements[g.model.series.memory>>10][t.gigabytes()]; ok {
			return ids
		}
	}
	ids := make([]int, t.max)
	for i := range ids {
		ids[i] = i * t.gigabytes()
	}
	return ids
}

// freePlacements returns those of a type's ids that can be taken one after
// the other, lowest first.
func (g *gpu) freePlacements(t *vgpuType) []int {
	var free []int
	end := 0
	for _, id := range g.ids(t) {
		if id >= end && g.isFree(nil, t, id) {
			free = append(free, id)
			end = id + t.gigabytes()
		}
	}
	return free
}

func (g *gpu) isFree(self *device, t *vgpuType, id int) bool {
	for _, d := range g.vgpus {
		if d != self && d.placement != noPlacement && id < d.placement+d.typ.gigabytes() && d.placement < id+t.gigabytes() {
			return false
		}
	}
	return true
}

// checkPlacement: EINVAL is not an id of this type, EIO is taken (chosen).
func (g *gpu) checkPlacement(d *device, id int) error {
	switch {
	case !slices.Contains(g.ids(d.typ), id):
		return syscall.EINVAL
	case !g.isFree(d, d.typ, id):
		return syscall.EIO
	}
	return nil
}
