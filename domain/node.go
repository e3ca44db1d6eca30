package domain

import (
	"iter"
	"strings"
)

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
	tag                  string // the start tag as it is written, which attr reads
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

// attr returns the value of the attribute of that name in no namespace. Few of
// a document's attributes are ever asked for: they are not kept, but read from
// the tag, which is known to be well-formed.
func (n *node) attr(name string) (string, bool) {
	if n == nil {
		return "", false
	}
	rest := n.tag[len("<")+len(n.name()):]
	for {
		rest = strings.TrimLeft(rest, " \t\r\n")
		end := strings.IndexAny(rest, "= \t\r\n")
		if end < 0 {
			return "", false // only the tag's end is left
		}
		found := rest[:end] == name
		quote := strings.IndexAny(rest, "'\"")
		length := strings.IndexByte(rest[quote+1:], rest[quote])
		if found {
			value, _, _ := plainText(rest[quote+1:quote+1+length], true)
			return value, true
		}
		rest = rest[quote+1+length+1:]
	}
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
