// Package devicexml finds the device elements of a libvirt domain document, and what
// each is known by.
package devicexml

import (
	"strconv"
	"strings"

	"github.com/vgpukit/vgpukit/internal/xmldoc"
)

// A Device is what a device is known by, and its element.
type Device struct {
	Alias   string // "hostdev0"
	UUID    string // of a mediated device, in lower case
	PCI     string // address of a host device: "0000:41:00.4"
	Kind    string // the element's name: "hostdev"
	Element string
	Offset  int // of the element in the document
}

// Nameless: the element has nothing but perhaps an alias to know it by.
func (d Device) Nameless() bool { return d.UUID == "" && d.PCI == "" }

// UserAlias tells an alias that a document's author chose, and that the saved
// definition keeps, from one that libvirt made.
func UserAlias(alias string) bool { return strings.HasPrefix(alias, "ua-") }

// Matches tells whether d, as somebody names it, is that device of a running VM.
func (d Device) Matches(live Device) bool {
	if !d.Nameless() {
		return d.UUID == live.UUID && d.PCI == live.PCI
	}
	return d.Alias == live.Alias
}

// String names the device for an error.
func (d Device) String() string {
	switch {
	case d.UUID != "":
		return "mdev " + d.UUID
	case d.PCI != "":
		return "PCI device " + d.PCI
	}
	return "alias " + strconv.Quote(d.Alias)
}

// Find reads the device elements at the given depth of a document: 0 for a device's
// own element, 2 for those in <domain><devices>.
func Find(doc string, at int) ([]Device, error) {
	read := xmldoc.Parse
	if at == 0 {
		read = xmldoc.ParseLoose
	}
	root, err := read(doc)
	if err != nil {
		return nil, err
	}
	elements := []*xmldoc.Node{root}
	for depth := range at {
		var below []*xmldoc.Node
		for _, n := range elements {
			for _, c := range n.Children {
				if c.Space == "" && (depth > 0 || c.Local == "devices") {
					below = append(below, c)
				}
			}
		}
		elements = below
	}
	var found []Device
	for _, n := range elements {
		d := Device{Alias: Alias(n), Kind: n.Local, Element: doc[n.Start:n.End], Offset: n.Start}
		if s, ok := Host(n); ok {
			d.UUID, d.PCI = s.Names()
		}
		found = append(found, d)
	}
	return found, nil
}

// Alias returns the name by which libvirt and QEMU know a device, or "".
func Alias(n *xmldoc.Node) string {
	name, _ := n.PathAttr("name", "alias")
	return name
}
