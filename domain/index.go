package domain

import "github.com/vgpukit/vgpukit/internal/pci"

// usbFunctions are the models of USB 2 controllers that share an index and a slot, and each
// one's function there.
var usbFunctions = map[string]uint8{"ich9-ehci1": 7, "ich9-uhci1": 0, "ich9-uhci2": 1, "ich9-uhci3": 2}

// indexesOf returns the index of each controller: that which is written, else, in the
// document's order, the lowest that its type has not written (libvirt's
// virDomainAssignControllerIndexes). A controller whose index is not valid has none.
func indexesOf(devices *node) map[*node]int {
	indexes := map[*node]int{}
	used := map[string]map[int]bool{}
	var unnumbered []*node
	for c := range devices.All("controller") {
		kind, _ := c.Attr("type")
		if used[kind] == nil {
			used[kind] = map[int]bool{}
		}
		written, ok := c.Attr("index")
		if !ok {
			unnumbered = append(unnumbered, c)
		} else if i, ok := pci.Decimal(written); ok {
			indexes[c], used[kind][int(i)] = int(i), true
		}
	}
	next := map[string]int{}
	var before *node // the USB controller that was numbered last
	for _, c := range unnumbered {
		kind, _ := c.Attr("type")
		i, ok := companionIndex(devices, indexes, before, c)
		if !ok {
			for used[kind][next[kind]] {
				next[kind]++
			}
			i = next[kind]
		}
		indexes[c], used[kind][i] = i, true
		if kind == "usb" {
			before = c
		}
	}
	return indexes
}

// companionIndex returns the index of the USB 2 controller before, which another one joins
// unless one of its model is there.
func companionIndex(devices *node, indexes map[*node]int, before, c *node) (int, bool) {
	if _, joins := usbFunctions[modelOf(c)]; !joins || before == nil {
		return 0, false
	}
	if _, companion := usbFunctions[modelOf(before)]; !companion {
		return 0, false
	}
	if kind, _ := c.Attr("type"); kind != "usb" {
		return 0, false
	}
	for other := range devices.All("controller") {
		kind, _ := other.Attr("type")
		if i, numbered := indexes[other]; numbered && kind == "usb" && i == indexes[before] && modelOf(other) == modelOf(c) {
			return 0, false
		}
	}
	return indexes[before], true
}
