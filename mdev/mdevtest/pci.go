package mdevtest

import (
	"fmt"
	"strings"
	"syscall"

	"github.com/vgpukit/vgpukit/internal/pci"
)

// function is one PCI function: a GPU, or a virtual function of one.
type function struct {
	addr pci.Address
	gpu  *gpu
	node *node
	pf   *function // of a VF
	vfs  []*function
	vfio *vfioDevice // of a VF under the vendor-specific framework
	vgpu *device     // its type
}

// plug makes what a board is made of. It returns the board with its address.
func (h *Host) plug(b Board, m *model) (Board, error) {
	if m.gpus == 0 {
		return b, h.plugVirtual(b, m)
	}
	first, err := h.place(b, m)
	if err != nil {
		return b, err
	}
	b.Address = first.String()
	for i := range m.gpus {
		h.plugGPU(b, m, busesOn(first, i))
	}
	return b, nil
}

func (h *Host) plugVirtual(b Board, m *model) error {
	name := m.parent[strings.LastIndexByte(m.parent, '/')+1:]
	for _, g := range h.gpus {
		if g.name == name {
			return fmt.Errorf("board %s: the host has one already", b.Name)
		}
	}
	n := h.dir(h.root, "sys/devices/"+m.parent)
	subsystem := h.dir(h.root, "sys/"+m.bus2)
	h.link(n, "subsystem", subsystem)
	h.attr(n, "uevent", func() (string, error) { return "", nil }, func(string) effect {
		h.uevent("change", n)
		return effect{}
	})
	h.text(h.dir(n, "power"), "control", "auto\n")
	if strings.HasPrefix(m.bus2, "class/") {
		h.link(subsystem, name, n)
	} else {
		h.link(h.dir(subsystem, "devices"), name, n)
		driver := h.dir(subsystem, "drivers/"+m.driver)
		h.link(n, "driver", driver)
		h.link(driver, name, n)
	}
	g := &gpu{h: h, name: name, board: b, model: m, virtual: n}
	h.gpus = append(h.gpus, g)
	h.registerParent(g, n, false, m.driver)
	return nil
}

// place finds the address of a board's first GPU.
func (h *Host) place(b Board, m *model) (pci.Address, error) {
	if b.Address != "" {
		a, err := parseAddress(b.Address)
		if err != nil {
			return a, err
		}
		if !h.fits(a, m) {
			return a, fmt.Errorf("board %s: its place at %s is taken", b.Name, b.Address)
		}
		return a, nil
	}
	for n := m.bus; n < 0x10000<<8; n++ {
		a := pci.Address{Domain: uint32(n >> 8), Bus: uint8(n)}
		if m.bus == 0 { // a part of the chipset
			a = pci.Address{Domain: uint32(n), Slot: 2}
		} else if int(a.Bus) < m.bus {
			continue
		}
		if h.fits(a, m) {
			return a, nil
		}
	}
	return pci.Address{}, fmt.Errorf("board %s: no PCI bus is free", b.Name)
}

// busesOn returns the address that many buses further.
func busesOn(a pci.Address, n int) pci.Address {
	a.Bus += uint8(n)
	return a
}

// fits tells whether the GPUs of a board have room, each on a bus of its own.
func (h *Host) fits(a pci.Address, m *model) bool {
	if int(a.Bus)+m.gpus > 256 {
		return false
	}
	for i := range m.gpus {
		if !h.free(busesOn(a, i), m) {
			return false
		}
	}
	return true
}

// free tells whether a GPU with its VFs has room at an address: on its bus,
// there is nothing else.
func (h *Host) free(a pci.Address, m *model) bool {
	if m.bus == 0 {
		return h.pci[a.String()] == nil
	}
	last := plus(a, vfOffset+max(m.series.totalVFs-1, 0)).Bus
	for _, g := range h.gpus {
		if g.pf == nil || g.pf.addr.Domain != a.Domain {
			continue
		}
		theirs := plus(g.pf.addr, vfOffset+max(g.model.series.totalVFs-1, 0)).Bus
		if a.Bus <= theirs && g.pf.addr.Bus <= last {
			return false
		}
	}
	return true
}

func (h *Host) plugGPU(b Board, m *model, a pci.Address) {
	g := &gpu{h: h, name: a.String(), board: b, model: m, mixed: b.Mixed}
	h.gpus = append(h.gpus, g)
	g.pf = h.addFunction(g, a, nil)
	h.showGPU(g)
	if m.series.totalVFs == 0 {
		h.registerParent(g, g.pf.node, false, m.driver)
		return
	}
	h.sriovFiles(g.pf)
	h.addSRIOVManage()
	if b.VFs > 0 {
		h.enableVFs(g.pf, b.VFs)
	}
	// A service at boot does this after the VFs.
	g.mixed = b.Mixed
	list, _ := m.addInstances(b.GPUInstances) // which check has seen
	g.setInstances(list)
}

// addFunction makes the directory of a PCI function.
func (h *Host) addFunction(g *gpu, a pci.Address, pf *function) *function {
	m := g.model
	root := fmt.Sprintf("pci%04x:%02x", a.Domain, a.Bus)
	if pf != nil {
		root = fmt.Sprintf("pci%04x:%02x", pf.addr.Domain, pf.addr.Bus)
	}
	f := &function{addr: a, gpu: g, pf: pf}
	name := a.String()
	parent := h.dir(h.root, "sys/devices/"+root)
	f.node = h.lazyDir(parent, name, func(n *node) {
		h.text(n, "vendor", m.vendorID+"\n")
		h.text(n, "device", m.deviceID+"\n")
		h.text(n, "subsystem_vendor", m.vendorID+"\n")
		h.text(n, "subsystem_device", m.subsystem+"\n")
		h.text(n, "class", m.class+"\n")
		h.text(n, "revision", "0xa1\n")
		h.text(n, "numa_node", itoa(g.board.NUMANode)+"\n")
		// Without memory of its own: 6 BARs, the ROM, and 6 BARs for VFs.
		h.text(n, "resource", strings.Repeat("0x0000000000000000 0x0000000000000000 0x0000000000000000\n", 13))
		h.text(h.dir(n, "power"), "control", "auto\n")
		id := strings.ToUpper(m.vendorID[2:] + ":" + m.deviceID[2:])
		h.attr(n, "uevent", func() (string, error) {
			return fmt.Sprintf("DRIVER=%s\nPCI_CLASS=%s\nPCI_ID=%s\nPCI_SUBSYS_ID=%s\nPCI_SLOT_NAME=%s\n",
				m.driver, strings.ToUpper(strings.TrimLeft(m.class[2:], "0")), id, strings.ToUpper(m.vendorID[2:]+":"+m.subsystem[2:]), name), nil
		}, func(string) effect {
			h.uevent("change", n, "SUBSYSTEM=pci")
			return effect{}
		})
	})
	bus := h.dir(h.root, "sys/bus/pci")
	h.link(h.dir(bus, "devices"), name, f.node)
	h.link(f.node, "subsystem", bus)
	driver := h.dir(bus, "drivers/"+m.driver)
	h.link(driver, name, f.node)
	h.link(f.node, "driver", driver)
	h.pci[name] = f
	h.uevent("add", f.node, "SUBSYSTEM=pci", "PCI_SLOT_NAME="+name)
	return f
}

func (h *Host) removeFunction(f *function) {
	name := f.addr.String()
	bus := h.dir(h.root, "sys/bus/pci")
	h.dir(bus, "devices").drop(name)
	h.dir(bus, "drivers/"+f.gpu.model.driver).drop(name)
	f.node.detach()
	delete(h.pci, name)
	h.uevent("remove", f.node, "SUBSYSTEM=pci", "PCI_SLOT_NAME="+name)
}

// unplug takes a GPU away that nobody uses.
func (h *Host) unplug(g *gpu) {
	if g.pf == nil {
		h.unregisterParent(g.parents[0])
		h.dir(h.root, "sys/"+g.model.bus2).drop(g.name)
		if !strings.HasPrefix(g.model.bus2, "class/") {
			h.dir(h.root, "sys/"+g.model.bus2+"/devices").drop(g.name)
			h.dir(h.root, "sys/"+g.model.bus2+"/drivers/"+g.model.driver).drop(g.name)
		}
		h.uevent("remove", g.virtual)
		g.virtual.detach()
		return
	}
	h.disableVFs(g.pf)
	for _, p := range g.parents {
		h.unregisterParent(p)
	}
	h.removeFunction(g.pf)
	h.hideGPU(g)
}

// rawNumVFs is a write to sriov_numvfs.
func (h *Host) rawNumVFs(f *function, data string) error {
	n, err := parseUint(data, 16)
	switch {
	case err != nil:
		return err
	case int(n) > f.gpu.model.series.totalVFs:
		return syscall.ERANGE
	case int(n) == len(f.vfs):
		return nil
	case n > 0 && len(f.vfs) > 0:
		return syscall.EBUSY
	}
	return syscall.ENOENT // the driver takes it from sriov-manage only
}
