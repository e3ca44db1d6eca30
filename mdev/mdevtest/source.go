package mdevtest

import (
	"context"
	"fmt"

	"github.com/vgpukit/vgpukit/internal/nvidia"
	"github.com/vgpukit/vgpukit/mdev"
)

var _ mdev.Source = (*Host)(nil)

// Facts implements [mdev.Source] as NVIDIA's management library tells of a GPU. As there,
// a GPU has a little less memory than its name says, and so has each GPU instance. Of
// other GPUs than NVIDIA's it knows nothing.
func (h *Host) Facts(ctx context.Context, address string) (mdev.Facts, error) {
	if err := ctx.Err(); err != nil {
		return mdev.Facts{}, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	g := h.findGPU(address)
	if g == nil || !g.model.nvidia() {
		return mdev.Facts{}, fmt.Errorf("facts of %s: NVIDIA's driver has no such GPU", address)
	}
	ecc := g.board.ECC
	facts := mdev.Facts{Driver: g.board.release(g.model), Memory: told(uint64(g.model.series.memory) << 20), ECC: &ecc}
	if ecc { // its bits take a sixteenth
		facts.Memory -= facts.Memory / 16
	}
	if g.model.slices() == 0 {
		return facts, nil
	}
	mig := g.board.MIG
	facts.MIG = &mig
	for _, i := range g.instances {
		facts.Instances = append(facts.Instances, tell(i.id, i.profile))
	}
	return facts, nil
}

func tell(id int, p nvidia.Profile) mdev.Instance {
	return mdev.Instance{ID: id, Profile: p.String(), Slices: p.Slices, Memory: told(uint64(p.GiB) << 30)}
}

// told is what NVML tells of so much memory: 23.62 of 24 GiB, 47.25 of 48.
func told(memory uint64) uint64 { return memory - memory/64 }
