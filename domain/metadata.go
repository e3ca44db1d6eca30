package domain

import (
	"encoding/xml"
	"fmt"
	"strings"
	"unicode/utf8"
)

// MetadataURI is the namespace of our element in a document's <metadata>:
//
//	<metadata>
//	  <vgpukit:vgpus xmlns:vgpukit="https://github.com/vgpukit/vgpukit/domain/1">
//	    <vgpukit:vgpu id="c2177883-f1bb-47f0-914d-32a22e3a8804" type="nvidia-22" parent="0000:05:00.0" lifetime="reserved">
//	      <vgpukit:param name="vgpu_params" value="frame_rate_limiter=0"/>
//	    </vgpukit:vgpu>
//	  </vgpukit:vgpus>
//	</metadata>
//
// libvirt keeps it with the domain and shows it in virsh metadata.
const MetadataURI = "https://github.com/vgpukit/vgpukit/domain/1"

const metadataPrefix = "vgpukit"

// Metadata says which of a domain's vGPUs are ours, and how to make them again.
type Metadata struct {
	VGPUs []VGPU `json:"vgpus"`
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
// so that a newer version may add some. An error matches [ErrInvalid].
func (d *Document) Metadata() (m Metadata, ok bool, err error) {
	n, err := d.metadata()
	if n == nil || err != nil {
		return Metadata{}, false, err
	}
	for _, c := range n.children {
		if c.space != MetadataURI || c.local != "vgpu" {
			continue
		}
		var v VGPU
		v.ID, _ = c.attr("id")
		v.Type, _ = c.attr("type")
		v.Parent, _ = c.attr("parent")
		v.Lifetime, _ = c.attr("lifetime")
		for _, p := range c.children {
			if p.space == MetadataURI && p.local == "param" {
				name, _ := p.attr("name")
				value, _ := p.attr("value")
				v.Params = append(v.Params, Param{name, value})
			}
		}
		m.VGPUs = append(m.VGPUs, v)
	}
	if err := m.check("read"); err != nil {
		return Metadata{}, false, err
	}
	return m, true, nil
}

// WithMetadata returns the document with m in the place of what it says about
// our vGPUs, and with everything else as it is, other metadata included.
// [Document.WithoutMetadata] gives back the bytes of a document that had none.
func (d *Document) WithMetadata(m Metadata) (*Document, error) {
	if err := m.check("write"); err != nil {
		return nil, err
	}
	old, err := d.metadata()
	if err != nil {
		return nil, err
	}
	text := m.element()
	if old != nil {
		l := d.layout(old)
		return d.edited(d.src[:old.start] + strings.TrimPrefix(l.fit(text), l.lead()) + d.src[old.end:])
	}
	parent := d.root.child("metadata")
	if parent == nil {
		after := lastOf(d.root, []string{"name", "uuid", "genid", "title", "description"})
		return d.edited(d.insert(d.root, after, wrap("metadata", text)))
	}
	var after *node
	if n := len(parent.children); n > 0 {
		after = parent.children[n-1]
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

// metadata returns our element, nil if there is none.
func (d *Document) metadata() (*node, error) {
	parent := d.root.child("metadata")
	if parent == nil {
		return nil, nil
	}
	var found *node
	for _, n := range parent.children {
		if n.space != MetadataURI {
			continue
		}
		if n.local != "vgpus" || found != nil {
			return nil, &Error{
				Op: "read", Object: "metadata " + MetadataURI, Meaning: "it holds more than one <vgpus>",
				Cause: "edited by hand", Next: "leave one <vgpus> in this namespace, as libvirt allows one element for each", Kind: ErrInvalid,
			}
		}
		found = n
	}
	return found, nil
}

func (m Metadata) check(op string) error {
	invalid := func(id, meaning string) error {
		return &Error{
			Op: op, Object: fmt.Sprintf("metadata of vGPU %q", clip(id, 60)), Meaning: meaning,
			Next: "name each vGPU once, by its UUID or host PCI address, in characters that XML allows", Kind: ErrInvalid,
		}
	}
	seen := map[Hostdev]bool{}
	for _, v := range m.VGPUs {
		var key Hostdev
		if a, ok := parseAddress(v.ID); ok {
			key.VF = a.String()
		} else if id, ok := parseUUID(v.ID); ok {
			key.UUID = id
		} else {
			return invalid(v.ID, "the id is neither a UUID nor a PCI address")
		}
		if seen[key] {
			return invalid(v.ID, "it is there twice")
		}
		seen[key] = true
		values := []string{v.ID, v.Type, v.Parent, v.Lifetime}
		for _, p := range v.Params {
			if p.Name == "" {
				return invalid(v.ID, "a parameter has no name")
			}
			values = append(values, p.Name, p.Value)
		}
		for _, s := range values {
			if !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return !isChar(r) }) {
				return invalid(v.ID, fmt.Sprintf("%q holds a character that XML does not allow", clip(s, 60)))
			}
		}
	}
	return nil
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
