package domain

import (
	"fmt"

	"github.com/google/uuid"
)

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
// A document of more than 4 MiB, or with an element inside of more than 256, is
// refused, as libvirt would. All errors match [ErrInvalid], are *[Error]s and name line and
// column. doc is copied.
func Parse(doc []byte) (*Document, error) {
	if err := checkSize(len(doc)); err != nil {
		return nil, err
	}
	return parse(string(doc))
}

// Bytes returns the document. The caller may keep and change the slice.
func (d *Document) Bytes() []byte { return []byte(d.src) }

// String returns the document as text.
func (d *Document) String() string { return d.src }

// Name returns the domain's name, "" if it has none.
func (d *Document) Name() string { return d.root.child("name").content() }

// UUID returns the domain's UUID. Without one libvirt makes one up when it
// defines the domain.
func (d *Document) UUID() (uuid.UUID, bool) { return parseUUID(d.root.child("uuid").content()) }

// Type returns the kind of hypervisor: "kvm", "qemu".
func (d *Document) Type() string {
	t, _ := d.root.attr("type")
	return t
}

// Machine returns the machine type as it is written: "q35", "pc-q35-9.2"; ""
// if it is left to libvirt.
func (d *Document) Machine() string {
	m, _ := d.root.child("os").child("type").attr("machine")
	return m
}

func parse(src string) (*Document, error) {
	root, err := scan(src)
	if err != nil {
		return nil, err
	}
	if root.local != "domain" || root.space != "" {
		e := &Error{
			Op: "parse", Object: "domain document",
			Meaning: fmt.Sprintf("the root element is <%s>, not <domain>", join(root.prefix, root.local)),
			Next:    "give one domain, as `virsh dumpxml --inactive` prints it", Kind: ErrInvalid,
		}
		if root.space != "" {
			e.Meaning = fmt.Sprintf("the root element is <%s> in the namespace %q", join(root.prefix, root.local), clip(root.space, 60))
			e.Next = "libvirt looks for elements in no namespace: remove the default namespace"
		}
		return nil, e
	}
	return &Document{src: src, root: root}, nil
}

func checkSize(n int) error {
	if n <= maxSize {
		return nil
	}
	return &Error{
		Op: "parse", Object: "domain document",
		Meaning: fmt.Sprintf("it has %d bytes, more than %d", n, maxSize),
		Cause:   "not a domain document",
		Next:    "libvirt's protocol carries no longer string: give a shorter document", Kind: ErrInvalid,
	}
}

// parseUUID reads a UUID as libvirt does: 32 hexadecimal digits, dashes
// anywhere between bytes, white space around.
func parseUUID(s string) (id uuid.UUID, ok bool) {
	for len(s) > 0 && isUUIDSpace(s[0]) {
		s = s[1:]
	}
	for i := 0; i < len(id); {
		if len(s) > 0 && s[0] == '-' {
			s = s[1:]
			continue
		}
		if len(s) < 2 {
			return uuid.UUID{}, false
		}
		high, low := hexDigit(s[0]), hexDigit(s[1])
		if high < 0 || low < 0 {
			return uuid.UUID{}, false
		}
		id[i] = byte(high<<4 | low)
		s = s[2:]
		i++
	}
	for len(s) > 0 && isUUIDSpace(s[0]) {
		s = s[1:]
	}
	if s != "" {
		return uuid.UUID{}, false
	}
	return id, true
}

// isUUIDSpace is C's isspace.
func isUUIDSpace(c byte) bool { return isSpace(c) || c == '\v' || c == '\f' }
