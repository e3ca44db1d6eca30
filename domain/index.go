package domain

import (
	"slices"

	"github.com/vgpukit/vgpukit/internal/pci"
)

// usbFunctions are the models of USB 2 controllers that share an index and a slot, and each
// one's function there.
var usbFunctions = map[string]uint8{"ich9-ehci1": 7, "ich9-uhci1": 0, "ich9-uhci2": 1, "ich9-uhci3": 2}

// maxControllers is how many controllers of one type are numbered, far more than a guest has.
const maxControllers = 1024

// numbering has a document's controllers as libvirt numbers and orders them.
type numbering struct {
	index   map[*node]int // none for a controller whose index is not valid
	ordered map[string][]*node
}

// numberControllers gives each controller the index that is written, else, in the
// document's order, the lowest that its type has not written (libvirt's
// virDomainAssignControllerIndexes).
func numberControllers(devices *node) numbering {
	n := numbering{index: map[*node]int{}, ordered: map[string][]*node{}}
	for c := range devices.All("controller") {
		if kind := kindOf(c); len(n.ordered[kind]) < maxControllers {
			n.insert(kind, c)
		}
	}
	for _, controllers := range n.ordered {
		n.complete(controllers)
	}
	return n
}

// insert follows virDomainControllerInsertPreAlloced: those without an index come behind
// those before them, the others in order.
func (n *numbering) insert(kind string, c *node) {
	controllers := n.ordered[kind]
	written, numbered := c.Attr("index")
	index, valid := pci.Decimal(written)
	place := len(controllers)
	if numbered && valid {
		n.index[c] = int(index)
		for i, other := range slices.Backward(controllers) {
			first := c.Child("master") == nil && other.Child("master") != nil
			if have, ok := n.index[other]; ok && (have > int(index) || first && have == int(index)) {
				place = i
			}
		}
	}
	if !numbered || valid {
		n.ordered[kind] = slices.Insert(controllers, place, c)
	}
}

// complete numbers those of one type that have no index.
func (n *numbering) complete(controllers []*node) {
	used := map[int]bool{}
	for _, c := range controllers {
		if i, ok := n.index[c]; ok {
			used[i] = true
		}
	}
	next := 0
	for at, c := range controllers {
		if _, ok := n.index[c]; ok {
			continue
		}
		i, joins := n.companion(controllers, at)
		if !joins {
			for used[next] {
				next++
			}
			i = next
		}
		n.index[c], used[i] = i, true
	}
}

// companion returns the index of the USB 2 controller before, which the next one joins
// unless one of its model is there.
func (n *numbering) companion(controllers []*node, at int) (int, bool) {
	c := controllers[at]
	if at == 0 || !isUSB2(c) || !isUSB2(controllers[at-1]) {
		return 0, false
	}
	index := n.index[controllers[at-1]]
	for _, other := range controllers {
		if i, numbered := n.index[other]; numbered && i == index && modelOf(other) == modelOf(c) {
			return 0, false
		}
	}
	return index, true
}

// isUSB2 tells whether a controller is one of those that share a slot.
func isUSB2(c *node) bool {
	_, shares := usbFunctions[modelOf(c)]
	return shares && kindOf(c) == "usb"
}

func kindOf(n *node) string {
	kind, _ := n.Attr("type")
	return kind
}
