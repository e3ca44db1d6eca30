package xmldoc

import (
	"strings"
	"unicode/utf8"
)

// nameRanges are XML 1.0's NameStartChar (fifth edition) beyond ASCII.
var nameRanges = [...][2]rune{
	{0xc0, 0xd6},
	{0xd8, 0xf6},
	{0xf8, 0x2ff},
	{0x370, 0x37d},
	{0x37f, 0x1fff},
	{0x200c, 0x200d},
	{0x2070, 0x218f},
	{0x2c00, 0x2fef},
	{0x3001, 0xd7ff},
	{0xf900, 0xfdcf},
	{0xfdf0, 0xfffd},
	{0x10000, 0xeffff},
}

// qname reads prefix:local or local at the current position. Where names need not be
// valid by XML Namespaces, it takes other colons as libxml2 does: of a:b:c the prefix is a, those of :a, a: and a:1 have none.
func (s *scanner) qname() (prefix, local string, err error) {
	start := s.pos
	first := s.ncname()
	switch {
	case !s.at(':'):
		local = first
	case !s.loose:
		return s.strictQName(start, first)
	case first == "":
		local = s.nameWithColons()
	default:
		s.pos++
		behind := s.pos
		second := s.ncname()
		switch {
		case second == "":
			s.nmtoken()
			local = s.src[start:s.pos]
		case s.at(':'):
			s.pos++
			s.nameWithColons()
			prefix, local = first, s.src[behind:s.pos]
		default:
			prefix, local = first, second
		}
	}
	if local == "" {
		return "", "", s.errorf(start, "%q does not begin with a valid name", clip(firstLine(s.src[start:]), 12))
	}
	if len(prefix) > MaxName || len(local) > MaxName {
		return "", "", s.errorf(start, "a name of more than %d bytes", MaxName)
	}
	return prefix, local, nil
}

// strictQName reads on behind a prefix.
func (s *scanner) strictQName(start int, first string) (prefix, local string, err error) {
	if first != "" {
		s.pos++
		local = s.ncname()
	}
	if local == "" || s.at(':') {
		return "", "", s.errorf(start, "%q does not begin with a valid name", clip(firstLine(s.src[start:]), 12))
	}
	if s.pos-start > MaxName {
		return "", "", s.errorf(start, "a name of more than %d bytes", MaxName)
	}
	return first, local, nil
}

func (s *scanner) at(c byte) bool { return s.pos < len(s.src) && s.src[s.pos] == c }

// nameWithColons reads XML's Name, in which a colon is a letter; it is empty if
// there is none.
func (s *scanner) nameWithColons() string {
	start := s.pos
	if s.at(':') || s.ncname() != "" {
		s.nmtoken()
	}
	return s.src[start:s.pos]
}

// nmtoken reads on as long as a name can go on, colons included.
func (s *scanner) nmtoken() {
	for s.pos < len(s.src) {
		size := inName(s.src[s.pos:])
		if size == 0 {
			return
		}
		s.pos += size
	}
}

// inName returns the length of the character, 0 if a name cannot go on with it.
func inName(s string) int {
	c := s[0]
	if c < utf8.RuneSelf {
		if c|0x20 >= 'a' && c|0x20 <= 'z' || c >= '0' && c <= ':' || c == '_' || c == '-' || c == '.' {
			return 1
		}
		return 0
	}
	if r, size := utf8.DecodeRuneInString(s); isNameStart(r) || isNameInside(r) {
		return size
	}
	return 0
}

// ncname reads a name without colon; it is empty if there is none.
func (s *scanner) ncname() string {
	start := s.pos
	for s.pos < len(s.src) {
		c := s.src[s.pos]
		if c < utf8.RuneSelf {
			letter := c|0x20 >= 'a' && c|0x20 <= 'z' || c == '_'
			other := c >= '0' && c <= '9' || c == '-' || c == '.'
			if !letter && (!other || s.pos == start) {
				break
			}
			s.pos++
			continue
		}
		r, size := utf8.DecodeRuneInString(s.src[s.pos:])
		if !isNameStart(r) && (s.pos == start || !isNameInside(r)) {
			break
		}
		s.pos += size
	}
	return s.src[start:s.pos]
}

func isNameStart(r rune) bool {
	for _, in := range nameRanges {
		if r >= in[0] && r <= in[1] {
			return true
		}
	}
	return false
}

func isNameInside(r rune) bool {
	return r == 0xb7 || r >= 0x300 && r <= 0x36f || r == 0x203f || r == 0x2040
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}
