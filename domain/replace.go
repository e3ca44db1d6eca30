package domain

import (
	"fmt"
	"slices"

	"github.com/vgpukit/vgpukit/internal/devicexml"
)

// ReplaceVFs returns the document with other virtual functions in the place of
// those that the map names by their host PCI addresses, all at once, so that two
// may change places. Each device keeps its place in the document and in the
// guest: only the host address in its <source> changes.
//
// ErrNotFound: the document has no such virtual function; ErrExists: it would be
// there twice; ErrInvalid: not an address. Our metadata is left as it is: see
// [Document.WithMetadata].
func (d *Document) ReplaceVFs(others map[string]string) (*Document, error) {
	type change struct {
		node *node
		to   Address
	}
	var changes []change
	stays := map[string]bool{}
	for _, h := range d.Hostdevs() {
		stays[h.VF] = true
	}
	for from, to := range others {
		n, err := d.find(from)
		if err != nil {
			return nil, err
		}
		source, _ := devicexml.Host(n)
		a, valid := parseAddress(to)
		if source.Kind != devicexml.KindPCI || !valid {
			return nil, &Error{
				Op: "replace", Object: fmt.Sprintf("device %q by %q", clip(from, 60), clip(to, 60)), Meaning: "both must be host PCI addresses",
				Next: "name virtual functions as 0000:41:00.4", Kind: ErrInvalid,
			}
		}
		delete(stays, source.PCI.String())
		changes = append(changes, change{source.Address, a})
	}
	for _, c := range changes {
		if stays[c.to.String()] {
			return nil, &Error{
				Op: "replace", Object: "device " + c.to.String(), Meaning: "the document would have it twice",
				Next: "choose another virtual function", Kind: ErrExists,
			}
		}
		stays[c.to.String()] = true
	}
	slices.SortFunc(changes, func(a, b change) int { return b.node.Start - a.node.Start }) // from the end, so that offsets hold
	src := d.src
	for _, c := range changes {
		l := d.layout(c.node)
		l.inline = true // it stands where the old one stood
		kind := ""
		if c.node.Parent.Parent.Local == "interface" {
			kind = ` type="pci"` // which libvirt wants there
		}
		text := fmt.Sprintf(`<address%s domain="0x%04x" bus="0x%02x" slot="0x%02x" function="0x%x"/>`, kind, c.to.Domain, c.to.Bus, c.to.Slot, c.to.Function)
		src = src[:c.node.Start] + l.fit(text) + src[c.node.End:]
	}
	return d.edited(src)
}
