package xmldoc

import (
	"fmt"
	"strings"
)

// An Error tells what is wrong with a document, where, and what to do about it.
type Error struct{ Place, Meaning, Next string }

func (e *Error) Error() string { return e.Place + ": " + e.Meaning }

func (s *scanner) errorf(offset int, format string, args ...any) *Error {
	return &Error{
		Place: s.place(offset), Meaning: fmt.Sprintf(format, args...),
		Next: "correct the document; xmllint --noout shows where it breaks off",
	}
}

// place tells a person where an offset is.
func (s *scanner) place(offset int) string {
	before := s.src[:offset]
	line := strings.Count(before, "\n") + 1
	column := offset - strings.LastIndexByte(before, '\n')
	return fmt.Sprintf("line %d, column %d", line, column)
}

func join(prefix, local string) string {
	if prefix == "" {
		return clip(local, 60)
	}
	return clip(prefix+":"+local, 60)
}

// clip shortens what came from outside so that it can be quoted in an error.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + "…"
}
