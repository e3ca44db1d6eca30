package domain

import (
	"encoding/xml"
	"fmt"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/vgpukit/vgpukit/internal/devicexml"
	"github.com/vgpukit/vgpukit/internal/fault"
	"github.com/vgpukit/vgpukit/internal/xmldoc"
)

// MetadataURI is the namespace of our element in a document's <metadata>:
//
//	<metadata>
//	  <vgpukit:vgpus xmlns:vgpukit="https://github.com/vgpukit/vgpukit/domain/1" vm="0d1f0f6b-9f0c-4c57-8b43-8a3e3f0d6b52">
//	    <vgpukit:vgpu id="c2177883-f1bb-47f0-914d-32a22e3a8804" type="nvidia-22" parent="0000:05:00.0" lifetime="reserved">
//	      <vgpukit:param name="vgpu_params" value="frame_rate_limiter=0"/>
//	    </vgpukit:vgpu>
//	  </vgpukit:vgpus>
//	</metadata>
//
// libvirt keeps it with the domain and shows it in virsh metadata.
const MetadataURI = "https://github.com/vgpukit/vgpukit/domain/1"

const metadataPrefix = "vgpukit"

// Metadata says which vGPUs a domain was given, and how to make them again. It is a copy:
// it travels with the document, and proves nothing.
type Metadata struct {
	// VM is the UUID of the domain that it was written for, zero if it does not say: a
	// clone's metadata names the original.
	VM    uuid.UUID `json:"vm,omitzero"`
	VGPUs []VGPU    `json:"vgpus"`
}

// VGPU is one vGPU in the metadata. It is a value.
type VGPU struct {
	ID       string  `json:"id"`                 // UUID, or the virtual function's host PCI address
	Type     string  `json:"type,omitempty"`     // the type's id: "nvidia-22"
	Parent   string  `json:"parent,omitempty"`   // where it was made: "0000:05:00.0"
	Lifetime string  `json:"lifetime,omitempty"` // how long the device is kept; a word of the caller's
	Params   []Param `json:"params,omitempty"`
}

// Param is an attribute of the device that is written after it was made, in
// order: "vgpu_params", "placement_id".
type Param struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Metadata returns what the document says about our vGPUs; ok is false if it
// says nothing. Elements and attributes that it does not know are passed over,
// so that a newer version may add some, and other elements in our namespace too.
//
// Each id, and each parent that is a PCI address, is in the form of [ID.String],
// however it is written. What cannot be read keeps back its own vGPU only: m then has
// the others, in their order, and err says of each what is wrong with it. An id that
// is there twice stands for the first. The error matches [ErrInvalid].
func (d *Document) Metadata() (m Metadata, ok bool, err error) {
	m, ok, errs := d.readMetadata()
	return m, ok, fault.Join(errs...)
}

func (d *Document) readMetadata() (m Metadata, ok bool, errs []error) {
	n, err := d.metadata()
	if err != nil {
		errs = append(errs, err)
	}
	if n == nil {
		return m, false, errs
	}
	if text, ok := n.PathAttr("vm"); ok {
		if m.VM, ok = devicexml.ParseUUID(text); !ok {
			errs = append(errs, &Error{
				Op: "read", Object: "metadata " + MetadataURI, Meaning: fmt.Sprintf("vm=%q is no UUID", clip(text, 60)),
				Cause: "edited by hand", Next: "write the UUID of the domain that it was made for, or leave it out", Kind: ErrInvalid,
			})
		}
	}
	seen := map[ID]bool{}
	for _, c := range n.Children {
		if c.Space != MetadataURI || c.Local != "vgpu" {
			continue
		}
		v, err := readVGPU(c).canonical("read", seen)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		m.VGPUs = append(m.VGPUs, v)
	}
	return m, true, errs
}

// readVGPU reads one vGPU as it is written. Its attributes are ours: those with a
// prefix are another's.
func readVGPU(n *node) (v VGPU) {
	v.ID, _ = n.PathAttr("id")
	v.Type, _ = n.PathAttr("type")
	v.Parent, _ = n.PathAttr("parent")
	v.Lifetime, _ = n.PathAttr("lifetime")
	for _, p := range n.Children {
		if p.Space == MetadataURI && p.Local == "param" {
			name, _ := p.PathAttr("name")
			value, _ := p.PathAttr("value")
			v.Params = append(v.Params, Param{name, value})
		}
	}
	return v
}

// WithMetadata returns the document with m in the place of what it says about
// our vGPUs, and with everything else as it is, other metadata included.
// [Document.WithoutMetadata] gives back the bytes of a document that had none.
//
// Of all elements in one namespace libvirt keeps the first: ours is put before others
// in our namespace.
func (d *Document) WithMetadata(m Metadata) (*Document, error) {
	if err := m.check("write"); err != nil {
		return nil, err
	}
	old, err := d.metadata()
	if err != nil {
		return nil, err
	}
	text := m.element()
	parent := d.root.Child("metadata")
	if parent == nil {
		after := lastOf(d.root, []string{"name", "uuid", "genid", "title", "description"})
		return d.edited(d.insert(d.root, after, wrap("metadata", text)))
	}
	place := len(parent.Children)
	if i := slices.IndexFunc(parent.Children, func(n *node) bool { return n.Space == MetadataURI }); i >= 0 {
		place = i
	}
	switch {
	case old == nil:
	case parent.Children[place] == old:
		l := d.layout(old)
		return d.edited(d.src[:old.Start] + strings.TrimPrefix(l.fit(text), l.lead()) + d.src[old.End:])
	default: // libvirt would drop it
		without, err := d.edited(d.cut(old))
		if err != nil {
			return nil, err
		}
		return without.WithMetadata(m)
	}
	var after *node
	if place > 0 {
		after = parent.Children[place-1]
	}
	return d.edited(d.insert(parent, after, text))
}

// WithoutMetadata returns the document without our metadata, the same document
// if it has none.
func (d *Document) WithoutMetadata() (*Document, error) {
	n, err := d.metadata()
	if err != nil {
		return nil, err
	}
	if n == nil {
		return d, nil
	}
	return d.edited(d.cut(n))
}

// metadata returns our element, nil if there is none. If there are several it returns
// the first, which libvirt would keep, and an error.
func (d *Document) metadata() (found *node, err error) {
	parent := d.root.Child("metadata")
	if parent == nil {
		return nil, nil
	}
	for _, n := range parent.Children {
		switch {
		case n.Space != MetadataURI || n.Local != "vgpus":
		case found == nil:
			found = n
		default:
			return found, &Error{
				Op: "read", Object: "metadata " + MetadataURI, Meaning: "it holds more than one <vgpus>",
				Cause: "edited by hand", Next: "leave one <vgpus> in this namespace, as libvirt allows one element for each", Kind: ErrInvalid,
			}
		}
	}
	return found, nil
}

// check tells whether the metadata can be written: strictly, so that it can be read.
func (m Metadata) check(op string) error {
	seen := map[ID]bool{}
	for _, v := range m.VGPUs {
		if _, err := v.canonical(op, seen); err != nil {
			return err
		}
	}
	return nil
}

// canonical returns the vGPU with its ids in their usual form, if it is valid and not
// one of those seen.
func (v VGPU) canonical(op string, seen map[ID]bool) (VGPU, error) {
	invalid := func(meaning string) (VGPU, error) {
		return VGPU{}, &Error{
			Op: op, Object: fmt.Sprintf("metadata of vGPU %q", clip(v.ID, 60)), Meaning: meaning,
			Next: "name each vGPU once, by its UUID or host PCI address, in characters that XML allows", Kind: ErrInvalid,
		}
	}
	id, err := ParseID(v.ID)
	if err != nil {
		return invalid("the id is neither a UUID nor a PCI address")
	}
	values := []string{v.ID, v.Type, v.Parent, v.Lifetime}
	for _, p := range v.Params {
		if p.Name == "" {
			return invalid("a parameter has no name")
		}
		values = append(values, p.Name, p.Value)
	}
	for _, s := range values {
		if !xmldoc.Allowed(s) {
			return invalid(fmt.Sprintf("%q holds a character that XML does not allow", clip(s, 60)))
		}
	}
	if seen[id] {
		return invalid("it is there twice")
	}
	seen[id] = true
	v.ID = id.String()
	if a, ok := parseAddress(v.Parent); ok {
		v.Parent = a.String()
	}
	return v, nil
}

// element writes the metadata as insert wants it.
func (m Metadata) element() string {
	var b strings.Builder
	attribute := func(name, value string) {
		if value != "" {
			b.WriteString(" " + name + `="`)
			_ = xml.EscapeText(&b, []byte(value)) // a Builder gives no error
			b.WriteByte('"')
		}
	}
	b.WriteString("<" + metadataPrefix + ":vgpus xmlns:" + metadataPrefix + `="` + MetadataURI + `"`)
	if m.VM != uuid.Nil {
		attribute("vm", m.VM.String())
	}
	if len(m.VGPUs) == 0 {
		return b.String() + "/>"
	}
	b.WriteString(">")
	for _, v := range m.VGPUs {
		b.WriteString("\n  <" + metadataPrefix + ":vgpu")
		attribute("id", v.ID)
		attribute("type", v.Type)
		attribute("parent", v.Parent)
		attribute("lifetime", v.Lifetime)
		if len(v.Params) == 0 {
			b.WriteString("/>")
			continue
		}
		b.WriteString(">")
		for _, p := range v.Params {
			b.WriteString("\n    <" + metadataPrefix + ":param")
			attribute("name", p.Name)
			attribute("value", p.Value)
			b.WriteString("/>")
		}
		b.WriteString("\n  </" + metadataPrefix + ":vgpu>")
	}
	b.WriteString("\n</" + metadataPrefix + ":vgpus>")
	return b.String()
}
