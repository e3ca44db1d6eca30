//go:build cgo

package virt

import (
	"encoding/xml"
	"errors"
	"io"
	"strings"

	"github.com/vgpukit/vgpukit/internal/pci"
)

// A deviceIdentity is what a device is known by, and its element.
type deviceIdentity struct{ alias, uuid, pci, element string }

// nameless: the element has nothing but perhaps an alias to know it by.
func (d deviceIdentity) nameless() bool { return d.uuid == "" && d.pci == "" }

// userAlias tells an alias that a document's author chose, and that the saved
// definition keeps, from one that libvirt made.
func userAlias(alias string) bool { return strings.HasPrefix(alias, "ua-") }

func (d deviceIdentity) matches(live deviceIdentity) bool {
	if !d.nameless() {
		return d.uuid == live.uuid && d.pci == live.pci
	}
	return d.alias == live.alias
}

func (d deviceIdentity) String() string {
	switch {
	case d.uuid != "":
		return "mdev " + d.uuid
	case d.pci != "":
		return "PCI device " + d.pci
	}
	return "alias " + quote(d.alias)
}

// identities reads the device elements at the given depth of a document: 0 for a
// device's own element, 2 for those in <domain><devices>.
func identities(doc string, at int) ([]deviceIdentity, error) {
	var (
		found []deviceIdentity
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
				found = append(found, deviceIdentity{element: doc[begin:]}) // cut at its end
				continue
			}
			if len(path) > at+1 {
				d := &found[len(found)-1]
				switch strings.Join(path[at+1:], "/") {
				case "alias":
					d.alias = attribute(t, "name")
				case "source/address":
					d.uuid = strings.ToLower(attribute(t, "uuid"))
					d.pci = pciAddress(t)
				}
			}
		case xml.EndElement:
			if len(path) == at+1 && (at == 0 || path[1] == "devices") {
				d := &found[len(found)-1]
				d.element = d.element[:len(d.element)-len(doc)+int(dec.InputOffset())]
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
