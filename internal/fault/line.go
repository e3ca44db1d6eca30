package fault

import (
	"context"
	"errors"
	"strings"
)

// Parts is what one error says, without what lies beneath. Each may be empty.
type Parts struct {
	Places  []Place // where it happened, outermost first
	Meaning string  // what happened
	Code    string  // the errno or libvirt's number and words
	Cause   string  // the likely cause, or what follows from it
	Err     error   // what lies beneath: says what happened unless Meaning does
}

// Place is an operation or step, and what it worked on.
type Place struct{ Op, Object string }

// Error is [Line]. Parts are an error so that [errors.As] can ask for them.
func (p Parts) Error() string { return Line(p) }

// As gives parts to [errors.As], for an error's method of that name.
func As(p Parts, target any) bool {
	to, ok := target.(*Parts)
	if ok {
		*to = p
	}
	return ok
}

// partsOf asks an error of the four packages, whose As gives them.
func partsOf(err error) (p Parts, found bool) {
	if k, hidden := err.(kindless); hidden {
		err = k.err
	}
	if asked, ok := err.(interface{ As(target any) bool }); ok {
		found = asked.As(&p)
	}
	return p, found
}

// Line is an error in one line: "op object: meaning (code); cause". What errors
// beneath say is taken into it, and nothing is said twice.
func Line(p Parts) string {
	var l line
	l.add(p)
	return strings.Join(append(l.places(), l.text()), ": ")
}

// line is what was collected so far.
type line struct {
	at     []Place
	reason string
	codes  []string
	causes []string
}

func (l *line) add(p Parts) {
	for _, place := range p.Places {
		l.place(place)
	}
	l.say(oneLine(p.Meaning))
	if beneath, ok := partsOf(p.Err); ok {
		l.add(beneath)
	} else if several, ok := severalOf(p.Err); ok {
		l.say(several.text(l.places()))
	} else if p.Err != nil {
		l.beneath(p.Err)
	}
	l.codes = appendNew(l.codes, oneLine(p.Code))
	l.causes = appendNew(l.causes, oneLine(p.Cause))
	if l.reason == "" {
		l.reason = "failed"
	}
}

// say takes in what happened; what is said beneath that is a detail.
func (l *line) say(meaning string) {
	switch {
	case l.reason == "":
		l.reason = meaning
	case meaning != "" && meaning != l.reason:
		l.causes = appendNew(l.causes, meaning)
	}
}

// beneath takes in an error of another package. Under a meaning it is a detail, and
// none if it is only a kind or the end of a context.
func (l *line) beneath(err error) {
	if l.reason == "" {
		l.reason = Text(err)
		return
	}
	if _, kind := err.(*Kind); !kind && EndOf(err) == nil {
		l.causes = appendNew(l.causes, Text(err))
	}
}

// place adds a place. Each operation and each object is named once.
func (l *line) place(p Place) {
	p.Op, p.Object = oneLine(p.Op), oneLine(p.Object)
	for i, q := range l.at {
		switch {
		case p.Object != "" && names(q.Object, p.Object):
			p.Object = ""
		case p.Op == q.Op && p.Object != "" && (q.Object == "" || names(p.Object, q.Object)):
			l.at[i].Object = p.Object // the same, told better
			p.Object = ""
		}
		if p.Op == q.Op || p.Op == q.Object && i > 0 { // the first object is a VM, which may have the name of a step
			p.Op = ""
		}
	}
	if p != (Place{}) {
		l.at = append(l.at, p)
	}
}

// PlaceOf is the first operation of an error of the four packages, and what it
// worked on.
func PlaceOf(err error) (op, object string) {
	var p Parts
	if errors.As(err, &p) && len(p.Places) > 0 {
		return p.Places[0].Op, p.Places[0].Object
	}
	return "", ""
}

// names tells whether a text names an object, as a word of it.
func names(text, object string) bool {
	return text == object || strings.Contains(" "+text+" ", " "+object+" ") || strings.Contains(text, `"`+object+`"`)
}

// text is the line without its places.
func (l *line) text() string {
	text := l.reason
	if len(l.codes) > 0 {
		text += " (" + strings.Join(l.codes, "; ") + ")"
	}
	return strings.Join(append([]string{text}, l.causes...), "; ")
}

func (l *line) places() []string {
	var places []string
	for _, p := range l.at {
		places = append(places, strings.TrimSpace(p.Op+" "+p.Object))
	}
	return places
}

// Text is any error in one line. The end of a context is said in plain words.
func Text(err error) string { return oneLine(plainly.Replace(err.Error())) }

var plainly = strings.NewReplacer(
	context.DeadlineExceeded.Error(), "its time was over before it was done",
	context.Canceled.Error(), "it was cancelled before it was done",
)

// Hint is what to do about an error: what it says itself, else what lies beneath
// says; "" if nothing is known.
func Hint(own string, beneath error) string {
	var hinted interface{ Hint() string }
	if own == "" && errors.As(beneath, &hinted) {
		return hinted.Hint()
	}
	return own
}

func appendNew(list []string, s string) []string {
	if s == "" {
		return list
	}
	for _, t := range list {
		if t == s {
			return list
		}
	}
	return append(list, s)
}

// oneLine makes parts of lines.
func oneLine(s string) string {
	var lines []string
	for line := range strings.Lines(s) {
		lines = appendNew(lines, strings.Join(strings.Fields(line), " "))
	}
	return strings.Join(lines, "; ")
}
