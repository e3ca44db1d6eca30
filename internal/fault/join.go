package fault

import (
	"errors"
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
func (s *Several) text(before []string) string {
	var parts []string
	for _, g := range s.groups() {
		parts = appendNew(parts, g.text(before))
		before = g.spots[len(g.spots)-1].path()
	}
	return strings.Join(parts, "; ")
}

// Unwrap gives the first error whole, and of the others all but their kinds.
func (s *Several) Unwrap() []error {
	errs := []error{s.Errs[0]}
	for _, err := range s.Errs[1:] {
		errs = append(errs, kindless{err})
	}
	return errs
}

// Any tells whether an error, or one of several that were joined, is of a kind.
func Any(err, kind error) bool {
	var s *Several
	if !errors.As(err, &s) {
		return errors.Is(err, kind)
	}
	return slices.ContainsFunc(s.Errs, func(err error) bool { return errors.Is(err, kind) })
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

// spot is where one error happened.
type spot struct {
	within  []string // the places around the last one
	op      string
	objects []string // several, if what happened to them is the same
}

func (s spot) path() []string {
	last := strings.TrimSpace(s.op + " " + List(s.objects))
	if last == "" {
		return s.within
	}
	return append(s.within[:len(s.within):len(s.within)], last)
}

// group is errors with one reason.
type group struct {
	reason string
	spots  []spot
}

func (s *Several) groups() []*group {
	var groups []*group
	for _, err := range s.Errs {
		at, reason := split(err)
		i := slices.IndexFunc(groups, func(g *group) bool { return g.reason == reason })
		if i < 0 {
			groups = append(groups, &group{reason, []spot{at}})
			continue
		}
		groups[i].add(at)
	}
	return groups
}

func (g *group) add(at spot) {
	for i := range g.spots {
		if s := &g.spots[i]; s.op == at.op && slices.Equal(s.within, at.within) {
			for _, object := range at.objects {
				s.objects = appendNew(s.objects, object)
			}
			return
		}
	}
	g.spots = append(g.spots, at)
}

func (g *group) text(before []string) string {
	var places []string
	for _, s := range g.spots {
		places = appendNew(places, strings.Join(beyond(before, s.path()), ": "))
	}
	if len(places) == 0 {
		return g.reason
	}
	return strings.Join(places, ", ") + ": " + g.reason
}

// beyond is a place without what it begins with like the one before.
func beyond(before, place []string) []string {
	same := 0
	for same < len(place) && same < len(before) && place[same] == before[same] {
		same++
	}
	rest := slices.Clone(place[same:])
	if len(rest) > 0 && same < len(before) { // "reconcile web1" under "reconcile"
		rest[0] = strings.TrimPrefix(rest[0], before[same]+" ")
	}
	return rest
}

// split takes an error's line apart.
func split(err error) (at spot, reason string) {
	parts, ok := partsOf(err)
	if !ok {
		return spot{}, Text(err)
	}
	var l line
	l.add(parts)
	if last := len(l.at) - 1; last >= 0 {
		at.op = l.at[last].Op
		if object := l.at[last].Object; object != "" {
			at.objects = []string{object}
		}
		reason = l.text()
		l.at = l.at[:last]
		at.within = l.places()
		return at, reason
	}
	return at, l.text()
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
