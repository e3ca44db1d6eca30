package devicexml

import "github.com/google/uuid"

// ParseUUID reads a UUID as libvirt does: 32 hexadecimal digits, dashes anywhere
// between bytes, white space around.
func ParseUUID(s string) (id uuid.UUID, ok bool) {
	for len(s) > 0 && isSpace(s[0]) {
		s = s[1:]
	}
	for i := 0; i < len(id); {
		if len(s) > 0 && s[0] == '-' {
			s = s[1:]
			continue
		}
		if len(s) < 2 {
			return uuid.UUID{}, false
		}
		high, low := hexDigit(s[0]), hexDigit(s[1])
		if high < 0 || low < 0 {
			return uuid.UUID{}, false
		}
		id[i] = byte(high<<4 | low)
		s = s[2:]
		i++
	}
	for len(s) > 0 && isSpace(s[0]) {
		s = s[1:]
	}
	if s != "" {
		return uuid.UUID{}, false
	}
	return id, true
}

// isSpace is C's isspace.
func isSpace(c byte) bool { return c == ' ' || c >= '\t' && c <= '\r' }

func hexDigit(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}
