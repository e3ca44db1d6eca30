package domain

import (
	"fmt"
	"strings"

	"libvirt.org/go/libvirtxml"

	"github.com/vgpukit/vgpukit/internal/pci"
)

// AddRootPort returns the document with one more PCIe root port, and the
// address behind it, where a device can be put and hot-plugged. It is for
// machines with PCIe (q35, virt); [ErrUnsupported] on others, where
// [Document.Free] finds hot-pluggable addresses without, and if another controller
// has the root bus's index.
//
// With a NUMA node in the request the port is put on an expander bus of that
// node; [ErrNotFound] if the document has none.
//
// A port stays spare only in a document whose other devices all have addresses,
// such as one that libvirt has saved: in another, libvirt puts one of them there
// unless a device is added at the address before the document is defined.
func (d *Document) AddRootPort(req AddressRequest) (*Document, Address, error) {
	doc, addresses, err := d.AddRootPorts(1, req)
	if err != nil {
		return nil, Address{}, err
	}
	return doc, addresses[0], nil
}

// AddRootPorts is [Document.AddRootPort] for n ports. Eight ports share a slot.
// Where the root port's own address is on the guest's root bus, that bus is
// written into the document too, if it is not.
func (d *Document) AddRootPorts(n int, req AddressRequest) (*Document, []Address, error) {
	fail := func(kind error, next, format string, args ...any) (*Document, []Address, error) {
		return nil, nil, &Error{
			Op: "add", Object: fmt.Sprintf("%d root ports", n), Meaning: fmt.Sprintf(format, args...), Next: next, Kind: kind,
		}
	}
	t := topologyOf(d.root, nil)
	switch {
	case n < 1:
		return fail(ErrInvalid, "ask for 1 or more", "the number is not positive")
	case t.machine.root() == modelPCIeRoot && t.wrongRoot() != "":
		return fail(ErrUnsupported, "write the root bus first, or give the controllers indexes", "%s", t.wrongRoot())
	case len(t.buses) == 0 || t.buses[0].model != modelPCIeRoot:
		return fail(ErrUnsupported, "take a free address on the root bus, or use a machine type with PCIe, such as q35",
			"the machine %s has no PCIe root ports", t.machine)
	}
	if t.sparePorts() < 0 {
		return fail(ErrInvalid, "give the PCI bridges addresses, or write a root port for each", "the document has fewer free PCIe ports than PCI bridges without an address")
	}
	on := 0
	if req.NUMANode != nil {
		var ok bool
		if on, ok = t.portBusOf(*req.NUMANode); !ok {
			return fail(ErrNotFound, "add a pcie-expander-bus with that <node>", "no bus that takes root ports belongs to NUMA node %d of the guest", *req.NUMANode)
		}
	}
	var text []string
	if t.buses[0].controller == nil {
		root, err := controllerElement(libvirtxml.DomainController{Type: "pci", Index: new(uint), Model: modelPCIeRoot})
		if err != nil {
			return nil, nil, err
		}
		text = append(text, root)
	}
	if left := t.busNumbersLeft(on); left < n {
		return fail(ErrNotFound, "remove controllers, or lower the expander's busNr", "the guest has numbers for %d more buses there", left)
	}
	chassis := chassisOf(d.root)
	var addresses []Address
	for range n {
		place, first, ok := t.portPlace(on)
		if !ok || len(t.buses) > lastBus {
			return fail(ErrNotFound, "remove devices or controllers", "bus %d has room for %d", on, len(addresses))
		}
		index := uint(len(t.buses))
		c := libvirtxml.DomainController{Type: "pci", Index: &index, Model: modelRootPort}
		c.Address = &libvirtxml.DomainAddress{PCI: place.element()}
		if first {
			c.Address.PCI.MultiFunction = "on"
		}
		if chassis[index] { // libvirt would take the index, and QEMU refuse it
			free := index
			for chassis[free] {
				free++
			}
			if free > lastBus {
				return fail(ErrNotFound, "remove root ports", "no chassis number is left")
			}
			chassis[free] = true
			c.PCI = &libvirtxml.DomainControllerPCI{Target: &libvirtxml.DomainControllerPCITarget{Chassis: &free}}
		}
		port, err := controllerElement(c)
		if err != nil {
			return nil, nil, err
		}
		text = append(text, port)
		t.hold(use{Address: place, multifunction: "on", port: true})
		t.buses = append(t.buses, newBus(modelRootPort, nil))
		addresses = append(addresses, Address{Bus: uint8(index)})
	}
	doc, err := d.insertDevice("controller", strings.Join(text, "\n"))
	if err != nil {
		return nil, nil, err
	}
	return doc, addresses, nil
}

// portBusOf returns the first bus of a NUMA node that takes root ports and is
// written in the document.
func (t *topology) portBusOf(node int) (int, bool) {
	for number, b := range t.buses {
		if got, ok := t.numaNode(number); ok && got == node && b.rootPorts && b.controller != nil {
			return number, true
		}
	}
	return 0, false
}

// portPlace finds a place for a root port: the next function of a slot that
// holds root ports only, or a slot that is all free; first tells which.
func (t *topology) portPlace(on int) (place Address, first, ok bool) {
	b := t.buses[on]
	for slot := b.minSlot; slot <= b.maxSlot; slot++ {
		if f, shared := t.portFunction(b, slot); shared {
			return Address{Bus: uint8(on), Slot: slot, Function: f}, false, true
		}
	}
	if on == 0 && t.spare() <= 0 {
		return Address{}, false, false
	}
	video, keep := t.machine.videoSlot()
	for slot := b.minSlot; slot <= b.maxSlot; slot++ {
		if b.slotFree(slot) && !(on == 0 && keep && slot == video) {
			return Address{Bus: uint8(on), Slot: slot}, true, true
		}
	}
	if on == 0 && keep && b.slotFree(video) {
		return Address{Slot: video}, true, true
	}
	return Address{}, false, false
}

// portFunction returns the first free function of a slot that holds root ports
// only and lets more of them in.
func (t *topology) portFunction(b *bus, slot uint8) (uint8, bool) {
	if i := b.slots[slot][0]; i == 0 || t.uses[i-1].multifunction == "off" {
		return 0, false
	}
	free := uint8(0)
	for f, i := range b.slots[slot] {
		if i == 0 && free == 0 {
			free = uint8(f)
		}
		if i > 0 && !t.uses[i-1].port {
			return 0, false
		}
	}
	return free, free > 0
}

// busNumbersLeft tells how many buses more the guest can number below the root
// bus or an expander bus: those up to the next expander's busNr.
func (t *topology) busNumbersLeft(on int) int {
	busNr := func(number int) (int, bool) {
		s, _ := t.buses[number].controller.Child("target").Attr("busNr")
		v, ok := pci.Number(s)
		return int(v), ok
	}
	own, ok := busNr(on)
	if on != 0 && !ok {
		own = lastBus - 1 // libvirt takes two numbers for the first expander
	}
	next := lastBus + 1
	used := 0
	for number := range t.buses {
		if nr, ok := busNr(number); ok && nr > own {
			next = min(next, nr)
		}
		if number != on && t.rootOf(number) == on {
			used++
		}
	}
	return next - own - 1 - used
}

// rootOf returns the root or expander bus that a bus is below.
func (t *topology) rootOf(number int) int {
	for range t.buses {
		b := t.buses[number]
		if b.model == modelPCIeExpander || b.model == modelPCIExpander || b.upstream < 0 || b.upstream >= len(t.buses) {
			break
		}
		number = b.upstream
	}
	switch t.buses[number].model {
	case modelPCIeExpander, modelPCIExpander:
		return number
	}
	return 0
}

// chassisOf returns the chassis numbers that the document's PCIe ports have.
func chassisOf(root *node) map[uint]bool {
	used := map[uint]bool{}
	for c := range devicesOf(root).All("controller") {
		s, _ := c.Child("target").Attr("chassis")
		if v, ok := pci.Number(s); ok {
			used[uint(v)] = true
		}
	}
	return used
}

func controllerElement(c libvirtxml.DomainController) (string, error) {
	text, err := c.Marshal()
	if err != nil {
		return "", &Error{Op: "write", Object: "controller", Meaning: "libvirtxml cannot write it", Kind: ErrInvalid, Err: err}
	}
	return text, nil
}
