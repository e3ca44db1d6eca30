package mdevtest

import (
	"strings"

	"github.com/vgpukit/vgpukit/mdev"
)

// Types returns the vGPU types that the driver lists for a board, by id: those of both MIG
// modes, each with what it says of itself and how many of it a GPU holds at most. Under the
// vendor-specific VFIO framework a host tells no more of them than id and name.
func (b Board) Types() ([]mdev.Type, error) {
	m, err := b.check()
	if err != nil {
		return nil, err
	}
	var list []mdev.Type
	for _, t := range m.types {
		id := t.id
		if !b.VendorVFIO {
			id = m.driver + "-" + t.id
		}
		d := mdev.Description{Raw: strings.TrimRight(t.description, "\n")}
		if m.nvidia() {
			d.Framebuffer, d.MaxInstances = uint64(t.framebuffer)<<20, t.max
			d.Heads, d.FrameRateLimit, d.MaxResolution = t.heads, t.rate, t.resolution
		}
		list = append(list, mdev.Type{ID: id, Name: t.name, DeviceAPI: m.api, Description: d})
	}
	return list, nil
}
