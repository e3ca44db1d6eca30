package domain

import "iter"

// node is one element of a parsed document. The offsets point into the
// document's text:
//
//	<name a='b'>…</name>      <name a='b'/>
//	^start      ^startEnd     ^start       ^startEnd = endStart = end
//	             ^endStart ^end
//
// All methods may be called on a nil node, which has neither attributes nor
// children, so that paths can be written in one expression.
type node struct {
	space, prefix, local string // space is the namespace's URI, "" for none
	attrs                []attr // in document order, xmlns declarations among them
	children             []*node
	parent               *node // nil for the root
	start                int   // of '<'
	startEnd             int   // behind the start tag's '>'
	endStart             int   // of the end tag's '<'
	end                  int   // behind the end tag's '>'
	text                 string
	// text is the character data of an element without child elements,
	// references resolved and line ends made '\n'; otherwise it is empty.
}

// attr is one attribute, its value normalised as XML says.
type attr struct {
	space, prefix, local string
	value                string
}

// child returns the first child element of that name in no namespace, or nil.
func (n *node) child(name string) *node {
	for c := range n.all(name) {
		return c
	}
	return nil
}

// all returns the child elements of that name in no namespace, in order.
func (n *node) all(name string) iter.Seq[*node] {
	return func(yield func(*node) bool) {
		if n == nil {
			return
		}
		for _, c := range n.children {
			if c.local == name && c.space == "" && !yield(c) {
				return
			}
		}
	}
}

// attr returns the value of the attribute of that name in no namespace.
func (n *node) attr(name string) (string, bool) {
	if n == nil {
		return "", false
	}
	for i := range n.attrs {
		if a := &n.attrs[i]; a.local == name && a.space == "" && a.prefix == "" {
			return a.value, true
		}
	}
	return "", false
}

// content returns the element's text, or "" for a nil node.
func (n *node) content() string {
	if n == nil {
		return ""
	}
	return n.text
}

// empty tells whether the element is written as a single tag, <name/>.
func (n *node) empty() bool { return n.startEnd == n.end }

// name returns the element's name as it is written.
func (n *node) name() string {
	if n.prefix == "" {
		return n.local
	}
	return n.prefix + ":" + n.local
}
