package domain

import (
	"errors"
	"fmt"
	"slices"
)

// AddressRequest says what kind of addresses are wanted.
type AddressRequest struct {
	// Hotplug: only addresses where a device can be attached to the running
	// domain, and detached: behind root ports and switch ports, on PCI bridges,
	// on the root bus of pseries, and on that of i440fx if the document has
	// <features><acpi/>; not on the root bus of q35 or on a pci-expander-bus.
	Hotplug bool `json:"hotplug,omitempty"`
	// NUMANode: only addresses that belong to this NUMA node of the guest, below
	// an expander bus (or a pseries host bridge) with <target><node>. nil: any.
	NUMANode *int `json:"numa_node,omitempty"`
}

// Free returns n guest PCI addresses where n devices can be put, one after the
// other in any order: each is function 0 of a slot that is all free. The same
// request on the same document always gives the same addresses, and fewer are
// the first of more.
//
// The root bus comes first, then the others by number, each by slot; with
// Hotplug PCIe slots come before conventional ones. The primary video card's
// place comes last. Only buses whose controller is written are used, besides
// the machine's root bus. Room is left for devices that have no address yet.
//
// Errors match [ErrInvalid] (n is negative), [ErrNotFound] (there are not that
// many; see [Document.AddRootPort] and [Document.FreeUpTo]) or [ErrUnsupported] (the machine has no
// PCI bus, another controller has the root bus's index, or QEMU may hold addresses
// on it that are not known here).
func (d *Document) Free(n int, req AddressRequest) ([]Address, error) {
	t := topologyOf(d.root, nil)
	fail := func(kind error, next, format string, args ...any) ([]Address, error) {
		return nil, &Error{
			Op: "find", Object: fmt.Sprintf("%d free addresses", n),
			Meaning: fmt.Sprintf(format, args...), Next: next, Kind: kind,
		}
	}
	switch {
	case n < 0:
		return fail(ErrInvalid, "ask for 0 or more", "the number is negative")
	case t.wrongRoot() != "":
		return fail(ErrUnsupported, "write the root bus first, or give the controllers indexes", "%s", t.wrongRoot())
	case len(t.buses) == 0:
		return fail(ErrUnsupported, "use a machine type with PCI, such as q35", "the machine %s has no PCI bus", t.machine)
	case t.machine.kind == machineUnknown, t.machine.kind == machineS390:
		return fail(ErrUnsupported, "give the address yourself, or let libvirt choose",
			"what the machine %s has on its PCI bus is not known here", t.machine)
	}
	found := t.free(req)
	if len(found) < n {
		next := "remove devices, or add controllers that have free slots"
		switch {
		case t.buses[0].model == modelPCIeRoot:
			next = "add root ports"
		case req.Hotplug && t.machine.kind == machineI440FX && !t.buses[0].hotplug:
			next = "add a PCI bridge, or <acpi/> to <features>"
		}
		if req.NUMANode != nil && !t.hasNode(*req.NUMANode) {
			return fail(ErrNotFound, "add an expander bus with that <node>", "no PCI bus belongs to NUMA node %d of the guest", *req.NUMANode)
		}
		return fail(ErrNotFound, next, "there are %d%s", len(found), describeRequest(req))
	}
	return slices.Clip(found[:n]), nil
}

// FreeUpTo is [Document.Free] that is content with fewer, or none.
func (d *Document) FreeUpTo(n int, req AddressRequest) ([]Address, error) {
	found, err := d.Free(n, req)
	if errors.Is(err, ErrNotFound) {
		found = topologyOf(d.root, nil).free(req)
		return slices.Clip(found), nil
	}
	return found, err
}

// free returns all addresses that Free may give, in its order.
func (t *topology) free(req AddressRequest) []Address {
	var candidates, last []Address
	for _, number := range t.order(req) {
		b := t.buses[number]
		for slot := b.minSlot; slot <= b.maxSlot; slot++ {
			if !b.slotFree(slot) {
				continue
			}
			a := Address{Bus: uint8(number), Slot: slot}
			if video, ok := t.machine.videoSlot(); ok && number == 0 && slot == video {
				last = append(last, a)
			} else {
				candidates = append(candidates, a)
			}
		}
	}
	room, ports := t.spare(), t.sparePorts()
	found := candidates[:0]
	for _, a := range append(candidates, last...) {
		limit := (*int)(nil)
		switch {
		case t.roomy(int(a.Bus)):
			limit = &room
		case t.buses[a.Bus].port():
			limit = &ports
		}
		if limit != nil {
			if *limit <= 0 {
				continue
			}
			*limit--
		}
		found = append(found, a)
	}
	return found
}

// order returns the buses that a request may use, the preferred first.
func (t *topology) order(req AddressRequest) []int {
	var numbers []int
	for number, b := range t.buses {
		if !b.endpoint || b.controller == nil && number > 0 || req.Hotplug && !b.hotplug {
			continue
		}
		if req.NUMANode != nil {
			if node, ok := t.numaNode(number); !ok || node != *req.NUMANode {
				continue
			}
		}
		numbers = append(numbers, number)
	}
	if req.Hotplug {
		slices.SortStableFunc(numbers, func(a, b int) int {
			switch x, y := t.buses[a].express, t.buses[b].express; {
			case x == y:
				return 0
			case x:
				return -1
			}
			return 1
		})
	}
	return numbers
}

// roomy tells whether libvirt puts devices that have no address, or the
// controllers for them, on a bus by itself, so that its slots are limited.
func (t *topology) roomy(number int) bool {
	switch {
	case t.machine.kind == machinePSeries: // gets more host bridges
		return false
	case t.buses[0].model == modelPCIeRoot: // gets more root ports, on the root bus
		return number == 0
	}
	return t.buses[number].auto
}

// room counts the free slots on these buses.
func (t *topology) room() int {
	free := 0
	for number, b := range t.buses {
		for slot := b.minSlot; slot <= b.maxSlot && t.roomy(number); slot++ {
			if b.slotFree(slot) {
				free++
			}
		}
	}
	return free
}

// spare is how many of these slots can be taken, one after the other, with room left for
// the devices that have no address yet: on a PCIe machine for a root port each, eight to a
// slot, and for the two that libvirt may add, one for hotplug and one for a PCI bridge.
func (t *topology) spare() int {
	room := t.room()
	if room == 0 {
		return 0
	}
	if t.buses[0].model == modelPCIeRoot {
		if t.pending == 0 {
			return room
		}
		return room - (t.pending+2+lastFunc)/(lastFunc+1)
	}
	spare := 0
	for spare < room && t.fits(room) && t.fits(room-spare-1) {
		spare++
	}
	return spare
}

// fits tells whether libvirt finds slots on a PCI machine for the devices that have no address
// yet if so many are left, as qemuDomainAssignPCIAddresses goes about it: it spends a slot on
// an expansion to come, adds a bridge for every 31 devices that find none, and then needs a
// slot for each bridge, of the slots that are over: for the first on a bus that is there.
func (t *topology) fits(free int) bool {
	const slots = 31 // of a bridge
	bridges := 0     // that the document implies, and libvirt adds
	for number, b := range t.buses {
		if number > 0 && b.controller == nil {
			bridges++
		}
	}
	if t.pending == 0 && bridges == 0 {
		return true
	}
	needed := t.pending
	if free > 0 {
		needed++
	}
	more := max(0, needed-free+slots-1) / slots
	return free >= bridges+min(more, 1) && free+slots*more-needed >= bridges+more
}

// sparePorts is how many free PCIe ports can be taken, with one left for each PCI bridge
// that has no address yet, as libvirt adds no port for it, and for each switch that comes
// before one. It is negative where they are too few already.
func (t *topology) sparePorts() int {
	free, needed, switches := 0, 0, 0
	for _, b := range t.buses {
		if b.port() && b.slotFree(0) {
			free++
		}
	}
	for _, c := range t.ordered["pci"] {
		switch model := modelOf(c); {
		case !wantsAddress(c):
		case model == modelPCIeBridge:
			needed, switches = needed+1+switches, 0
		case model == modelUpstream:
			switches++
		}
	}
	return free - needed
}

func (t *topology) hasNode(node int) bool {
	for number := range t.buses {
		if n, ok := t.numaNode(number); ok && n == node {
			return true
		}
	}
	return false
}

func describeRequest(req AddressRequest) string {
	s := ""
	if req.Hotplug {
		s += " where a device can be hot-plugged"
	}
	if req.NUMANode != nil {
		s += fmt.Sprintf(" on NUMA node %d of the guest", *req.NUMANode)
	}
	return s
}
