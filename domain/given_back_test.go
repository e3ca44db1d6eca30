package domain

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// givenBack are documents as libvirt (9.0 and 11.3) gives them back, of what it keeps
// in <metadata> though XML Namespaces or XML itself forbid it.
var givenBack = map[string]string{
	"undeclared prefix":          inMetadata(`<x:y xmlns:x="u"><q:z q:w="1"><q:v/>t</q:z></x:y>`),
	"undeclared on metadata":     `<domain><metadata xmlns:a="urn:a" q:k="1"><a:z/></metadata></domain>`,
	"attribute twice by URI":     inMetadata(`<a:z a:w="1" b:w="2"/>`),
	"name of three parts":        inMetadata(`<a:b:c d:e:f="1"><g:h:i:j></g:h:i:j></a:b:c>`),
	"colon first":                inMetadata(`<a:z :k="1"><:b>t</:b><:/></a:z>`),
	"colon last":                 inMetadata(`<a:z a:="1"><a:/><a:b:></a:b:></a:z>`),
	"digit behind the colon":     inMetadata(`<a:z b:1="4"><a:1b></a:1b><a:-/></a:z>`),
	"two colons":                 inMetadata(`<a:z><a::c/><::/></a:z>`),
	"instruction":                inMetadata(`<a:z><?a:b x?><?:c?><?xml:d?></a:z>`),
	"entity":                     inMetadata(`<a:z b="&x;&lt;">&x;<c>&x;t</c>&y.z:1;</a:z>`),
	"entity of a long name":      inMetadata(`<a:z>&` + strings.Repeat("x", 60) + `;</a:z>`),
	"declaration of many colons": inMetadata(`<a:z xmlns:a:b="u" a:b:c="1"/>`),
	"left of a bad declaration":  inMetadata(`<a:z c:d="1"><c:e/></a:z>`),
	"namespace not escaped":      inMetadata(`<a:z xmlns:c="<&"><c:e xmlns='"&x'/></a:z>`),
	"long prefix":                inMetadata(`<` + strings.Repeat("p", 40000) + `:` + strings.Repeat("n", 40000) + `/>`),
	"more than 4 MiB":            inMetadata(`<a:z>` + strings.Repeat("x", maxSize) + `</a:z>`),
	"another element of ours":    inMetadata(`<v:other xmlns:v="` + MetadataURI + `"/>`),
	"a bad id":                   inMetadata(`<v:vgpus xmlns:v="` + MetadataURI + `"><v:vgpu id="bad"/></v:vgpus>`),
}

func inMetadata(text string) string {
	return "<domain type='kvm'>\n  <name>vm</name>\n  <metadata xmlns:a=\"urn:a\" xmlns:b=\"urn:a\">\n    " + text +
		"\n  </metadata>\n  <devices>\n    <emulator/>\n  </devices>\n</domain>\n"
}

// What libvirt gives back is read, and edits keep every byte of it.
func TestWhatLibvirtGivesBackIsRead(t *testing.T) {
	for name, text := range givenBack {
		t.Run(name, func(t *testing.T) {
			d, err := Parse([]byte(text))
			require.NoError(t, err)
			assert.Equal(t, text, d.String())
			checkOffsets(t, d, d.root)
			if len(text) > maxSize {
				_, err := d.Add(first())
				requireError(t, err, ErrInvalid, "more than")
				return
			}
			added, err := d.Add(first())
			require.NoError(t, err)
			reparse(t, added, d, func(d *Document) (*Document, error) { return d.Remove(firstID) })
			if strings.Contains(text, "v:vgpus") {
				return
			}
			with, err := added.WithMetadata(someMetadata())
			require.NoError(t, err)
			got, ok, err := mustParse(t, with.src).Metadata()
			require.NoError(t, err)
			assert.True(t, ok)
			assert.Equal(t, someMetadata(), got)
			reparse(t, with, added, (*Document).WithoutMetadata)
		})
	}
}

// Only <metadata> is read so: elsewhere libvirt would pass over what the author meant.
func TestOnlyMetadataIsReadLoosely(t *testing.T) {
	for _, text := range []string{
		"<domain><metadata/><q:a/></domain>",
		"<domain><metadata></metadata><a b:c=''/></domain>",
		"<domain><a><metadata><q:b/></metadata></a></domain>",
		"<domain xmlns:q='u'><q:metadata><x:b/></q:metadata></domain>",
		"<domain><metadata><a xmlns='u'>&x;</a></metadata>&x;</domain>",
		"<domain><metadata><a xmlns='u' b='1' b='2'/></metadata></domain>",
		"<domain><metadata><q:a q:b='1' q:b='2'/></metadata></domain>",
		"<domain><metadata><a:b></a:c></metadata></domain>",
		"<domain><metadata><a:b></b></metadata></domain>",
		"<domain><metadata><?XML?></metadata></domain>",
		"<domain><metadata>& &;</metadata></domain>",
		"<domain><metadata>&1;</metadata></domain>",
		"<domain><metadata>&#0;</metadata></domain>",
		"<domain><metadata><a&x;/></metadata></domain>",
	} {
		refuses(t, text)
	}
}

// A prefix that is not declared is a part of the name, so that neither the element nor
// the attribute is what it would be with one that is.
func TestAnUndeclaredPrefixIsPartOfTheName(t *testing.T) {
	d := mustParse(t, inMetadata(`<q:vgpus q:id="1" a:id="2" id="3"/><w:k xmlns:w="u"/>`))
	n := d.root.Child("metadata").Children[0]
	assert.Equal(t, "q:vgpus", n.Local)
	assert.Empty(t, n.Space+n.Prefix)
	id, _ := n.Attr("id")
	assert.Equal(t, "2", id)
	id, _ = n.PathAttr("id")
	assert.Equal(t, "3", id)
}

// A document that libvirt gave back may get shorter, though it is longer than what its
// protocol carries, and no longer.
func TestALongDocumentMayGetShorter(t *testing.T) {
	long := strings.Replace(givenBack["more than 4 MiB"], "<emulator/>",
		"<hostdev mode='subsystem' type='pci' managed='no'><source><address domain='0x0000' bus='0x41' slot='0x00' function='0x4'/></source></hostdev>", 1)
	d := mustParse(t, long)
	removed, err := d.Remove(firstVF)
	require.NoError(t, err)
	assert.Less(t, len(removed.src), len(long))
	moved, err := d.Replace(map[string]string{firstVF: "0000:41:00.5"})
	require.NoError(t, err)
	assert.Len(t, moved.Hostdevs(), 1)
	_, err = d.WithMetadata(someMetadata())
	requireError(t, err, ErrInvalid, "more than")
}
