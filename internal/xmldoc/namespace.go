package xmldoc

import "fmt"

const (
	xmlSpace   = "http://www.w3.org/XML/1998/namespace"
	xmlnsSpace = "http://www.w3.org/2000/xmlns/"
)

// attr is the name of an attribute.
type attr struct{ space, prefix, local string }

type binding struct {
	prefix, uri string
	declared    bool
}

// bind makes a namespace declaration take effect, if it is valid; where it need not
// be, others have none.
func (s *scanner) bind(a attr, uri string, offset int) (valid bool, err error) {
	prefix := a.local
	if a.prefix == "" {
		prefix = ""
	}
	switch {
	case s.loose && prefix == "xml":
		return false, nil // it says what is so already, or nothing
	case prefix == "xmlns", uri == xmlnsSpace, (prefix == "xml") != (uri == xmlSpace), prefix != "" && uri == "":
		if s.loose {
			return false, nil
		}
		return false, s.errorf(offset, "%s=%q is not a valid namespace declaration", join(a.prefix, a.local), clip(uri, 60))
	case prefix == "":
		s.undo = append(s.undo, binding{uri: s.space})
		s.space = uri
		return true, nil
	}
	if s.prefixes == nil {
		s.prefixes = make(map[string]string)
	}
	old, declared := s.prefixes[prefix]
	s.undo = append(s.undo, binding{prefix, old, declared})
	s.prefixes[prefix] = uri
	return true, nil
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
// an attribute that is there twice. Where prefixes need not be declared, one that is
// not is a part of the name, and attributes are told apart by their names as written.
func (s *scanner) resolve(n *Node) error {
	var ok bool
	if n.Space, ok = s.lookup(n.Prefix, true); !ok {
		if !s.loose {
			return s.undeclared(n.Start, n.Prefix, n.Local)
		}
		n.Prefix, n.Local = "", s.src[n.Start+len("<"):n.Start+len("<:")+len(n.Prefix)+len(n.Local)]
	}
	for i := range s.tagAttrs {
		a := &s.tagAttrs[i]
		if a.space != "" {
			continue // a declaration
		}
		a.space, ok = s.lookup(a.prefix, false)
		switch {
		case s.loose:
			a.space = a.prefix
			if !ok {
				if n.undeclared == nil {
					n.undeclared = new([]string)
				}
				*n.undeclared = append(*n.undeclared, a.prefix+":"+a.local)
			}
		case !ok:
			return s.undeclared(n.Start, a.prefix, a.local)
		}
	}
	if twice, ok := duplicate(s.tagAttrs); ok {
		return s.errorf(n.Start, "attribute %s is twice in <%s>", twice, n.Local)
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
