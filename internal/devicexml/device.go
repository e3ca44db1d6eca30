// Package devicexml finds the device elements of a libvirt domain document, and what
// each is known by.
package devicexml

import (
	"encoding/xml"
	"errors"
	"io"
	"strconv"
	"strings"

	"github.com/vgpukit/vgpukit/internal/pci"
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
	var (
		found []Device
		path  []string
	)
	dec := xml.NewDecoder(strings.NewReader(doc))
	for {
		begin := dec.InputOffset()
		token, err := dec.Token()
		if errors.Is(err, io.EOF) {
			return found, nil
		} else if err != nil {
			return nil, err
		}
		switch t := token.(type) {
		case xml.StartElement:
			path = append(path, t.Name.Local)
			if at > 0 && len(path) > 1 && path[1] != "devices" {
				continue
			}
			if len(path) == at+1 {
				found = append(found, Device{Kind: t.Name.Local, Element: doc[begin:], Offset: int(begin)}) // cut at its end
				continue
			}
			if len(path) > at+1 {
				d := &found[len(found)-1]
				switch strings.Join(path[at+1:], "/") {
				case "alias":
					d.Alias = attribute(t, "name")
				case "source/address":
					d.UUID = strings.ToLower(attribute(t, "uuid"))
					d.PCI = pciAddress(t)
				}
			}
		case xml.EndElement:
			if len(path) == at+1 && (at == 0 || path[1] == "devices") {
				d := &found[len(found)-1]
				d.Element = d.Element[:len(d.Element)-len(doc)+int(dec.InputOffset())]
			}
			path = path[:len(path)-1]
		}
	}
}

func attribute(t xml.StartElement, name string) string {
	for _, a := range t.Attr {
		if a.Name.Space == "" && a.Name.Local == name {
			return a.Value
		}
	}
	return ""
}

// pciAddress normalizes bus='0x3' and bus='0x03', "" if it is no PCI address:
// those of USB and SCSI devices have a bus as well.
func pciAddress(t xml.StartElement) string {
	for _, name := range []string{"bus", "slot", "function"} {
		if attribute(t, name) == "" {
			return ""
		}
	}
	a, wrong := pci.FromAttributes(func(name string) (string, bool) {
		v := attribute(t, name)
		return v, v != ""
	})
	if wrong != "" {
		return ""
	}
	return a.String()
}
