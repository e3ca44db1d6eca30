package xmldoc

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Attributes and paths are found as xmlGetProp and XPath find them.
func TestAttributesAndPaths(t *testing.T) {
	root, err := Parse(`<r xmlns:a='u' a:x='1' x='2' xmlns:y='v' xml:y='3' a:z = "4"><b/><b c='5'/><a:b c='6'/><b><d/></b><b><d a:e='7'/><d e='8'>t</d></b></r>`)
	require.NoError(t, err)
	for name, want := range map[string]string{"x": "1", "y": "3", "z": "4", "a:x": "1", "a": "", "": ""} {
		got, ok := root.Attr(name)
		assert.Equal(t, want, got, name)
		assert.Equal(t, want != "", ok, name)
	}
	for name, want := range map[string]string{"x": "2", "y": "", "z": ""} {
		got, ok := root.PathAttr(name)
		assert.Equal(t, want, got, name)
		assert.Equal(t, want != "", ok, name)
	}
	c, _ := root.PathAttr("c", "b")
	assert.Equal(t, "5", c)
	e, _ := root.PathAttr("e", "b", "d")
	assert.Equal(t, "8", e)
	assert.Equal(t, root.Children[3].Children[0], root.Path("b", "d"))
	assert.Nil(t, root.Path("b", "d", "e"))
	var none *Node
	assert.Nil(t, none.Path("a"))
	_, ok := none.PathAttr("a", "b")
	assert.False(t, ok)
	_, ok = none.Attr("a")
	assert.False(t, ok)
}

// Written says where an attribute and its value are in the document.
func TestWritten(t *testing.T) {
	const text = `<r a:x='1'><b y = "2" /></r>`
	root, err := ParseLoose(text)
	require.NoError(t, err)
	a, ok := root.Written("a:x")
	assert.True(t, ok)
	assert.Equal(t, `a:x='1`, text[a.Start:a.End])
	b, ok := root.Children[0].Written("y")
	assert.True(t, ok)
	assert.Equal(t, []string{`y = "2`, "2"}, []string{text[b.Start:b.End], text[b.Value:b.End]})
	_, ok = root.Written("y")
	assert.False(t, ok)
}

// An error says where, and a device's element is read with whatever prefixes it has.
func TestParseLoose(t *testing.T) {
	const text = `<hostdev q:type='usb' type='pci' a:b:c='&x;'><:b/></hostdev>`
	_, err := Parse(text)
	require.EqualError(t, err, `line 1, column 34: "a:b:c='&x;'>…" does not begin with a valid name`)
	n, err := ParseLoose(text)
	require.NoError(t, err)
	kind, _ := n.Attr("type")
	assert.Equal(t, "pci", kind)
	kept, _ := n.Attr("b:c")
	assert.Empty(t, kept) // a is not declared, and so it is a part of the name
	kept, _ = n.Attr("a:b:c")
	assert.Equal(t, "&x;", kept)
	for _, text := range []string{"", "<a/><b/>", "<a b='1' b='2'/>", "<!DOCTYPE a><a/>"} {
		_, err := ParseLoose(text)
		require.Error(t, err, text)
	}
}

// No text makes the reader panic or read outside of it, and a name is where it says.
func FuzzParse(f *testing.F) {
	f.Add("<a:b:c xmlns:a='<&' :d='&e;'><?f:g?><metadata q:r=''/></a:b:c>")
	f.Add("<domain><metadata><q:a x:y='1'/></metadata></domain>")
	f.Fuzz(func(t *testing.T, text string) {
		for _, parse := range []func(string) (*Node, error){Parse, ParseLoose} {
			n, err := parse(text)
			if err == nil {
				walk(t, text, n)
			}
		}
	})
}

func walk(t *testing.T, text string, n *Node) {
	if end := n.Start + 1 + len(n.Name()); end > n.StartEnd || text[n.Start:end] != "<"+n.Name() {
		t.Fatalf("<%s> is not at %d: %q", n.Name(), n.Start, text)
	}
	value, there := n.Attr("type")
	a, written := n.Written("type")
	if there != written || written && (text[a.Value-1] != text[a.End] || !strings.HasSuffix(text[a.Start:a.Value-1], "=") && !strings.ContainsAny(text[a.Start:a.Value-1], " \t\r\n")) {
		t.Fatalf("type=%q is not at %v: %q", value, a, text)
	}
	for _, c := range n.Children {
		walk(t, text, c)
	}
}
