package mdevtest

import (
	"io/fs"
	"strings"
	"syscall"

	"github.com/vgpukit/vgpukit/mdev"
)

// Probe implements [mdev.ProbeFS] as Linux 6.12 answers: the sample drivers say
// what their sources say. NVIDIA's vGPU manager refuses to open a device without
// a VM (EIO). The other drivers' devices are not simulated so far (ENOTTY).
func (h *Host) Probe(group, id string) (mdev.Probe, error) {
	var p mdev.Probe
	err := h.access(OpOpen, "dev/vfio/"+group, "", func() effect {
		d := h.devices[id]
		if f := h.pci[id]; f != nil {
			d = f.vgpu
		}
		switch {
		case d == nil || d.state != ready:
			return failed(syscall.ENOENT)
		case d.vfio.opened || d.vfio.holder != nil:
			return failed(syscall.EBUSY)
		case d.gpu.model.nvidia():
			return failed(syscall.EIO)
		case sampleProbes[d.gpu.model.driver] == nil:
			return failed(syscall.ENOTTY)
		}
		p = sampleProbes[d.gpu.model.driver](d.typ)
		p.Device, p.Kind = d.id, "pci"
		return effect{}
	})
	return p, err
}

// Migration tells what the driver of a device, by UUID or VF address, promises for
// saving and moving its state, whoever has it open. NVIDIA's can stop and copy (chosen:
// it depends on board and release). ENOENT: there is no such device.
func (h *Host) Migration(id string) (mdev.Migration, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	d, err := h.find(strings.ToLower(id))
	switch {
	case err != nil:
		return mdev.Migration{}, &fs.PathError{Op: "migration", Path: id, Err: err}
	case d.gpu.model.nvidia():
		return mdev.Migration{StopCopy: true}, nil
	case sampleProbes[d.gpu.model.driver] == nil:
		return mdev.Migration{}, nil
	}
	return sampleProbes[d.gpu.model.driver](d.typ).Migration, nil
}

// DirtyLog tells what starting a device's log of dirty pages gives: mtty promises one
// that then answers EOPNOTSUPP.
func (h *Host) DirtyLog(id string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	d, err := h.find(strings.ToLower(id))
	if err == nil && d.gpu.model.driver == "mtty" {
		err = syscall.EOPNOTSUPP
	}
	if err != nil {
		return &fs.PathError{Op: "dirty log", Path: id, Err: err}
	}
	return nil
}

// sampleProbes are the answers of samples/vfio-mdev, by driver.
var sampleProbes = map[string]func(*vgpuType) mdev.Probe{
	"mtty": func(t *vgpuType) mdev.Probe {
		p := mdev.Probe{
			Regions: []mdev.Region{region(0, "bar0", 8, false)},
			Interrupts: []mdev.Interrupt{
				{Index: 0, Name: "intx", Count: 1, Eventfd: true, Maskable: true},
				{Index: 1, Name: "msi", Count: 1, Eventfd: true},
			},
			Migration: mdev.Migration{StopCopy: true, P2P: true, PreCopy: true, DirtyTracking: true},
		}
		if t.needs["ports"] == 2 {
			p.Regions = append(p.Regions, region(1, "bar1", 8, false))
		}
		p.Regions = append(p.Regions, configRegion)
		return p
	},
	"mdpy": func(t *vgpuType) mdev.Probe {
		picture := map[string]uint64{"vga": 2 << 20, "xga": 4 << 20, "hd": 8 << 20}[t.id]
		return mdev.Probe{
			Regions: []mdev.Region{region(0, "bar0", picture, true), configRegion}, Interrupts: []mdev.Interrupt{},
			Display: mdev.Display{Region: true},
		}
	},
	"mbochs": func(t *vgpuType) mdev.Probe {
		memory := uint64(t.needs["mbytes"]) << 20
		return mdev.Probe{
			Regions:    []mdev.Region{region(0, "bar0", memory, true), region(2, "bar2", pageSize, false), configRegion, region(9, "region9", pageSize, false)},
			Interrupts: []mdev.Interrupt{},
			Display:    mdev.Display{DMABuf: true},
		}
	},
}

var configRegion = region(7, "config", 0xff, false)

func region(index int, name string, size uint64, mappable bool) mdev.Region {
	return mdev.Region{Index: index, Name: name, Size: size, Read: true, Write: true, Map: mappable, Areas: []mdev.Area{}}
}
