package mdevtest

import (
	"fmt"
	"strconv"
	"syscall"
	"time"
)

func itoa(n int) string { return strconv.Itoa(n) }

// device is one vGPU: an mdev, or the type of a VF.
type device struct {
	id     string // the UUID, or the VF's address
	gpu    *gpu
	parent *parent // of an mdev; nil for a VF
	typ    *vgpuType
	node   *node
	vfio   *vfioDevice
	state  deviceState

	ap                  *apMatrix
	params              string // vgpu_params
	placement, instance int
	cleanUntil          time.Time
	gone                chan struct{} // closed when it no longer holds its instance
}

type deviceState int

const (
	halfMade deviceState = iota
	ready
	ghost
)

func (d *device) cleaning() bool { return d.gpu.h.now().Before(d.cleanUntil) }

// end lets go of whoever waits for the device or uses it.
func (d *device) end() {
	if d.vfio.holder != nil {
		close(d.vfio.holder.released)
		d.vfio.holder = nil
	}
	close(d.gone)
}

// create is a write to a type's "create" (mdev_device_create).
func (h *Host) create(p *parent, t *vgpuType, data string) effect {
	id, err := parseUUID(data)
	if err != nil {
		return failed(err)
	}
	d, err := h.halfMake(p, t, id)
	if err != nil {
		return failed(err)
	}
	h.complete(d)
	return effect{}
}

// halfMake does all of create but the links between device and type.
func (h *Host) halfMake(p *parent, t *vgpuType, id string) (*device, error) {
	if h.devices[id] != nil {
		return nil, syscall.EEXIST
	}
	d := &device{id: id, gpu: p.gpu, parent: p, typ: t, gone: make(chan struct{})}
	if p.vf && p.taken() {
		return nil, p.gpu.full()
	}
	if err := p.gpu.admit(d); err != nil {
		return nil, err
	}
	h.devices[id] = d
	n := h.dir(p.node, id)
	d.node = n
	h.attr(n, "remove", nil, func(data string) effect { return h.remove(d, data) })
	bus := h.dir(h.root, "sys/bus/mdev")
	h.link(n, "subsystem", bus)
	h.link(h.dir(bus, "devices"), id, n)
	h.text(h.dir(n, "power"), "control", "auto\n")
	h.attr(n, "uevent", func() (string, error) { return "DRIVER=" + p.gpu.model.mdev + "\n", nil }, func(data string) effect {
		h.uevent("change", n, "SUBSYSTEM=mdev")
		return effect{}
	})
	h.uevent("add", n, "SUBSYSTEM=mdev")

	h.link(n, "driver", p.driver)
	h.link(p.driver, id, n)
	h.vendorFiles(d)
	d.vfio = h.registerVFIO(n, p.gpu.model.api)
	h.uevent("bind", n, "SUBSYSTEM=mdev", "DRIVER="+p.gpu.model.mdev)
	return d, nil
}

func (h *Host) complete(d *device) {
	if d.state != halfMade || h.devices[d.id] != d {
		return
	}
	d.state = ready
	h.link(d.node, "mdev_type", d.parent.typeNode(d.typ))
	h.link(h.dir(d.parent.typeNode(d.typ), "devices"), d.id, d.node)
}

// HalfMake begins to make an mdev as if another process wrote "create" at this
// moment: it is on the bus, counted, and has no mdev_type yet. Finish, which
// may be called more than once, completes it.
func (h *Host) HalfMake(parentName, typ, uuid string) (finish func(), err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	p := h.parents[parentName]
	if p == nil {
		return nil, fmt.Errorf("half-make %s: there is no parent %q", uuid, parentName)
	}
	t := p.findType(typ)
	if t == nil {
		return nil, fmt.Errorf("half-make %s: %s has no type %q", uuid, parentName, typ)
	}
	id, err := parseUUID(uuid)
	if err != nil {
		return nil, fmt.Errorf("half-make %q: %w", uuid, err)
	}
	d, err := h.halfMake(p, t, id)
	if err != nil {
		return nil, fmt.Errorf("half-make %s: %w", uuid, err)
	}
	return func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.complete(d)
	}, nil
}

// remove is a write to a device's "remove" (remove_store).
func (h *Host) remove(d *device, data string) effect {
	value, err := parseUint(data, 64)
	if err != nil {
		return failed(syscall.EINVAL) // an overflow too
	}
	if value == 0 {
		return effect{}
	}
	busy := d.vfio.holder != nil || d.cleaning()
	if busy && h.before(5, 14) {
		return failed(syscall.EBUSY)
	}
	d.node.drop("remove") // whatever comes now
	if d.state == halfMade {
		return failed(syscall.EAGAIN)
	}
	h.hide(d)
	if d.vfio.holder != nil || d.vfio.opens > 0 {
		return effect{wait: d.gone}
	}
	if h.finishLater(d) {
		return effect{wait: d.gone}
	}
	return effect{}
}

// hide is what device_del does before it waits for the last user: all but the
// directory and its iommu_group goes, and the instance stays counted.
func (h *Host) hide(d *device) {
	if d.state == ghost {
		return
	}
	d.state = ghost
	d.node.drop("mdev_type")
	if types := d.parent.typeNode(d.typ); types != nil {
		h.dir(types, "devices").drop(d.id)
	}
	for _, name := range []string{"remove", "power", "uevent", "subsystem", "driver", "vendor", "nvidia"} {
		d.node.drop(name)
	}
	for _, name := range apAttributes {
		d.node.drop(name)
	}
	h.dir(h.root, "sys/bus/mdev/devices").drop(d.id)
	d.parent.driver.drop(d.id)
	h.unregisterVFIO(d.node, d.vfio)
}

// finish is what happens when the last user is gone.
func (h *Host) finish(d *device) {
	if h.devices[d.id] != d {
		return
	}
	delete(h.devices, d.id)
	h.releaseVFIO(d.node, d.vfio)
	h.uevent("unbind", d.node, "SUBSYSTEM=mdev")
	h.uevent("remove", d.node, "SUBSYSTEM=mdev")
	d.node.detach()
	d.gpu.dismiss(d)
	close(d.gone)
}

// finishLater finishes a removal, once the driver has cleaned up: it tells
// whether that is still to come.
func (h *Host) finishLater(d *device) bool {
	if !d.cleaning() {
		h.finish(d)
		return false
	}
	time.AfterFunc(d.cleanUntil.Sub(h.now()), func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.finishDue()
	})
	return true
}

// finishDue finishes the removals whose time has come.
func (h *Host) finishDue() {
	for _, d := range h.devices {
		if d.state == ghost && d.vfio.holder == nil && d.vfio.opens == 0 && !d.cleaning() {
			h.finish(d)
		}
	}
}
