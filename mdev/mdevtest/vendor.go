package mdevtest

import (
	"fmt"
	"strings"
	"syscall"
)

// vendorFiles adds what a driver puts into an mdev's directory.
func (h *Host) vendorFiles(d *device) {
	switch m := d.gpu.model; {
	case m.nvidia():
		n := h.dir(d.node, "nvidia")
		current := func() *device { return d }
		h.attr(n, "vgpu_params", showParams(current), storeParams(current))
		h.attr(n, "vm_name", func() (string, error) {
			if d.vfio.holder == nil {
				return "\n", nil
			}
			return d.vfio.holder.vm + "\n", nil
		}, nil)
	case m.driver == "mtty":
		h.text(h.dir(d.node, "vendor"), "sample_mdev_dev", "This is MDEV "+d.id+"\n")
	case m.driver == "mdpy":
		_, resolution, _ := strings.Cut(d.typ.description, ", ")
		h.text(h.dir(d.node, "vendor"), "resolution", strings.Fields(resolution)[0]+"\n")
	case m.driver == "mbochs":
		h.text(h.dir(d.node, "vendor"), "memory", fmt.Sprintf("%d MB\n", d.typ.needs["mbytes"]))
	case m.api == "vfio-ap":
		h.apFiles(d)
	}
}

// vgpuFiles adds the directory nvidia/ of a VF under the vendor-specific VFIO
// framework.
func (h *Host) vgpuFiles(f *function) {
	n := h.dir(f.node, "nvidia")
	current := func() *device { return f.vgpu }
	h.attr(n, "creatable_vgpu_types", func() (string, error) {
		var b strings.Builder
		b.WriteString("ID    : vGPU Name\n")
		if f.vgpu == nil {
			for _, t := range f.gpu.model.types {
				if f.gpu.room(t) > 0 {
					fmt.Fprintf(&b, "%-5s : %s\n", t.id, t.name)
				}
			}
		}
		return b.String(), nil
	}, nil)
	h.attr(n, "current_vgpu_type", func() (string, error) {
		if f.vgpu == nil {
			return "0\n", nil
		}
		return f.vgpu.typ.id + "\n", nil
	}, func(data string) effect { return failed(h.setType(f, data)) })
	h.attr(n, "vgpu_params", showParams(current), storeParams(current))
	if f.gpu.board.OldDriver || f.gpu.board.before(f.gpu.model, driverPlacement) {
		return
	}
	h.attr(n, "placement_id", func() (string, error) {
		if f.vgpu == nil {
			return "", syscall.ENXIO
		}
		return itoa(f.vgpu.placement) + "\n", nil
	}, storeID(current, func(d *device, id int) error {
		err := d.gpu.checkPlacement(d, id)
		if err == nil {
			d.placement = id
		}
		return err
	}))
	h.attr(n, "gpu_instance_id", func() (string, error) {
		switch {
		case f.vgpu == nil:
			return "", syscall.ENXIO
		case f.vgpu.instance == noInstance:
			return "4294967295\n", nil // as NVML's invalid id
		}
		return itoa(f.vgpu.instance) + "\n", nil
	}, storeID(current, func(d *device, id int) error { return d.gpu.moveInstance(d, id) }))
}

// setType is a write to current_vgpu_type.
func (h *Host) setType(f *function, data string) error {
	id, err := parseUint(data, 32)
	if err != nil {
		return err
	}
	d := f.vgpu
	if id == 0 {
		switch {
		case d == nil || d.vfio.holder != nil:
			return syscall.EPERM
		case d.cleaning():
			return syscall.EBUSY // the real driver says so after 5 s
		}
		d.gpu.dismiss(d)
		close(d.gone)
		f.vgpu = nil
		return nil
	}
	if d != nil {
		return syscall.EPERM
	}
	for _, t := range f.gpu.model.types {
		if t.id != fmt.Sprint(id) {
			continue
		}
		d := &device{id: f.addr.String(), gpu: f.gpu, typ: t, node: f.node, vfio: f.vfio, state: ready, gone: make(chan struct{})}
		if err := f.gpu.admit(d); err != nil {
			return err
		}
		f.vgpu = d
		return nil
	}
	return syscall.EIO
}

// maxParams is how much vgpu_params takes.
const maxParams = 1024

func showParams(current func() *device) func() (string, error) {
	return func() (string, error) {
		if current() == nil {
			return "", syscall.ENXIO
		}
		return current().params + "\n", nil
	}
}

func storeParams(current func() *device) func(string) effect {
	return func(data string) effect {
		d := current()
		switch {
		case len(data) > maxParams:
			return failed(syscall.E2BIG)
		case d == nil:
			return failed(syscall.ENXIO)
		case d.vfio.holder != nil || d.cleaning():
			return failed(syscall.EPERM)
		}
		d.params = data[:len(data)-1] // the last character is taken for a newline
		if d.params == " " {
			d.params = ""
		}
		return effect{}
	}
}

// placeByParams obeys vgpu-placement-id when a VM starts.
func (d *device) placeByParams() error {
	for param := range strings.SplitSeq(d.params, ",") {
		if value, ok := strings.CutPrefix(param, "vgpu-placement-id="); ok {
			id, err := parseUint(value, 16)
			if err != nil || d.gpu.checkPlacement(d, int(id)) != nil {
				return syscall.EIO
			}
			d.placement = int(id)
		}
	}
	return nil
}

func storeID(current func() *device, set func(d *device, id int) error) func(string) effect {
	return func(data string) effect {
		id, err := parseUint(data, 32)
		d := current()
		switch {
		case err != nil:
			return failed(err)
		case d == nil:
			return failed(syscall.ENXIO)
		case d.vfio.holder != nil || d.cleaning():
			return failed(syscall.EPERM)
		}
		return failed(set(d, int(id)))
	}
}
