package domain

import (
	"errors"
	"fmt"

	"github.com/google/uuid"

	"github.com/vgpukit/vgpukit/internal/devicexml"
	"github.com/vgpukit/vgpukit/internal/xmldoc"
)

// The longest document that is read is as long as a message of libvirt's can be, the
// longest that is written is as long as a string in one.
const (
	maxRead = 32 << 20
	maxSize = 4 << 20
)

type node = xmldoc.Node

// Document is a libvirt domain document. It never changes: edits return
// another Document. It is safe for concurrent use.
type Document struct {
	src  string
	root *node
}

// Parse reads a domain document: well-formed XML 1.0 in UTF-8, with or without
// byte order mark and XML declaration, whose root is <domain> in no namespace.
// It may hold anything else that XML allows, except a DOCTYPE.
//
// In <metadata> it takes what libvirt keeps there and gives back, although XML
// Namespaces or XML forbid it: prefixes that are not declared, names such as a:b:c or
// :b, one attribute under two prefixes of the same namespace, and references to
// entities, which stay as they are.
//
// A document of more than 32 MiB, libvirt's longest message, or with an element inside
// of more than 256, is refused. All errors match [ErrInvalid], are *[Error]s and name
// line and column. doc is copied.
//
// Elements and attributes mean what they mean to libvirt: an attribute is known by its
// local name, and of several the first counts. An edit makes no document of more than
// 4 MiB, which libvirt's protocol would not carry, out of a shorter one.
func Parse(doc []byte) (*Document, error) {
	if err := checkSize(len(doc), maxRead, "libvirt's protocol carries no longer message: give a shorter document"); err != nil {
		return nil, err
	}
	return parse(string(doc))
}

// Bytes returns the document. The caller may keep and change the slice.
func (d *Document) Bytes() []byte { return []byte(d.src) }

// String returns the document as text.
func (d *Document) String() string { return d.src }

// Name returns the domain's name, "" if it has none.
func (d *Document) Name() string { return d.root.Child("name").Content() }

// UUID returns the domain's UUID. Without one libvirt makes one up when it
// defines the domain.
func (d *Document) UUID() (uuid.UUID, bool) {
	return devicexml.ParseUUID(d.root.Child("uuid").Content())
}

// Type returns the kind of hypervisor: "kvm", "qemu".
func (d *Document) Type() string {
	t, _ := d.root.Attr("type")
	return t
}

// Machine returns the machine type as it is written: "q35", "pc-q35-9.2"; ""
// if it is left to libvirt.
func (d *Document) Machine() string {
	m, _ := d.root.PathAttr("machine", "os", "type")
	return m
}

func parse(src string) (*Document, error) {
	root, err := xmldoc.Parse(src)
	var malformed *xmldoc.Error
	switch {
	case errors.As(err, &malformed):
		return nil, &Error{Op: "parse", Object: "domain document, " + malformed.Place, Meaning: malformed.Meaning, Next: malformed.Next, Kind: ErrInvalid}
	case err != nil:
		return nil, err
	}
	if root.Local != "domain" || root.Space != "" {
		e := &Error{
			Op: "parse", Object: "domain document",
			Meaning: fmt.Sprintf("the root element is <%s>, not <domain>", clip(root.Name(), 60)),
			Next:    "give one domain, as `virsh dumpxml --inactive` prints it", Kind: ErrInvalid,
		}
		if root.Space != "" {
			e.Meaning = fmt.Sprintf("the root element is <%s> in the namespace %q", clip(root.Name(), 60), clip(root.Space, 60))
			e.Next = "libvirt looks for elements in no namespace: remove the default namespace"
		}
		return nil, e
	}
	return &Document{src: src, root: root}, nil
}

func checkSize(n, limit int, next string) error {
	if n <= limit {
		return nil
	}
	return &Error{
		Op: "parse", Object: "domain document",
		Meaning: fmt.Sprintf("it has %d bytes, more than %d", n, limit),
		Next:    next, Kind: ErrInvalid,
	}
}
