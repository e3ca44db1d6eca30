package domain

import (
	"cmp"
	"fmt"
	"iter"

	"github.com/vgpukit/vgpukit/internal/pci"
)

// The models of PCI controllers, as <controller type='pci' model='…'> has them.
const (
	modelPCIRoot       = "pci-root"
	modelPCIBridge     = "pci-bridge"
	modelPCIExpander   = "pci-expander-bus"
	modelPCIeRoot      = "pcie-root"
	modelDMIBridge     = "dmi-to-pci-bridge"
	modelPCIeBridge    = "pcie-to-pci-bridge"
	modelRootPort      = "pcie-root-port"
	modelUpstream      = "pcie-switch-upstream-port"
	modelDownstream    = "pcie-switch-downstream-port"
	modelPCIeExpander  = "pcie-expander-bus"
	lastBus            = 0xff
	lastSlot, lastFunc = 0x1f, 7
)

// busModel is what can be plugged below a controller (libvirt's
// virDomainPCIAddressBusSetModel, unchanged from 2.0 to 11.3). An address that
// is written in the document may put a PCI device into a PCIe slot and the
// other way round, so that endpoints need no distinction here.
type busModel struct {
	minSlot, maxSlot uint8
	endpoint         bool // takes devices, not only other controllers
	express          bool // its slots are PCIe slots
	auto             bool // libvirt puts conventional PCI devices here by itself
	hotplug          bool // unless <target hotplug='off'/>
	rootPorts        bool // takes PCIe root ports
}

var busModels = map[string]busModel{
	// Slot 0 of a root bus is the host bridge's. Slot 0 of a bridge is its
	// hotplug controller's.
	modelPCIRoot:   {minSlot: 1, maxSlot: lastSlot, endpoint: true, auto: true, hotplug: true},
	modelPCIBridge: {minSlot: 1, maxSlot: lastSlot, endpoint: true, auto: true, hotplug: true},
	// libvirt takes an expander bus for hot-pluggable, QEMU 10.0 does not.
	modelPCIExpander: {minSlot: 0, maxSlot: lastSlot, endpoint: true, auto: true},
	modelPCIeRoot:    {minSlot: 1, maxSlot: lastSlot, endpoint: true, express: true, rootPorts: true},
	modelDMIBridge:   {minSlot: 0, maxSlot: lastSlot, endpoint: true},
	modelPCIeBridge:  {minSlot: 1, maxSlot: lastSlot, endpoint: true, auto: true, hotplug: true},
	// A port is a bus with a single slot.
	modelRootPort:   {minSlot: 0, maxSlot: 0, endpoint: true, express: true, hotplug: true},
	modelDownstream: {minSlot: 0, maxSlot: 0, endpoint: true, express: true, hotplug: true},
	// These two take controllers only.
	modelUpstream:     {minSlot: 0, maxSlot: lastSlot, express: true},
	modelPCIeExpander: {minSlot: 0, maxSlot: lastSlot, express: true, rootPorts: true},
}

// bus is one PCI bus of a document. Its number is its controller's index.
type bus struct {
	busModel
	model string
	// controller is nil if libvirt adds it: the machine's root, or one whose
	// index is below another's that is written.
	controller *node
	node       *int // the guest's NUMA node, by <target><node>
	upstream   int  // the bus that the controller itself sits on, -1: none or not known yet
	slots      [lastSlot + 1][lastFunc + 1]int32
	// slots holds 1 + the index into topology.uses, 0: free.
}

// slotFree tells whether nothing is on any function of the slot.
func (b *bus) slotFree(slot uint8) bool { return b.slots[slot] == [lastFunc + 1]int32{} }

// port tells whether the bus is a PCIe port, which has a single slot.
func (b *bus) port() bool { return b.model == modelRootPort || b.model == modelDownstream }

// use is an address that is taken, and by whom.
type use struct {
	Address
	dev           *node  // nil: nothing in the document
	name          string // of what is implicit
	multifunction string // as written: "on", "off" or ""
	port          bool   // a PCIe root port, which may share its slot with others
}

func (u *use) implicit() bool { return u.name != "" }

func (u *use) by() string {
	if u.implicit() {
		return u.name
	}
	return describe(u.dev)
}

// topology is what a document says of the guest's PCI buses.
type topology struct {
	machine machine
	numbering
	buses   []*bus // by number; empty: the machine has no PCI
	uses    []use  // in the document's order, the implicit ones last
	pending int    // devices that libvirt has still to find a PCI address for
	// videoPlaced: the primary video card has no address, and its usual place is kept for it.
	videoPlaced bool
}

// topologyOf reads the topology of a document as if the device without were
// not in it; nil for none.
func topologyOf(root, without *node) *topology {
	devices := devicesOf(root)
	t := &topology{machine: machineOf(root), numbering: numberControllers(devices)}
	t.addControllers()
	if t.machine.kind == machineI440FX && len(t.buses) > 0 && root.Child("features").Child("acpi") == nil {
		t.buses[0].hotplug = false // without ACPI the chipset has no hotplug controller
	}
	for dev := range deviceNodes(devices, without) {
		if dev.Local == "console" {
			continue // the first serial port once more; others are not on PCI
		}
		if a, ok := writtenAddress(dev); ok {
			t.grow(a)
			addr := dev.Child("address")
			multi, _ := addr.Attr("multifunction")
			t.hold(use{Address: a, dev: dev, multifunction: multi, port: isPCIController(dev) && modelOf(dev) == modelRootPort})
		}
	}
	t.addImplicit(devices)
	t.pending = t.countPending(devices, without)
	return t
}

// addControllers makes a bus of each PCI controller, and of those that libvirt
// adds by itself: the machine's root bus, and a bus for each number that is
// left out below the highest.
func (t *topology) addControllers() {
	byIndex := map[int]*node{}
	highest := -1
	if t.machine.root() != "" {
		highest = 0
	}
	for _, c := range t.ordered["pci"] {
		if i := t.index[c]; i <= lastBus && byIndex[i] == nil {
			byIndex[i] = c
			highest = max(highest, i)
		}
	}
	for i := range highest + 1 {
		switch c := byIndex[i]; {
		case c != nil:
			t.buses = append(t.buses, newBus(t.modelAt(i, c), c))
		case i == 0:
			t.buses = append(t.buses, newBus(cmp.Or(t.machine.root(), modelPCIRoot), nil))
		default:
			t.buses = append(t.buses, newBus(t.addedModel(), nil))
		}
	}
	for _, b := range t.buses {
		if a, ok := writtenAddress(b.controller); ok {
			b.upstream = int(a.Bus)
		}
	}
}

// modelAt returns the model of a written controller; "" if libvirt refuses it
// at that index, so that nothing can be put there.
func (t *topology) modelAt(index int, c *node) string {
	model := modelOf(c)
	root := model == modelPCIRoot || model == modelPCIeRoot
	switch {
	case index == 0 && t.machine.root() != "" && model != t.machine.root():
		return ""
	case index == 0 && !root:
		return ""
	case index > 0 && root && (model == modelPCIeRoot || t.machine.kind != machinePSeries):
		return ""
	}
	return model
}

// wrongRoot is libvirt's complaint about another controller in the place of the root bus, "" if there is none.
func (t *topology) wrongRoot() string {
	root := t.machine.root()
	if len(t.buses) == 0 || root == "" || t.buses[0].model != "" {
		return ""
	}
	return fmt.Sprintf("The PCI controller with index='0' must be model='%s' for this machine type, but model='%s' was found instead",
		root, clip(modelOf(t.buses[0].controller), 40))
}

// addedModel is the model of the controllers that libvirt adds by itself.
func (t *topology) addedModel() string {
	switch {
	case t.machine.kind == machinePSeries:
		return modelPCIRoot
	case len(t.buses) > 0 && t.buses[0].model == modelPCIeRoot:
		return modelRootPort
	default:
		return modelPCIBridge
	}
}

// grow adds the buses that libvirt adds because the document has a device on
// them: ports on a PCIe machine, bridges elsewhere.
func (t *topology) grow(a Address) {
	if len(t.buses) == 0 || a.Domain != 0 {
		return
	}
	for len(t.buses) <= int(a.Bus) {
		model := t.addedModel()
		if model == modelRootPort && len(t.buses) == int(a.Bus) && a.Slot > 0 {
			model = modelPCIeBridge // a conventional device on a PCIe machine
		}
		t.buses = append(t.buses, newBus(model, nil))
	}
}

// hold enters a use. Of two uses of one address the first holds it.
func (t *topology) hold(u use) {
	t.uses = append(t.uses, u)
	if a := u.Address; a.Domain == 0 && int(a.Bus) < len(t.buses) {
		if f := &t.buses[a.Bus].slots[a.Slot][a.Function]; *f == 0 {
			*f = int32(len(t.uses))
		}
	}
}

// holder returns who has the address, or nil.
func (t *topology) holder(a Address) *use {
	if a.Domain != 0 || int(a.Bus) >= len(t.buses) {
		for i := range t.uses {
			if t.uses[i].Address == a {
				return &t.uses[i]
			}
		}
		return nil
	}
	if i := t.buses[a.Bus].slots[a.Slot][a.Function]; i > 0 {
		return &t.uses[i-1]
	}
	return nil
}

// numaNode returns the guest's NUMA node that a bus belongs to: its own, or
// that of the expander bus above it.
func (t *topology) numaNode(number int) (int, bool) {
	for range t.buses { // a loop in the document ends here too
		if number < 0 || number >= len(t.buses) {
			return 0, false
		}
		b := t.buses[number]
		if b.node != nil {
			return *b.node, true
		}
		number = b.upstream
	}
	return 0, false
}

func newBus(model string, controller *node) *bus {
	b := &bus{busModel: busModels[model], model: model, controller: controller, upstream: -1}
	target := controller.Child("target")
	if v, _ := target.Attr("hotplug"); v == "off" {
		b.hotplug = false
	}
	if v, ok := pci.Decimal(target.Child("node").Content()); ok {
		n := int(v)
		b.node = &n
	}
	return b
}

// deviceNodes returns the elements below <devices> but one.
func deviceNodes(devices, without *node) iter.Seq[*node] {
	return func(yield func(*node) bool) {
		if devices == nil {
			return
		}
		for _, dev := range devices.Children {
			if dev != without && dev.Space == "" && !yield(dev) {
				return
			}
		}
	}
}

// writtenAddress returns the guest PCI address that the document has for a
// device. libvirt takes an address whose domain, bus and slot are zero as none.
func writtenAddress(dev *node) (Address, bool) {
	n := dev.Child("address")
	if kind, _ := n.Attr("type"); kind != "pci" {
		return Address{}, false
	}
	a, _, _, err := parseAddressElement(n)
	return a, err == nil && (a.Domain != 0 || a.Bus != 0 || a.Slot != 0)
}

func isPCIController(n *node) bool {
	return n != nil && n.Local == "controller" && kindOf(n) == "pci"
}

func modelOf(n *node) string {
	model, _ := n.Attr("model")
	return model
}
