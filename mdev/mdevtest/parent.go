package mdevtest

import "strings"

// parent is what mdevs are made under: a PCI function, or a virtual device.
type parent struct {
	name      string
	gpu       *gpu
	node      *node
	vf        bool
	prefix    string // of the types' directories
	typeNodes map[*vgpuType]*node
	driver    *node // sys/bus/mdev/drivers/<driver>
}

// registerParent is mdev_register_parent.
func (h *Host) registerParent(g *gpu, n *node, vf bool, prefix string) {
	p := &parent{name: n.name, gpu: g, node: n, vf: vf, prefix: prefix, typeNodes: make(map[*vgpuType]*node)}
	bus := h.dir(h.root, "sys/bus/mdev")
	if bus.entries()["drivers_probe"] == nil {
		h.dir(bus, "devices")
		h.attr(bus, "drivers_probe", nil, ignore)
		h.attr(bus, "drivers_autoprobe", func() (string, error) { return "1\n", nil }, ignore)
		h.attr(bus, "uevent", nil, ignore)
	}
	p.driver = h.dir(bus, "drivers/"+g.model.mdev)
	if p.driver.entries()["uevent"] == nil {
		h.attr(p.driver, "bind", nil, ignore)
		h.attr(p.driver, "unbind", nil, ignore)
		h.attr(p.driver, "uevent", nil, ignore)
		h.link(p.driver, "module", h.dir(h.root, "sys/module/"+strings.ReplaceAll(g.model.mdev, "-", "_")))
	}
	h.lazyDir(n, "mdev_supported_types", p.fillTypes)
	h.link(h.dir(h.root, "sys/class/mdev_bus"), p.name, n)
	h.parents[p.name] = p
	g.parents = append(g.parents, p)
	h.uevent("change", n, "MDEV_STATE=registered", "SUBSYSTEM="+p.subsystem())
}

// unregisterParent is mdev_unregister_parent; nobody uses its devices.
func (h *Host) unregisterParent(p *parent) {
	h.dir(h.root, "sys/class/mdev_bus").drop(p.name)
	for _, d := range h.devices {
		if d.parent == p {
			h.hide(d)
			h.finish(d)
		}
	}
	p.node.drop("mdev_supported_types")
	delete(h.parents, p.name)
	h.uevent("change", p.node, "MDEV_STATE=unregistered", "SUBSYSTEM="+p.subsystem())
}

func (p *parent) subsystem() string {
	if p.gpu.pf != nil {
		return "pci"
	}
	return p.gpu.model.driver
}

func (p *parent) typeID(t *vgpuType) string { return p.prefix + "-" + t.id }

// fillTypes makes the directories of the types, each filled when it is first
// looked into: a host can have ten thousands of them.
func (p *parent) fillTypes(n *node) {
	h := p.gpu.h
	for _, t := range p.gpu.model.types {
		p.typeNodes[t] = h.lazyDir(n, p.typeID(t), func(n *node) {
			h.attr(n, "create", nil, func(data string) effect { return h.create(p, t, data) })
			h.text(n, "device_api", p.gpu.model.api+"\n")
			h.text(n, "name", t.name+"\n")
			if t.description != "" {
				h.text(n, "description", t.description)
			}
			h.attr(n, "available_instances", func() (string, error) { return itoa(p.available(t)) + "\n", nil }, nil)
			h.dir(n, "devices")
		})
	}
}

func (p *parent) typeNode(t *vgpuType) *node {
	p.node.entries()["mdev_supported_types"].entries()
	return p.typeNodes[t]
}

// available is what available_instances says. A VF holds one vGPU at most.
func (p *parent) available(t *vgpuType) int {
	room := p.gpu.room(t)
	switch {
	case !p.vf:
		return room
	case room == 0 || p.taken():
		return 0
	}
	return 1
}

func (p *parent) taken() bool {
	for _, d := range p.gpu.vgpus {
		if d.parent == p {
			return true
		}
	}
	return false
}

// findType returns a type by its id, with or without the driver's name, or by
// its name.
func (p *parent) findType(s string) *vgpuType {
	for _, t := range p.gpu.model.types {
		if s == p.typeID(t) || s == t.id || s == t.name {
			return t
		}
	}
	return nil
}
