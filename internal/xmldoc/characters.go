package xmldoc

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// checkEncoding makes sure that the document is UTF-8 and holds only
// characters that XML allows, and skips a byte order mark.
func (s *scanner) checkEncoding() error {
	if strings.HasPrefix(s.src, "\xfe\xff") || strings.HasPrefix(s.src, "\xff\xfe") {
		e := s.errorf(0, "the document is in UTF-16")
		e.Next = "convert it to UTF-8, for instance with iconv"
		return e
	}
	for i := 0; i < len(s.src); {
		c := s.src[i]
		if c >= 0x20 && c < utf8.RuneSelf || c == '\n' || c == '\t' || c == '\r' {
			i++
			continue
		}
		r, size := utf8.DecodeRuneInString(s.src[i:])
		if r == utf8.RuneError && size == 1 {
			e := s.errorf(i, "byte 0x%02x is not UTF-8", c)
			e.Next = "convert the document to UTF-8, for instance with iconv"
			return e
		}
		if !isChar(r) {
			return s.errorf(i, "character U+%04X is not allowed in XML", r)
		}
		i += size
	}
	if strings.HasPrefix(s.src, "\ufeff") {
		s.pos = len("\ufeff")
	}
	return nil
}

// declaration reads <?xml version='1.0' encoding='UTF-8' standalone='yes'?>.
func (s *scanner) declaration() error {
	rest := s.src[s.pos:]
	if !strings.HasPrefix(rest, "<?xml") || len(rest) > 5 && !isSpace(rest[5]) {
		return nil
	}
	start := s.pos
	s.pos += len("<?xml")
	fields := [...]string{"version", "encoding", "standalone"}
	for i, name := range fields {
		space := s.skipSpace()
		if !strings.HasPrefix(s.src[s.pos:], name) {
			if i == 0 {
				return s.errorf(s.pos, "the XML declaration names no version")
			}
			continue
		}
		if !space {
			return s.errorf(s.pos, "no white space before %s in the XML declaration", name)
		}
		value, ok := s.pseudoAttribute(name)
		if !ok {
			return s.errorf(s.pos, "%s has no value in the XML declaration", name)
		}
		switch {
		case name == "version" && value != "1.0":
			return s.errorf(start, "XML version %q is not supported", clip(value, 20))
		case name == "encoding" && !strings.EqualFold(value, "UTF-8"):
			e := s.errorf(start, "encoding %q is not supported", clip(value, 40))
			e.Next = "convert the document to UTF-8, for instance with iconv, and say so in its first line"
			return e
		case name == "standalone" && value != "yes" && value != "no":
			return s.errorf(start, "standalone is %q in the XML declaration, neither yes nor no", clip(value, 20))
		}
	}
	s.skipSpace()
	if !strings.HasPrefix(s.src[s.pos:], "?>") {
		return s.errorf(s.pos, "the XML declaration is not well-formed")
	}
	s.pos += len("?>")
	return nil
}

func (s *scanner) pseudoAttribute(name string) (string, bool) {
	s.pos += len(name)
	s.skipSpace()
	if !strings.HasPrefix(s.src[s.pos:], "=") {
		return "", false
	}
	s.pos++
	s.skipSpace()
	rest := s.src[s.pos:]
	if rest == "" || rest[0] != '"' && rest[0] != '\'' {
		return "", false
	}
	end := strings.IndexByte(rest[1:], rest[0])
	if end < 0 {
		return "", false
	}
	s.pos += end + 2
	return rest[1 : end+1], true
}

// characters reads text up to the next '<' and keeps it for the open element.
func (s *scanner) characters() error {
	start := s.pos
	length := strings.IndexByte(s.src[start:], '<')
	if length < 0 {
		length = len(s.src) - start
	}
	if length == 0 {
		return nil
	}
	raw := s.src[start : start+length]
	text, err := s.value(raw, start, false)
	if err != nil {
		return err
	}
	s.pos += length
	s.keep(text)
	return nil
}

// keep appends to the text of the open element, unless that has children.
func (s *scanner) keep(text string) {
	f := s.top()
	switch {
	case text == "" || len(s.siblings) > f.siblings:
	case f.text == "":
		f.text = text
	case f.more == nil:
		f.more = append([]byte(f.text), text...)
	default:
		f.more = append(f.more, text...)
	}
}

func (s *scanner) comment() error {
	start := s.pos
	end := strings.Index(s.src[start+4:], "--")
	if end < 0 {
		return s.errorf(start, "the comment does not end")
	}
	end += start + 4
	if !strings.HasPrefix(s.src[end:], "-->") {
		return s.errorf(end, "'--' inside a comment")
	}
	s.pos = end + 3
	return nil
}

func (s *scanner) cdata() error {
	const open, end = "<![CDATA[", "]]>"
	start := s.pos + len(open)
	length := strings.Index(s.src[start:], end)
	if length < 0 {
		return s.errorf(s.pos, "the CDATA section does not end")
	}
	s.keep(lineEnds(s.src[start : start+length]))
	s.pos = start + length + len(end)
	return nil
}

func (s *scanner) instruction() error {
	start := s.pos
	s.pos += 2
	prefix, target, err := s.qname()
	if err != nil {
		return err
	}
	if !s.loose && prefix != "" {
		return s.errorf(start, "a colon in the name of a processing instruction")
	}
	if prefix == "" && strings.EqualFold(target, "xml") {
		return s.errorf(start, "an XML declaration is allowed at the very start only")
	}
	length := strings.Index(s.src[s.pos:], "?>")
	if length < 0 {
		return s.errorf(start, "the processing instruction does not end")
	}
	if length > 0 && !isSpace(s.src[s.pos]) {
		return s.errorf(s.pos, "no white space behind the name of a processing instruction")
	}
	s.pos += length + 2
	return nil
}

// value is plainText with an error that says where.
func (s *scanner) value(raw string, offset int, attribute bool) (string, error) {
	text, at, meaning := plainText(raw, attribute, s.loose)
	if meaning == "" {
		return text, nil
	}
	e := s.errorf(offset+at, "%s", meaning)
	if raw[at] == '&' {
		e.Next = "write & as &amp;; entities other than lt, gt, amp, quot and apos cannot be used"
	}
	return "", e
}

// plainText resolves the references in text or in an attribute's value and
// makes its white space what XML says. meaning is empty unless something at
// raw[at:] is wrong; loose leaves references to unknown entities as they are.
func plainText(raw string, attribute, loose bool) (text string, at int, meaning string) {
	plain := true
	for i := range len(raw) {
		switch raw[i] {
		case '&', '\r':
			plain = false
		case '\n', '\t':
			plain = plain && !attribute
		case '<':
			return "", i, "'<' inside an attribute's value"
		case '>':
			if !attribute && strings.HasSuffix(raw[:i], "]]") {
				return "", i, "']]>' outside of a CDATA section"
			}
		}
	}
	if plain {
		return raw, 0, ""
	}
	var b strings.Builder
	b.Grow(len(raw))
	for i := 0; i < len(raw); i++ {
		switch c := raw[i]; {
		case c == '&':
			r, length, ok := reference(raw[i:])
			if !ok && loose {
				if length := entity(raw[i:]); length > 0 {
					b.WriteString(raw[i : i+length])
					i += length - 1
					continue
				}
			}
			if !ok {
				return "", i, fmt.Sprintf("%q is not a reference that is known", clip(raw[i:], 12))
			}
			b.WriteRune(r)
			i += length - 1
		case c == '\r' && i+1 < len(raw) && raw[i+1] == '\n':
			// the pair is one line end
		case attribute && isSpace(c):
			b.WriteByte(' ')
		case c == '\r':
			b.WriteByte('\n')
		default:
			b.WriteByte(c)
		}
	}
	return b.String(), 0, ""
}

// reference reads one of &lt; &#10; &#xa; at the start of s.
func reference(s string) (r rune, length int, ok bool) {
	end := strings.IndexByte(s[:min(len(s), 32)], ';')
	if end < 0 {
		return 0, 0, false
	}
	name := s[1:end]
	switch name {
	case "lt":
		r = '<'
	case "gt":
		r = '>'
	case "amp":
		r = '&'
	case "quot":
		r = '"'
	case "apos":
		r = '\''
	default:
		if r, ok = characterNumber(name); !ok {
			return 0, 0, false
		}
	}
	return r, end + 1, true
}

// entity returns the length of a reference to an entity at the start of s, 0 if there
// is none.
func entity(s string) int {
	name := scanner{src: s, pos: len("&")}
	if name.nameWithColons() == "" || !name.at(';') {
		return 0
	}
	return name.pos + len(";")
}

// characterNumber reads #10 or #xa.
func characterNumber(s string) (rune, bool) {
	digits, ok := strings.CutPrefix(s, "#")
	base := rune(10)
	if ok && strings.HasPrefix(digits, "x") {
		digits, base = digits[1:], 16
	}
	if !ok || digits == "" {
		return 0, false
	}
	var r rune
	for _, c := range []byte(digits) {
		d := hexDigit(c)
		if d < 0 || d >= base || r > utf8.MaxRune {
			return 0, false
		}
		r = r*base + d
	}
	return r, isChar(r)
}

func hexDigit(c byte) rune {
	switch {
	case c >= '0' && c <= '9':
		return rune(c - '0')
	case c >= 'a' && c <= 'f':
		return rune(c-'a') + 10
	case c >= 'A' && c <= 'F':
		return rune(c-'A') + 10
	}
	return -1
}

func lineEnds(s string) string {
	if strings.IndexByte(s, '\r') < 0 {
		return s
	}
	return strings.ReplaceAll(strings.ReplaceAll(s, "\r\n", "\n"), "\r", "\n")
}

// Allowed tells whether XML can carry the text.
func Allowed(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return !isChar(r) })
}

// isChar is XML 1.0's production Char.
func isChar(r rune) bool {
	return r == '\t' || r == '\n' || r == '\r' || r >= 0x20 && r <= 0xd7ff ||
		r >= 0xe000 && r <= 0xfffd || r >= 0x10000 && r <= utf8.MaxRune
}

func isSpace(c byte) bool { return c == ' ' || c == '\n' || c == '\t' || c == '\r' }

func (s *scanner) skipSpace() bool {
	start := s.pos
	for s.pos < len(s.src) && isSpace(s.src[s.pos]) {
		s.pos++
	}
	return s.pos > start
}
