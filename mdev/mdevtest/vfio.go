package mdevtest

import (
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"syscall"
)

// vfioDevice is what VFIO makes of a device: a group, its node, a number.
type vfioDevice struct {
	group, num int
	name       string // of the device
	groupDir   *node  // sys/kernel/iommu_groups/N; nil: it has no group
	dev        *node  // dev/vfio/N; nil: there are no groups
	cdev       *node  // dev/vfio/devices/vfioN; nil: there are groups
	class      *node  // sys/devices/virtual/vfio/N
	holder     *holder
	opened     bool // the group, by OpenNode
	opens      int  // of cdev, by OpenNode
}

// holder is a VM that has a device open.
type holder struct {
	vm       string
	pid      int
	released chan struct{}
}

// process is one of proc/<pid>.
type process struct {
	node *node
	fds  *node
	vm   string
	uses []*device
}

// register gives a device its group: sys/kernel/iommu_groups/N, dev/vfio/N,
// and the links and vfio-dev/ in its directory.
func (h *Host) registerVFIO(n *node, api string) *vfioDevice {
	v := &vfioDevice{name: n.name}
	for h.groups[v.group] != nil {
		v.group++
	}
	for h.vfioNums[v.num] {
		v.num++
	}
	h.groups[v.group], h.vfioNums[v.num] = v, true
	_, onPCI := h.pci[n.name]
	if !h.cdevs || onPCI { // the IOMMU's groups are there without VFIO's
		h.registerGroup(n, v)
	}
	if !h.cdevs {
		h.registerGroupNode(v)
	}
	one := h.dir(n, fmt.Sprintf("vfio-dev/vfio%d", v.num))
	h.link(one, "device", n)
	h.link(one, "subsystem", h.dir(h.root, "sys/class/vfio-dev"))
	h.attr(one, "uevent", func() (string, error) { return "", nil }, ignore)
	h.text(h.dir(one, "power"), "control", "auto\n")
	h.link(h.dir(h.root, "sys/class/vfio-dev"), one.name, one)
	if h.cdevs {
		h.registerCdev(v, one)
	}
	return v
}

// registerGroup gives a device a group of its own, as every emulated one has it.
func (h *Host) registerGroup(n *node, v *vfioDevice) {
	v.groupDir = h.dir(h.root, "sys/kernel/iommu_groups/"+fmt.Sprint(v.group))
	h.link(h.dir(v.groupDir, "devices"), n.name, n)
	h.text(v.groupDir, "name", "vfio-noiommu\n") // so for every emulated device
	h.text(v.groupDir, "reserved_regions", "")
	h.attr(v.groupDir, "type", func() (string, error) { return "unknown\n", nil }, func(string) effect { return failed(syscall.EINVAL) })
	h.link(n, "iommu_group", v.groupDir)
}

// registerGroupNode gives a group the node by which VFIO opens it.
func (h *Host) registerGroupNode(v *vfioDevice) {
	number := fmt.Sprint(v.group)
	v.class = h.dir(h.root, "sys/devices/virtual/vfio/"+number)
	h.text(v.class, "dev", fmt.Sprintf("242:%d\n", v.group))
	h.text(v.class, "uevent", fmt.Sprintf("MAJOR=242\nMINOR=%d\nDEVNAME=vfio/%d\n", v.group, v.group))
	class := h.dir(h.root, "sys/class/vfio")
	h.link(v.class, "subsystem", class)
	h.link(class, number, v.class)

	v.dev = h.newNode(h.dir(h.root, "dev/vfio"), number, fs.ModeDevice|fs.ModeCharDevice|0o600)
	v.dev.open = func() (func(), error) {
		if v.opened || v.holder != nil {
			return nil, syscall.EBUSY
		}
		v.opened = true
		return func() { v.opened = false }, nil
	}
}

// unregisterVFIO is what happens at once when a device goes: no new user can
// find it.
func (h *Host) unregisterVFIO(n *node, v *vfioDevice) {
	name := fmt.Sprintf("vfio%d", v.num)
	h.dir(h.root, "sys/class/vfio-dev").drop(name)
	n.drop("vfio-dev")
	v.cdev.detach() // who has it open keeps it
	delete(h.vfioNums, v.num)
}

// releaseVFIO is what happens when the last user is gone.
func (h *Host) releaseVFIO(n *node, v *vfioDevice) {
	delete(h.groups, v.group)
	n.drop("iommu_group")
	v.groupDir.detach()
	v.dev.detach()
	v.class.detach()
	if v.class != nil {
		h.dir(h.root, "sys/class/vfio").drop(fmt.Sprint(v.group))
	}
}

// Use lets a VM open a device, given by UUID or VF address, as QEMU does: the
// group node and the device are busy until release, the process is in proc/,
// and nvidia/vm_name names the VM. Several devices of one VM have the same
// pid. Release may be called more than once; a reboot releases all.
//
// It fails with ENOENT (no such device), EBUSY (someone has it open), ENODEV
// (a VF without a type) or EIO (NVIDIA: the VM cannot have these vGPUs
// together, more than 16, or a placement in vgpu_params that is not free).
func (h *Host) Use(id, vm string, pid int) (release func(), err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	d, err := h.usable(strings.ToLower(id), vm)
	if err != nil {
		return nil, &fs.PathError{Op: "use", Path: id, Err: err}
	}
	u := &holder{vm: vm, pid: pid, released: make(chan struct{})}
	d.vfio.holder = u
	h.enter(d, u)
	return func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		if d.vfio.holder == u {
			h.release(d)
		}
	}, nil
}

func (h *Host) usable(id, vm string) (*device, error) {
	d, err := h.find(id)
	switch {
	case err != nil:
		return nil, err
	case d.vfio.holder != nil || d.vfio.opened || d.cleaning():
		return nil, syscall.EBUSY
	case !d.gpu.model.nvidia():
		return d, nil
	}
	n := 1
	for _, p := range h.procs {
		for _, other := range p.uses {
			if p.vm != vm || !other.gpu.model.nvidia() {
				continue
			}
			if n++; n > 16 || !together(other, d) {
				return nil, syscall.EIO
			}
		}
	}
	return d, d.placeByParams()
}

// Group returns the number of a device's VFIO group, by UUID or VF address: the name of
// its node in dev/vfio. Without groups (see [Host.SetVFIOGroups]) it is not ok.
func (h *Host) Group(id string) (number int, ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	id = strings.ToLower(id)
	if h.cdevs {
		return 0, false
	}
	if f := h.pci[id]; f != nil && f.vfio != nil {
		return f.vfio.group, true
	}
	if d := h.devices[id]; d != nil {
		return d.vfio.group, true
	}
	return 0, false
}

// find returns a device that is there. ENODEV: a virtual function without a type.
func (h *Host) find(id string) (*device, error) {
	d := h.devices[id]
	if f := h.pci[id]; f != nil && f.vfio != nil {
		if d = f.vgpu; d == nil {
			return nil, syscall.ENODEV
		}
	}
	if d == nil || d.state != ready {
		return nil, syscall.ENOENT
	}
	return d, nil
}

// together tells whether NVIDIA lets one VM have both.
func together(a, b *device) bool {
	m := b.gpu.model
	switch {
	case a.gpu.model.name != m.name || a.typ.says.Series != b.typ.says.Series:
		return false
	case m.series.totalVFs > 0:
		return true
	}
	// Before Ampere: only the largest Q and C profile of a board.
	return a.typ.framebuffer == m.series.memory && b.typ.framebuffer == m.series.memory && (b.typ.says.Series == "Q" || b.typ.says.Series == "C")
}

// enter shows the process of a VM in proc/.
func (h *Host) enter(d *device, u *holder) {
	p := h.procs[u.pid]
	if p == nil {
		dir := h.dir(h.root, fmt.Sprintf("proc/%d", u.pid))
		p = &process{node: dir, fds: h.dir(dir, "fd"), vm: u.vm}
		h.procs[u.pid] = p
		h.text(dir, "comm", "qemu-system-x86\n")
		h.attr(dir, "cmdline", func() (string, error) { return p.cmdline(), nil }, nil)
	}
	p.uses = append(p.uses, d)
	p.showFDs(h)
}

func (p *process) cmdline() string {
	args := []string{"/usr/bin/qemu-system-x86_64", "-name", "guest=" + strings.ReplaceAll(p.vm, ",", ",,") + ",debug-threads=on"}
	for _, d := range p.uses {
		dir := "bus/mdev"
		if d.parent == nil {
			dir = "bus/pci"
		}
		args = append(args, "-device", fmt.Sprintf(`{"driver":"vfio-pci","sysfsdev":"/sys/%s/devices/%s"}`, dir, d.id))
	}
	return strings.Join(args, "\x00") + "\x00"
}

func (p *process) showFDs(h *Host) {
	p.fds.kids, p.fds.sorted = nil, nil
	targets := []string{"/dev/null", "/dev/null", "/dev/null", "/dev/vfio/vfio"}
	if h.cdevs {
		targets[3] = "/dev/iommu"
	}
	for _, d := range p.uses {
		if h.cdevs {
			targets = append(targets, fmt.Sprintf("/dev/vfio/devices/vfio%d", d.vfio.num))
			continue
		}
		targets = append(targets, fmt.Sprintf("/dev/vfio/%d", d.vfio.group), "anon_inode:[vfio-device]")
	}
	for fd, target := range targets {
		h.newNode(p.fds, fmt.Sprint(fd), fs.ModeSymlink|0o700).target = target
	}
}

// release ends the use of a device: the VM is gone.
func (h *Host) release(d *device) {
	u := d.vfio.holder
	d.vfio.holder = nil
	close(u.released)
	if p := h.procs[u.pid]; p != nil {
		p.uses = slices.DeleteFunc(p.uses, func(other *device) bool { return other == d })
		if len(p.uses) == 0 {
			delete(h.procs, u.pid)
			p.node.detach()
		} else {
			p.showFDs(h)
		}
	}
	if d.gpu.board.CleanUp > 0 {
		d.cleanUntil = h.now().Add(d.gpu.board.CleanUp)
	}
	if d.state == ghost && d.vfio.opens == 0 {
		h.finishLater(d)
	}
}
