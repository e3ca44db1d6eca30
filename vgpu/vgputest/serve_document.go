package vgputest

import (
	"context"
	"encoding/xml"
	"strings"

	"github.com/vgpukit/vgpukit/domain"
	"github.com/vgpukit/vgpukit/internal/devicexml"
	rpc "github.com/vgpukit/vgpukit/internal/libvirtrpc"
)

// What clients may ask of a document (virDomainXMLFlags).
const (
	xmlSecure     = 1 << 0
	xmlInactive   = 1 << 1
	xmlUpdateCPU  = 1 << 2 // nothing to update here
	xmlMigratable = 1 << 3

	xmlFlags = xmlSecure | xmlInactive | xmlUpdateCPU | xmlMigratable
)

// document gives the document, as the flags ask; each form of it counts as the call
// of its own method.
func (c *client) document(ctx context.Context, a *rpc.FlagArgs) (rpc.Text, error) {
	if err := checkFlags(a.Flags, xmlFlags, "qemuDomainGetXMLDesc"); err != nil {
		return rpc.Text{}, err
	}
	if c.readOnly.Load() && a.Flags&(xmlSecure|xmlMigratable) != 0 {
		return rpc.Text{}, refuse(rpc.CodeDenied, domain.ErrPermission, "operation forbidden: virDomainGetXMLDesc with secure flag")
	}
	method, form := "LiveXML", func(m *machine) (string, error) { return m.current(), nil }
	switch {
	case a.Flags&xmlMigratable != 0:
		method, form = "MigratableXML", func(m *machine) (string, error) { return inactive(m.current()), nil }
	case a.Flags&xmlInactive != 0 && a.Flags&xmlSecure != 0:
		method, form = "Definition", func(m *machine) (string, error) { return inactive(m.next()), nil }
	case a.Flags&xmlInactive != 0:
		method, form = "XML", func(m *machine) (string, error) { return inactive(m.next()), nil }
	}
	doc, err := ask(ctx, c.h, method, handleOf(a.Dom), form)
	if a.Flags&xmlSecure == 0 {
		doc = withoutSecrets(doc)
	}
	return rpc.Text{Text: doc}, err
}

// shape is what is told of a document in numbers.
type shape struct {
	Memory  amount `xml:"memory"`
	Current amount `xml:"currentMemory"`
	CPUs    uint16 `xml:"vcpu"`
}

type amount struct {
	Unit string `xml:"unit,attr"`
	N    uint64 `xml:",chardata"`
}

// units are libvirt's, in bytes.
var units = map[string]uint64{
	"b": 1, "bytes": 1, "": 1 << 10, "k": 1 << 10, "KiB": 1 << 10, "KB": 1e3, "M": 1 << 20, "MiB": 1 << 20, "MB": 1e6,
	"G": 1 << 30, "GiB": 1 << 30, "GB": 1e9, "T": 1 << 40, "TiB": 1 << 40, "TB": 1e12,
}

func (a amount) kib() uint64 { return a.N * max(units[a.Unit], 1) / 1024 }

// shapeOf reads what it can: a document that says nothing has one CPU and no memory.
func shapeOf(doc string) shape {
	s := shape{}
	_ = xml.Unmarshal([]byte(doc), &s)
	s.CPUs = max(s.CPUs, 1)
	if s.Current.N == 0 {
		s.Current = s.Memory
	}
	return s
}

// The kinds of metadata (virDomainMetadataType).
const (
	metadataDescription = 0
	metadataTitle       = 1
	metadataElement     = 2
)

func (c *client) metadata(ctx context.Context, a *rpc.MetadataArgs) (rpc.Text, error) {
	if err := checkFlags(a.Flags, affects, "qemuDomainGetMetadata"); err != nil {
		return rpc.Text{}, err
	}
	found, err := ask(ctx, c.h.Virsh(), "XML", handleOf(a.Dom), func(m *machine) (string, error) {
		scope := m.scope(a.Flags)
		if err := m.has(scope); err != nil {
			return "", err
		}
		doc := m.saved
		if scope&domain.ScopeLive != 0 {
			doc = m.live
		}
		switch a.Type {
		case metadataDescription:
			return textAt(doc, "domain/description"), nil
		case metadataTitle:
			return textAt(doc, "domain/title"), nil
		}
		return elementOf(doc, text(a.URI)), nil
	})
	if err == nil && found == "" {
		err = refuse(codeNoMetadata, domain.ErrNotFound, "metadata not found: Requested metadata element is not present")
	}
	return rpc.Text{Text: found}, err
}

func (c *client) setMetadata(ctx context.Context, a *rpc.SetMetadataArgs) (rpc.Void, error) {
	if err := checkFlags(a.Flags, affects, "qemuDomainSetMetadata"); err != nil {
		return rpc.Void{}, err
	}
	if a.Type != metadataElement || text(a.URI) != domain.MetadataURI {
		return rpc.Void{}, refuse(codeArgumentUnsupported, domain.ErrUnsupported, "argument unsupported: only metadata of %s can be set here", domain.MetadataURI)
	}
	scope, err := c.scope(ctx, a.Dom, a.Flags)
	if err != nil {
		return rpc.Void{}, err
	}
	element := text(a.Metadata)
	if element != "" {
		if element, err = inNamespace(element, text(a.Key), text(a.URI)); err != nil {
			return rpc.Void{}, err
		}
	}
	return rpc.Void{}, c.h.SetMetadata(ctx, handleOf(a.Dom), element, scope)
}

// elementOf is the element of a namespace in <metadata>, "" if there is none.
func elementOf(doc, uri string) string {
	for metadata := range tree(doc).In("", "metadata") {
		for _, c := range metadata.Children {
			if c.Space == uri {
				return doc[c.Start:c.End]
			}
		}
	}
	return ""
}

// inNamespace puts an element, and what in it has no prefix, into a namespace.
func inNamespace(element, prefix, uri string) (string, error) {
	found, err := devicexml.Find(element, 0)
	if err != nil || len(found) != 1 {
		return "", xmlError("metadata is not one element: %v", err)
	}
	element = found[0].Element
	var b, escaped strings.Builder
	_ = xml.EscapeText(&escaped, []byte(uri))
	declaration := ` xmlns:` + prefix + `="` + escaped.String() + `"`
	dec := xml.NewDecoder(strings.NewReader(element))
	for begin := 0; begin < len(element); {
		token, err := dec.RawToken()
		if err != nil {
			return "", xmlError("%v", err)
		}
		end := int(dec.InputOffset())
		raw := element[begin:end]
		switch t := token.(type) {
		case xml.StartElement:
			if t.Name.Space == "" {
				raw = "<" + prefix + ":" + raw[len("<"):]
			}
			if begin == 0 {
				name := strings.IndexAny(raw, " \t\r\n/>")
				raw = put(raw, name, name, declaration)
			}
		case xml.EndElement:
			if t.Name.Space == "" && raw != "" { // that of <a/> has no text of its own
				raw = "</" + prefix + ":" + raw[len("</"):]
			}
		}
		b.WriteString(raw)
		begin = end
	}
	if _, err := domain.Parse([]byte("<domain>" + b.String() + "</domain>")); err != nil {
		return "", xmlError("%v", err)
	}
	return b.String(), nil
}

// textAt is the text of an element without elements in it.
func textAt(doc, path string) string {
	s, ok := locate(doc, path)
	if !ok || s.inner > s.innerEnd {
		return ""
	}
	var v struct {
		Text string `xml:",chardata"`
	}
	_ = xml.Unmarshal([]byte(doc[s.start:s.end]), &v)
	return v.Text
}
