package domain

import (
	"fmt"
	"strings"
)

// Limits of a document. libvirt's protocol carries no longer string, and its
// XML parser goes no deeper and takes no longer name.
const (
	maxSize  = 4 << 20
	maxDepth = 256
	maxName  = 50000
)

const (
	xmlSpace   = "http://www.w3.org/XML/1998/namespace"
	xmlnsSpace = "http://www.w3.org/2000/xmlns/"
)

// scanner reads a well-formed, namespace-well-formed XML 1.0 document into a
// tree whose strings share the document's memory. encoding/xml is no help
// here: it takes documents that libvirt refuses (an attribute twice, "]]>" in
// text, "--" in comments…), loses prefixes and has no exact offsets.
type scanner struct {
	src  string
	pos  int
	open []frame // the elements that are not closed yet

	space    string            // the default namespace
	prefixes map[string]string // the declared prefixes; made when there is one
	undo     []binding         // what declarations replaced, to be put back

	tagAttrs []attr  // of the tag being read
	siblings []*node // children of the open elements, innermost last
	nodes    slab[node]
	children slab[*node]
}

type frame struct {
	node     *node
	siblings int    // where its children begin in scanner.siblings
	undo     int    // where its declarations begin in scanner.undo
	text     string // the first piece of text
	more     []byte // all of it, as soon as there is a second piece
}

// attr is the name of an attribute.
type attr struct{ space, prefix, local string }

type binding struct {
	prefix, uri string
	declared    bool
}

// slab hands out slices from larger allocations, which it never moves.
type slab[T any] struct{ free []T }

func (s *slab[T]) take(n int) []T {
	if n > len(s.free) {
		s.free = make([]T, max(n, min(512, 2*cap(s.free)+32)))
	}
	taken := s.free[:n:n]
	s.free = s.free[n:]
	return taken
}

// scan reads a whole document and returns its root element.
func scan(src string) (*node, error) {
	s := &scanner{src: src}
	if err := s.checkEncoding(); err != nil {
		return nil, err
	}
	if err := s.declaration(); err != nil {
		return nil, err
	}
	if err := s.misc(); err != nil {
		return nil, err
	}
	if s.pos == len(s.src) {
		return nil, s.errorf(s.pos, "the document has no element")
	}
	root, err := s.elements()
	if err != nil {
		return nil, err
	}
	if err := s.misc(); err != nil {
		return nil, err
	}
	if s.pos < len(s.src) {
		return nil, s.errorf(s.pos, "something follows the end of <%s>", root.local)
	}
	return root, nil
}

// misc skips white space, comments and processing instructions around the root.
func (s *scanner) misc() error {
	for {
		s.skipSpace()
		var err error
		switch rest := s.src[s.pos:]; {
		case strings.HasPrefix(rest, "<!--"):
			err = s.comment()
		case strings.HasPrefix(rest, "<?"):
			err = s.instruction()
		case strings.HasPrefix(rest, "<!DOCTYPE"):
			e := s.errorf(s.pos, "a DOCTYPE is not allowed in a domain document")
			e.Next = "remove the DOCTYPE and write entities out; libvirt needs neither"
			return e
		case rest == "", rest[0] == '<':
			return nil
		default:
			return s.errorf(s.pos, "text outside of the root element")
		}
		if err != nil {
			return err
		}
	}
}

// elements reads the root element and all that is in it.
func (s *scanner) elements() (*node, error) {
	root, err := s.startTag(nil)
	for err == nil && len(s.open) > 0 {
		if err = s.characters(); err != nil {
			break
		}
		switch rest := s.src[s.pos:]; {
		case rest == "":
			err = s.errorf(s.pos, "the document ends inside <%s>", s.top().node.local)
		case strings.HasPrefix(rest, "</"):
			err = s.endTag()
		case strings.HasPrefix(rest, "<!--"):
			err = s.comment()
		case strings.HasPrefix(rest, "<![CDATA["):
			err = s.cdata()
		case strings.HasPrefix(rest, "<?"):
			err = s.instruction()
		default:
			_, err = s.startTag(s.top())
		}
	}
	return root, err
}

func (s *scanner) top() *frame { return &s.open[len(s.open)-1] }

// startTag reads a start tag or an empty element and opens it.
func (s *scanner) startTag(parent *frame) (*node, error) {
	start := s.pos
	s.pos++
	prefix, local, err := s.qname()
	if err != nil {
		return nil, err
	}
	if len(s.open) > maxDepth {
		e := s.errorf(start, "<%s> is inside of more than %d elements", local, maxDepth)
		e.Next = "libvirt's XML parser goes no deeper either"
		return nil, e
	}
	s.tagAttrs = s.tagAttrs[:0]
	undo := len(s.undo)
	empty := false
	for {
		space := s.skipSpace()
		rest := s.src[s.pos:]
		if strings.HasPrefix(rest, ">") {
			s.pos++
			break
		}
		if strings.HasPrefix(rest, "/>") {
			s.pos += 2
			empty = true
			break
		}
		if rest == "" {
			return nil, s.errorf(start, "the tag <%s is not closed", local)
		}
		if !space {
			return nil, s.errorf(s.pos, "no white space before an attribute of <%s>", local)
		}
		if err := s.attribute(); err != nil {
			return nil, err
		}
	}

	n := &s.nodes.take(1)[0]
	n.prefix, n.local, n.tag = prefix, local, s.src[start:s.pos]
	n.start, n.startEnd, n.endStart, n.end = start, s.pos, s.pos, s.pos
	if err := s.resolve(n); err != nil {
		return nil, err
	}
	if parent != nil {
		n.parent = parent.node
		parent.text, parent.more = "", nil
		s.siblings = append(s.siblings, n)
	}
	if empty {
		s.unbind(undo)
		return n, nil
	}
	s.open = append(s.open, frame{node: n, siblings: len(s.siblings), undo: undo})
	return n, nil
}

// endTag closes the innermost element.
func (s *scanner) endTag() error {
	start := s.pos
	s.pos += 2
	f := s.top()
	n := f.node
	prefix, local, err := s.qname()
	if err != nil {
		return err
	}
	if prefix != n.prefix || local != n.local {
		return s.errorf(start, "</%s> closes <%s> of %s", join(prefix, local), join(n.prefix, n.local), s.place(n.start))
	}
	s.skipSpace()
	if s.pos == len(s.src) || s.src[s.pos] != '>' {
		return s.errorf(s.pos, "the tag </%s is not closed", local)
	}
	s.pos++
	n.endStart, n.end = start, s.pos
	if mine := s.siblings[f.siblings:]; len(mine) > 0 {
		n.children = s.children.take(len(mine))
		copy(n.children, mine)
		s.siblings = s.siblings[:f.siblings]
	} else {
		n.text = f.text
		if f.more != nil {
			n.text = string(f.more)
		}
	}
	s.unbind(f.undo)
	s.open = s.open[:len(s.open)-1]
	return nil
}

// attribute reads one attribute into tagAttrs. Namespace declarations take
// effect, prefixes are resolved by resolve.
func (s *scanner) attribute() error {
	start := s.pos
	prefix, local, err := s.qname()
	if err != nil {
		return err
	}
	s.skipSpace()
	if s.pos == len(s.src) || s.src[s.pos] != '=' {
		return s.errorf(s.pos, "attribute %s has no value", local)
	}
	s.pos++
	s.skipSpace()
	if s.pos == len(s.src) || s.src[s.pos] != '"' && s.src[s.pos] != '\'' {
		return s.errorf(s.pos, "the value of attribute %s is not in quotes", local)
	}
	quote := s.src[s.pos]
	s.pos++
	length := strings.IndexByte(s.src[s.pos:], quote)
	if length < 0 {
		return s.errorf(start, "the value of attribute %s does not end", local)
	}
	value, err := s.value(s.src[s.pos:s.pos+length], s.pos, true)
	if err != nil {
		return err
	}
	s.pos += length + 1
	a := attr{prefix: prefix, local: local}
	if prefix == "xmlns" || prefix == "" && local == "xmlns" {
		a.space = xmlnsSpace
		if err := s.bind(a, value, start); err != nil {
			return err
		}
	}
	s.tagAttrs = append(s.tagAttrs, a)
	return nil
}

// bind makes a namespace declaration take effect.
func (s *scanner) bind(a attr, uri string, offset int) error {
	prefix := a.local
	if a.prefix == "" {
		prefix = ""
	}
	switch {
	case prefix == "xmlns", uri == xmlnsSpace, (prefix == "xml") != (uri == xmlSpace), prefix != "" && uri == "":
		return s.errorf(offset, "%s=%q is not a valid namespace declaration", join(a.prefix, a.local), clip(uri, 60))
	case prefix == "":
		s.undo = append(s.undo, binding{uri: s.space})
		s.space = uri
		return nil
	}
	if s.prefixes == nil {
		s.prefixes = make(map[string]string)
	}
	old, declared := s.prefixes[prefix]
	s.undo = append(s.undo, binding{prefix, old, declared})
	s.prefixes[prefix] = uri
	return nil
}

// unbind ends the effect of the declarations from undo[from] on.
func (s *scanner) unbind(from int) {
	for len(s.undo) > from {
		b := s.undo[len(s.undo)-1]
		s.undo = s.undo[:len(s.undo)-1]
		switch {
		case b.prefix == "":
			s.space = b.uri
		case b.declared:
			s.prefixes[b.prefix] = b.uri
		default:
			delete(s.prefixes, b.prefix)
		}
	}
}

// resolve gives the element and its attributes their namespaces, and refuses
// an attribute that is there twice.
func (s *scanner) resolve(n *node) error {
	var ok bool
	if n.space, ok = s.lookup(n.prefix, true); !ok {
		return s.undeclared(n.start, n.prefix, n.local)
	}
	for i := range s.tagAttrs {
		a := &s.tagAttrs[i]
		if a.space != "" {
			continue // a declaration
		}
		if a.space, ok = s.lookup(a.prefix, false); !ok {
			return s.undeclared(n.start, a.prefix, a.local)
		}
	}
	if twice, ok := duplicate(s.tagAttrs); ok {
		return s.errorf(n.start, "attribute %s is twice in <%s>", twice, n.local)
	}
	return nil
}

func (s *scanner) lookup(prefix string, element bool) (string, bool) {
	switch prefix {
	case "":
		if element {
			return s.space, true
		}
		return "", true
	case "xml":
		return xmlSpace, true
	}
	uri, ok := s.prefixes[prefix]
	return uri, ok
}

func (s *scanner) undeclared(offset int, prefix, local string) *Error {
	e := s.errorf(offset, "the namespace prefix of %s is not declared", join(prefix, local))
	e.Next = fmt.Sprintf("declare it: xmlns:%s='…' in <domain>", clip(prefix, 60))
	return e
}

// duplicate finds two attributes of the same expanded name.
func duplicate(attrs []attr) (string, bool) {
	if len(attrs) <= 16 {
		for i := range attrs {
			for j := range i {
				if attrs[i].local == attrs[j].local && attrs[i].space == attrs[j].space {
					return join(attrs[i].prefix, attrs[i].local), true
				}
			}
		}
		return "", false
	}
	seen := make(map[[2]string]bool, len(attrs))
	for i := range attrs {
		key := [2]string{attrs[i].space, attrs[i].local}
		if seen[key] {
			return join(attrs[i].prefix, attrs[i].local), true
		}
		seen[key] = true
	}
	return "", false
}

func join(prefix, local string) string {
	if prefix == "" {
		return clip(local, 60)
	}
	return clip(prefix+":"+local, 60)
}

// place tells a person where an offset is.
func (s *scanner) place(offset int) string {
	before := s.src[:offset]
	line := strings.Count(before, "\n") + 1
	column := offset - strings.LastIndexByte(before, '\n')
	return fmt.Sprintf("line %d, column %d", line, column)
}

func (s *scanner) errorf(offset int, format string, args ...any) *Error {
	return &Error{
		Op: "parse", Object: "domain document, " + s.place(offset),
		Meaning: fmt.Sprintf(format, args...),
		Next:    "correct the document; xmllint --noout shows where it breaks off",
		Kind:    ErrInvalid,
	}
}
