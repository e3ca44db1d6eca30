package xmldoc

import "strings"

// Limits of libvirt's XML parser: how many elements an element is inside of, and how
// long a name is.
const (
	MaxDepth = 256
	MaxName  = 50000
)

// scanner reads a well-formed, namespace-well-formed XML 1.0 document into a
// tree whose strings share the document's memory. encoding/xml is no help
// here: it takes documents that libvirt refuses (an attribute twice, "]]>" in
// text, "--" in comments…), loses prefixes and has no exact offsets.
type scanner struct {
	src   string
	pos   int
	open  []frame // the elements that are not closed yet
	loose bool    // here libvirt gives back what XML Namespaces and entities make invalid

	space    string            // the default namespace
	prefixes map[string]string // the declared prefixes; made when there is one
	undo     []binding         // what declarations replaced, to be put back

	tagAttrs []attr  // of the tag being read
	siblings []*Node // children of the open elements, innermost last
	nodes    slab[Node]
	children slab[*Node]
}

type frame struct {
	node     *Node
	siblings int    // where its children begin in scanner.siblings
	undo     int    // where its declarations begin in scanner.undo
	metadata bool   // scanner.loose ends with it
	text     string // the first piece of text
	more     []byte // all of it, as soon as there is a second piece
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

// Parse reads a document and returns its root element; an error is an *[Error].
//
// The document is to be well-formed by XML Namespaces, and to have no DOCTYPE. But in
// the root's <metadata>, which libvirt keeps and gives back as its parser read it,
// names and prefixes are taken as that parser takes them, and references to entities
// that a DOCTYPE once declared are left as they are written.
func Parse(src string) (*Node, error) { return newScanner(src, false).document() }

// ParseLoose is Parse for a single device's element, all of which is read as Parse
// reads <metadata>.
func ParseLoose(src string) (*Node, error) { return newScanner(src, true).document() }

// newScanner makes room for as many elements as there can be, within reason.
func newScanner(src string, loose bool) *scanner {
	s := &scanner{src: src, loose: loose}
	most := min(strings.Count(src, "<")-strings.Count(src, "</"), 512)
	s.nodes.free, s.children.free = make([]Node, most), make([]*Node, most)
	return s
}

func (s *scanner) document() (*Node, error) {
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
		return nil, s.errorf(s.pos, "something follows the end of <%s>", root.Local)
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
func (s *scanner) elements() (*Node, error) {
	root, err := s.startTag(nil)
	for err == nil && len(s.open) > 0 {
		if err = s.characters(); err != nil {
			break
		}
		switch rest := s.src[s.pos:]; {
		case rest == "":
			err = s.errorf(s.pos, "the document ends inside <%s>", s.top().node.Local)
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
func (s *scanner) startTag(parent *frame) (*Node, error) {
	start := s.pos
	s.pos++
	prefix, local, err := s.qname()
	if err != nil {
		return nil, err
	}
	if len(s.open) > MaxDepth {
		e := s.errorf(start, "<%s> is inside of more than %d elements", local, MaxDepth)
		e.Next = "libvirt's XML parser goes no deeper either"
		return nil, e
	}
	metadata := len(s.open) == 1 && local == "metadata" && prefix == "" && !s.loose
	s.loose = s.loose || metadata
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
	n.Prefix, n.Local, n.Tag = prefix, local, s.src[start:s.pos]
	n.Start, n.StartEnd, n.EndStart, n.End = start, s.pos, s.pos, s.pos
	if err := s.resolve(n); err != nil {
		return nil, err
	}
	if parent != nil {
		n.Parent = parent.node
		parent.text, parent.more = "", nil
		s.siblings = append(s.siblings, n)
	}
	if empty {
		s.unbind(undo)
		s.loose = s.loose && !metadata
		return n, nil
	}
	s.open = append(s.open, frame{node: n, siblings: len(s.siblings), undo: undo, metadata: metadata})
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
	if prefix != n.Prefix || local != n.Local {
		if name := n.Name(); s.src[start+len("</"):s.pos] != name { // which may have a prefix that is not declared
			return s.errorf(start, "</%s> closes <%s> of %s", join(prefix, local), clip(name, 60), s.place(n.Start))
		}
	}
	s.skipSpace()
	if s.pos == len(s.src) || s.src[s.pos] != '>' {
		return s.errorf(s.pos, "the tag </%s is not closed", local)
	}
	s.pos++
	n.EndStart, n.End = start, s.pos
	if mine := s.siblings[f.siblings:]; len(mine) > 0 {
		n.Children = s.children.take(len(mine))
		copy(n.Children, mine)
		s.siblings = s.siblings[:f.siblings]
	} else {
		n.Text = f.text
		if f.more != nil {
			n.Text = string(f.more)
		}
	}
	s.unbind(f.undo)
	s.loose = s.loose && !f.metadata
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
	declares := prefix == "xmlns" || prefix == "" && local == "xmlns"
	raw := s.src[s.pos : s.pos+length]
	value, err := s.value(raw, s.pos, true)
	switch {
	case err != nil && declares && s.loose:
		value = raw // libxml2 writes a namespace's name without escapes
	case err != nil:
		return err
	}
	s.pos += length + 1
	a := attr{prefix: prefix, local: local}
	if declares {
		a.space = xmlnsSpace
		if valid, err := s.bind(a, value, start); err != nil || !valid {
			return err
		}
	}
	s.tagAttrs = append(s.tagAttrs, a)
	return nil
}
