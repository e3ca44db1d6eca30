package fault

import (
	"fmt"
	"slices"
	"strings"
)

// Join makes one error of several, nil among them left out; nil if none is left.
// It reads as one line, in which those that differ only in their object are one,
// and is of the first one's kind.
func Join(errs ...error) error {
	var several Several
	for _, err := range errs {
		switch e := err.(type) {
		case nil:
		case *Several:
			several.Errs = append(several.Errs, e.Errs...)
		default:
			several.Errs = append(several.Errs, err)
		}
	}
	switch len(several.Errs) {
	case 0:
		return nil
	case 1:
		return several.Errs[0]
	}
	return &several
}

// Several is the errors of things that were done one after the other.
type Several struct{ Errs []error }

// Error is one line, each place and each reason once.
func (s *Several) Error() string { return s.text(nil) }

func severalOf(err error) (*Several, bool) {
	if k, hidden := err.(kindless); hidden {
		err = k.err
	}
	s, ok := err.(*Several)
	return s, ok
}

// text is the line after what was said of the place before it.
func (s *Several) text(place []string) string {
	var parts []string
	for _, g := range s.groups() {
		parts = append(parts, strings.Join(beyond(place, g.place(), g.reason), ": "))
		place = g.place()
	}
	return strings.Join(parts, "; ")
}

// beyond is a place without what it begins with like the one before, and what
// happened there.
func beyond(before, place []string, reason string) []string {
	same := 0
	for same < len(place) && same < len(before) && place[same] == before[same] {
		same++
	}
	rest := append(slices.Clone(place[same:]), reason)
	if same < len(place) && same < len(before) { // "reconcile web1" under "reconcile"
		rest[0] = strings.TrimPrefix(rest[0], before[same]+" ")
	}
	return rest
}

// Unwrap gives the first error whole, and of the others all but their kinds.
func (s *Several) Unwrap() []error {
	errs := []error{s.Errs[0]}
	for _, err := range s.Errs[1:] {
		errs = append(errs, kindless{err})
	}
	return errs
}

// Hint is that of the first error that has one.
func (s *Several) Hint() string {
	for _, err := range s.Errs {
		if hint := Hint("", err); hint != "" {
			return hint
		}
	}
	return ""
}

// group is errors with one reason.
type group struct {
	within  []string // the places around the last one
	op      string
	objects []string
	reason  string
}

func (g *group) place() []string {
	last := strings.TrimSpace(g.op + " " + List(g.objects))
	if last == "" {
		return g.within
	}
	return append(g.within[:len(g.within):len(g.within)], last)
}

func (s *Several) groups() []*group {
	var groups []*group
	for _, err := range s.Errs {
		next := split(err)
		i := slices.IndexFunc(groups, func(g *group) bool {
			return g.op == next.op && g.reason == next.reason && slices.Equal(g.within, next.within)
		})
		if i < 0 {
			groups = append(groups, next)
			continue
		}
		for _, object := range next.objects {
			groups[i].objects = appendNew(groups[i].objects, object)
		}
	}
	return groups
}

// split takes an error's line apart.
func split(err error) *group {
	parts, ok := partsOf(err)
	if !ok {
		return &group{reason: Text(err)}
	}
	var l line
	l.add(parts)
	g := &group{reason: l.text()}
	if last := len(l.at) - 1; last >= 0 {
		g.op = l.at[last].Op
		if object := l.at[last].Object; object != "" {
			g.objects = []string{object}
		}
		l.at = l.at[:last]
		g.within = l.places()
	}
	return g
}

// most is how many of a list one line names.
const most = 4

// List names some things: "a, b, c", or "a, b, c, d and 5 more".
func List(names []string) string {
	if more := len(names) - most; more > 1 {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), more)
	}
	return strings.Join(names, ", ")
}
