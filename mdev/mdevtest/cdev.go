package mdevtest

import (
	"fmt"
	"io/fs"
	"syscall"
)

// bootVFIO makes what VFIO has without any device.
func (h *Host) bootVFIO() {
	h.cdevs = h.noGroups
	if h.cdevs {
		h.dir(h.root, "dev/vfio/devices")
		h.openable(h.dir(h.root, "dev"), "iommu")
		return
	}
	h.dir(h.root, "sys/class/vfio")
	h.dir(h.root, "sys/devices/virtual/vfio")
	h.openable(h.dir(h.root, "dev/vfio"), "vfio")
}

// openable adds a device node that anybody may open.
func (h *Host) openable(dir *node, name string) {
	n := h.newNode(dir, name, fs.ModeDevice|fs.ModeCharDevice|0o666)
	n.open = func() (func(), error) { return func() {}, nil }
}

// registerCdev gives a device a node of its own.
func (h *Host) registerCdev(v *vfioDevice, one *node) {
	h.text(one, "dev", fmt.Sprintf("511:%d\n", v.num))
	v.cdev = h.newNode(h.dir(h.root, "dev/vfio/devices"), one.name, fs.ModeDevice|fs.ModeCharDevice|0o600)
	v.cdev.open = func() (func(), error) {
		v.opens++
		return func() {
			v.opens--
			h.finishDue()
		}, nil
	}
}

// Bind implements [mdev.BindFS]: EINVAL when a VM has the device. NVIDIA's vGPU manager
// refuses to open one without a VM (EIO).
func (h *Host) Bind(node string) error {
	return h.access(OpOpen, node, "", func() effect {
		n, err := h.walk(node, true)
		if err != nil {
			return failed(err)
		}
		for _, v := range h.groups {
			if v.cdev != n {
				continue
			}
			d, err := h.find(v.name)
			switch {
			case err != nil:
				return failed(syscall.ENODEV)
			case v.holder != nil:
				return failed(syscall.EINVAL)
			case d.gpu.model.nvidia():
				return failed(syscall.EIO)
			}
			return effect{}
		}
		return failed(syscall.ENOTTY)
	})
}
