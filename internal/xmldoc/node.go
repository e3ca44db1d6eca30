package xmldoc

import (
	"iter"
	"slices"
	"strings"
)

// A Node is one element of a document. The offsets point into the document's text:
//
//	<name a='b'>…</name>      <name a='b'/>
//	^Start      ^StartEnd     ^Start       ^StartEnd = EndStart = End
//	             ^EndStart ^End
//
// All methods may be called on a nil Node, which has neither attributes nor
// children, so that paths can be written in one expression.
type Node struct {
	Space    string // the namespace's URI, "" for none
	Prefix   string // as it is written; "" if it is not declared
	Local    string // with the prefix that is not declared: libxml2 takes that for a part of the name
	Tag      string // the start tag as it is written, which Attr reads
	Children []*Node
	Parent   *Node // nil for the root
	Start    int   // of '<'
	StartEnd int   // behind the start tag's '>'
	EndStart int   // of the end tag's '<'
	End      int   // behind the end tag's '>'
	Text     string
	// Text is the character data of an element without child elements,
	// references resolved and line ends made '\n'; otherwise it is empty.

	undeclared *[]string // the attributes whose prefix is not declared, as they are written; nil as a rule
}

// Child returns the first child element of that name in no namespace, or nil.
func (n *Node) Child(name string) *Node {
	for c := range n.All(name) {
		return c
	}
	return nil
}

// All returns the child elements of that name in no namespace, in order.
func (n *Node) All(name string) iter.Seq[*Node] { return n.In("", name) }

// Path returns the first element that the XPath ./names[0]/names[1]… finds, or nil:
// of <source/><source><address/></source> the address.
func (n *Node) Path(names ...string) *Node {
	for found := range n.In("", names...) {
		return found
	}
	return nil
}

// PathAttr returns the value that the XPath ./names…/@name finds first: of an
// attribute in no namespace, as XPath has it.
func (n *Node) PathAttr(name string, names ...string) (string, bool) {
	for found := range n.In("", names...) {
		if value, written := found.find(name, false); written {
			return value, true
		}
	}
	return "", false
}

// In returns what the XPath ./names[0]/names[1]… finds of elements that are all in the
// namespace of that URI, "" for none, in order.
func (n *Node) In(space string, names ...string) iter.Seq[*Node] {
	return func(yield func(*Node) bool) { n.walk(space, names, yield) }
}

func (n *Node) walk(space string, names []string, yield func(*Node) bool) bool {
	if n == nil {
		return true
	}
	if len(names) == 0 {
		return yield(n)
	}
	for _, c := range n.Children {
		if c.Local == names[0] && c.Space == space && !c.walk(space, names[1:], yield) {
			return false
		}
	}
	return true
}

// Attr returns the value of the first attribute of that local name, in whatever
// namespace: xmlGetProp, by which libvirt reads attributes, looks at no more.
func (n *Node) Attr(name string) (string, bool) { return n.find(name, true) }

// An Attribute is one as it is written, as offsets into the document's text:
//
//	<name a='b'/>
//	      ^Start
//	         ^Value
//	          ^End  of the value; the quote is behind it
type Attribute struct{ Start, Value, End int }

// Written returns where the first attribute of that local name is written; see Attr.
func (n *Node) Written(name string) (a Attribute, ok bool) {
	if a, ok = n.written(name, true); ok {
		a.Start += n.Start
		a.Value += n.Start
		a.End += n.Start
	}
	return a, ok
}

func (n *Node) find(name string, prefixed bool) (string, bool) {
	a, ok := n.written(name, prefixed)
	if !ok {
		return "", false
	}
	value, _, _ := plainText(n.Tag[a.Value:a.End], true, true)
	return value, true
}

// written returns where an attribute is in the tag. Few of a document's attributes are ever
// asked for: they are not kept, but read from the tag, which is known to be
// well-formed.
func (n *Node) written(name string, prefixed bool) (a Attribute, ok bool) {
	if n == nil {
		return a, false
	}
	at := len("<") + len(n.Name())
	for {
		rest := strings.TrimLeft(n.Tag[at:], " \t\r\n")
		end := strings.IndexAny(rest, "= \t\r\n")
		if end < 0 {
			return a, false // only the tag's end is left
		}
		quote := strings.IndexAny(rest, "'\"")
		length := strings.IndexByte(rest[quote+1:], rest[quote])
		a.Start = len(n.Tag) - len(rest)
		a.Value = a.Start + quote + 1
		a.End = a.Value + length
		if rest[:end] == name || prefixed && n.local(rest[:end], name) {
			return a, true
		}
		at = a.End + 1
	}
}

// local tells whether an attribute, as it is written, has that local name: a
// declaration is no attribute, and a prefix that is not declared is a part of the
// name.
func (n *Node) local(written, name string) bool {
	prefix, ok := strings.CutSuffix(written, name)
	if !ok || len(prefix) < len("a:") || strings.IndexByte(prefix, ':') != len(prefix)-1 {
		return false
	}
	return prefix != "xmlns:" && (n.undeclared == nil || !slices.Contains(*n.undeclared, written))
}

// Content returns the element's text, or "" for a nil Node.
func (n *Node) Content() string {
	if n == nil {
		return ""
	}
	return n.Text
}

// Empty tells whether the element is written as a single tag, <name/>.
func (n *Node) Empty() bool { return n.StartEnd == n.End }

// Name returns the element's name as it is written.
func (n *Node) Name() string {
	if n.Prefix == "" {
		return n.Local
	}
	return n.Prefix + ":" + n.Local
}
