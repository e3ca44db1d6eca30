package domain

import (
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/vgpukit/vgpukit/internal/xmldoc"
)

// sample has something of all that a document may hold.
const sample = `<?xml version='1.0' encoding='UTF-8'?>
<!-- written by hand -->
<domain type='kvm' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>
  <name>sample &amp; more</name>
  <uuid>c7a5fdbd-edaf-9455-926a-d65c16db1809</uuid>
  <metadata>
    <app:devices xmlns:app="urn:app"><app:hostdev>1</app:hostdev><hostdev xmlns="" type='mdev'/></app:devices>
  </metadata>
  <os>
    <type arch='x86_64' machine='q35'>hvm</type>
  </os>
  <devices>
    <emulator><![CDATA[/usr/bin/qemu-system-x86_64]]></emulator>
    <!-- <hostdev mode='subsystem' type='mdev'/> -->
    <graphics type='vnc'/>
    <video>
      <model type='none'/>
    </video>
    <hostdev mode='subsystem' type='pci' managed='yes'>
      <source>
        <address domain='0x0000' bus='0x06' slot='0x12' function='0x5'/>
      </source>
    </hostdev> <!-- the network card -->
    <memballoon model='none'/>
  </devices>
  <qemu:commandline>
    <qemu:arg value='-device'/>
  </qemu:commandline>
</domain>
`

// agreesWithDecoder compares the tree with what encoding/xml reads, and its
// offsets with the text.
func agreesWithDecoder(t *testing.T, d *Document) {
	t.Helper()
	checkOffsets(t, d, d.root)
	if !strict(d.src) {
		return // encoding/xml reads no such document
	}
	dec := xml.NewDecoder(strings.NewReader(strings.TrimPrefix(d.src, "\ufeff")))
	var open []*node
	next := map[*node]int{}
	text := map[*node]*strings.Builder{}
	for {
		tok, err := dec.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			// encoding/xml knows the names of XML's fourth edition only: those of
			// elements are found in the tree, those of instructions in its error.
			if otherName(d.root) || strings.Contains(err.Error(), "invalid XML name") && strings.ContainsFunc(d.src, func(r rune) bool { return r > utf8.RuneSelf }) {
				return
			}
			t.Fatalf("taken, but encoding/xml says %v: %q", err, d.src)
		}
		switch tok := tok.(type) {
		case xml.StartElement:
			n := d.root
			if len(open) > 0 {
				parent := open[len(open)-1]
				if next[parent] >= len(parent.Children) {
					t.Fatalf("<%s> is missing in <%s>: %q", tok.Name.Local, parent.Local, d.src)
				}
				n = parent.Children[next[parent]]
				next[parent]++
			}
			if n.Local != tok.Name.Local || blank(n.Space) != blank(tok.Name.Space) {
				t.Fatalf("<%s> in %q, want %v: %q", n.Local, n.Space, tok, d.src)
			}
			first := map[string]bool{}
			for _, a := range tok.Attr {
				if a.Name.Space == "xmlns" || a.Name.Local == "xmlns" {
					continue
				}
				if value, ok := n.PathAttr(a.Name.Local); a.Name.Space == "" && (!ok || blank(value) != blank(a.Value)) {
					t.Fatalf("attribute %v is %q: %q", a, value, d.src)
				}
				if value, ok := n.Attr(a.Name.Local); !first[a.Name.Local] && (!ok || blank(value) != blank(a.Value)) {
					t.Fatalf("the first attribute %s is %q, want %v: %q", a.Name.Local, value, a, d.src)
				}
				first[a.Name.Local] = true
			}
			if _, ok := n.Attr("no-such"); ok {
				t.Fatalf("<%s> has more attributes than %v: %q", n.Local, tok, d.src)
			}
			open = append(open, n)
			text[n] = &strings.Builder{}
		case xml.EndElement:
			n := open[len(open)-1]
			open = open[:len(open)-1]
			if next[n] != len(n.Children) {
				t.Fatalf("<%s> has %d children, want %d: %q", n.Local, len(n.Children), next[n], d.src)
			}
			if want := text[n].String(); len(n.Children) == 0 && n.Text != want {
				t.Fatalf("text %q, want %q: %q", n.Text, want, d.src)
			}
		case xml.CharData:
			if len(open) > 0 {
				text[open[len(open)-1]].Write(tok)
			}
		}
	}
}

// strict tells whether a document would be taken if it were not in <metadata> that it
// holds what XML Namespaces forbids, or an entity.
func strict(src string) bool {
	_, err := xmldoc.Parse(strings.ReplaceAll(src, "metadata", "metabata"))
	return err == nil
}

// blank makes white space in attributes alike, which encoding/xml keeps.
func blank(s string) string { return strings.NewReplacer("\n", " ", "\t", " ", "\r", " ").Replace(s) }

func checkOffsets(t *testing.T, d *Document, n *node) {
	t.Helper()
	ok := strings.HasPrefix(d.src[n.Start:], "<"+n.Name()) && d.src[n.StartEnd-1] == '>' && n.StartEnd <= n.EndStart
	if n.Empty() {
		ok = ok && d.src[n.StartEnd-2] == '/' && n.EndStart == n.End && len(n.Children) == 0
	} else {
		ok = ok && strings.HasPrefix(d.src[n.EndStart:], "</"+n.Name()) && d.src[n.End-1] == '>'
	}
	at := n.StartEnd
	for _, c := range n.Children {
		ok = ok && c.Parent == n && c.Start >= at && c.End <= n.EndStart
		at = c.End
		checkOffsets(t, d, c)
	}
	if !ok {
		t.Fatalf("offsets of <%s>: %d %d %d %d in %q", n.Local, n.Start, n.StartEnd, n.EndStart, n.End, d.src)
	}
}

func otherName(n *node) bool {
	other := func(s string) bool { return strings.ContainsFunc(s, func(r rune) bool { return r >= utf8.RuneSelf }) }
	if other(n.Tag) {
		return true
	}
	for _, c := range n.Children {
		if otherName(c) {
			return true
		}
	}
	return false
}
