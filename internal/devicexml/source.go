package devicexml

import (
	"github.com/google/uuid"

	"github.com/vgpukit/vgpukit/internal/pci"
	"github.com/vgpukit/vgpukit/internal/xmldoc"
)

// The kinds of devices of the host that a VM can be given, of those that can be vGPUs.
const (
	KindMdev = "mdev"
	KindPCI  = "pci"
)

// A Source is the device of the host that an element gives to a VM.
type Source struct {
	Kind    string       // KindMdev or KindPCI
	Address *xmldoc.Node // the element that names the device
	UUID    uuid.UUID    // of KindMdev
	PCI     pci.Address  // of KindPCI
}

// Kind returns what kind of the host's devices an element gives to a VM, "" if none:
// that is for <hostdev>, and for <interface type='hostdev'>, which is the same to
// libvirt but for the place of the kind (virDomainHostdevDefParseXML and
// virDomainNetDefParseXML).
func Kind(n *xmldoc.Node) string {
	kind, _ := n.Attr("type")
	switch n.Local {
	case "hostdev":
		if mode, written := n.Attr("mode"); written && mode != "subsystem" {
			return ""
		}
		return kind
	case "interface":
		if kind != "hostdev" {
			return ""
		}
		kind, written := n.PathAttr("type", "source", "address")
		if _, mdev := n.Path("source", "address").Attr("uuid"); !written && mdev {
			return KindMdev // libvirt leaves the kind out when it writes one, and then cannot read it
		} else if !written {
			return KindPCI
		}
		return kind
	}
	return ""
}

// Host reads the device of the host that an element gives to a VM, as libvirt does:
// the first <address> in a <source> names it. ok is false if it is of another kind, or
// has no valid source.
//
// Of a PCI device libvirt looks into the first <source> only, and gives the guest the
// host bridge if nothing is in there: to see the device of the second is on the safe
// side, and that of no <source> is none.
func Host(n *xmldoc.Node) (s Source, ok bool) {
	s = Source{Kind: Kind(n), Address: n.Path("source", "address")}
	if s.Address == nil {
		return s, false
	}
	switch s.Kind {
	case KindMdev:
		id, _ := s.Address.Attr("uuid")
		s.UUID, ok = ParseUUID(id)
	case KindPCI:
		var wrong string
		s.PCI, wrong = pci.FromAttributes(s.Address.Attr)
		ok = wrong == ""
	}
	return s, ok
}

// Names returns the device's UUID or its PCI address, and "" for the other.
func (s Source) Names() (id, address string) {
	if s.Kind == KindMdev {
		return s.UUID.String(), ""
	}
	return "", s.PCI.String()
}
