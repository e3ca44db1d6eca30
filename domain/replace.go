package domain

import (
	"fmt"
	"strings"

	"github.com/vgpukit/vgpukit/internal/devicexml"
)

// Replace returns the document with other vGPUs in the place of those that the map names by
// their ids, all at once, so that two may change places. Each keeps its place in the document
// and in the guest, its alias, and whatever else its element holds: only what names the
// device in its <source> changes, and the element's type where a virtual function takes the
// place of a mediated device or the other way round.
//
// ErrNotFound: the document has no such vGPU; ErrExists: it would be there twice; ErrInvalid:
// not an id, or an element that cannot be made that of the other device. Our metadata is left as it is: see
// [Document.WithMetadata].
func (d *Document) Replace(others map[string]string) (*Document, error) {
	stays := map[string]bool{}
	for _, h := range d.Hostdevs() {
		stays[h.ID()] = true
	}
	type change struct {
		node *node
		to   ID
	}
	var changes []change
	for from, to := range others {
		id, err := ParseID(to)
		if err != nil {
			return nil, err
		}
		n, err := d.find(from)
		if err != nil {
			return nil, err
		}
		h, _ := parseHostdev(n)
		delete(stays, h.ID())
		if meaning, next := unfit(n, id); meaning != "" {
			return nil, &Error{Op: "replace", Object: "device " + h.ID(), Meaning: meaning, Next: next, Kind: ErrInvalid}
		}
		changes = append(changes, change{n, id})
	}
	var splices []splice
	for _, c := range changes {
		if stays[c.to.String()] {
			return nil, &Error{
				Op: "replace", Object: "device " + c.to.String(), Meaning: "the document would have it twice",
				Next: "choose another vGPU", Kind: ErrExists,
			}
		}
		stays[c.to.String()] = true
		splices = append(splices, d.renamed(c.node, c.to)...)
	}
	return d.edited(d.spliced(splices))
}

// unfit says why an element cannot be made that of another device, and what to do.
func unfit(n *node, to ID) (meaning, next string) {
	source, _ := devicexml.Host(n)
	_, mediated := to.UUID()
	switch {
	case mediated && n.Local != "hostdev":
		return "it is that of an <interface>, which cannot be a mediated device", "choose a virtual function"
	case !mediated && source.Address.Parent != n.Child("source"):
		return "it has more than one <source>, of which libvirt looks for a PCI device in the first only", "leave the one that names the device"
	}
	return "", ""
}

// renamed makes a device's element name another device.
func (d *Document) renamed(n *node, to ID) []splice {
	source, _ := devicexml.Host(n)
	id, mediated := to.UUID()
	if mediated && source.Kind == devicexml.KindMdev {
		written, _ := source.Address.Written("uuid")
		return []splice{{written.Value, written.End, id.String()}}
	}
	text := fmt.Sprintf(`<address uuid="%s"/>`, id)
	if vf, ok := to.VF(); ok {
		kind := ""
		if n.Local == "interface" {
			kind = ` type="pci"` // which libvirt wants there
		}
		text = fmt.Sprintf(`<address%s domain="0x%04x" bus="0x%02x" slot="0x%02x" function="0x%x"/>`, kind, vf.Domain, vf.Bus, vf.Slot, vf.Function)
	}
	l := d.layout(source.Address)
	l.inline = true // it stands where the old one stood
	splices := []splice{{source.Address.Start, source.Address.End, l.fit(text)}}
	if n.Local != "hostdev" || mediated == (source.Kind == devicexml.KindMdev) {
		return splices
	}
	return append(splices, d.retyped(n, mediated)...)
}

// retyped makes the start tag of a <hostdev> that of the other kind of vGPU: libvirt wants a
// model for a mediated device, and takes none for a PCI device.
func (d *Document) retyped(n *node, mediated bool) []splice {
	kind, _ := n.Written("type")
	model, hasModel := n.Written("model")
	if mediated {
		splices := []splice{{kind.Value, kind.End, devicexml.KindMdev}}
		if hasModel {
			return append(splices, splice{model.Value, model.End, ModelPCI})
		}
		return append(splices, d.attribute(kind.End+1, "model", ModelPCI))
	}
	splices := []splice{{kind.Value, kind.End, devicexml.KindPCI}}
	if hasModel {
		before := strings.TrimRight(d.src[:model.Start], " \t\r\n")
		splices = append(splices, splice{len(before), model.End + 1, ""})
	}
	if managed, written := n.Written("managed"); written {
		return append(splices, splice{managed.Value, managed.End, "no"})
	}
	return append(splices, d.attribute(kind.End+1, "managed", "no"))
}

// attribute puts one more attribute into a start tag.
func (d *Document) attribute(at int, name, value string) splice {
	quote := string(d.quote())
	return splice{at, at, " " + name + "=" + quote + value + quote}
}
