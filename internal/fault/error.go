package fault

// Error is an error of a package that has no type of its own for it.
type Error struct {
	Op      string // what was tried
	Object  string // on what
	Kind    error  // nil: none describes it
	Meaning string // what happened; empty: what Err says
	Cause   string // the likely cause, may be empty
	Next    string // what to do about it, may be empty
	Err     error  // what lies beneath, may be nil
}

// Error returns one line; see [Line].
func (e *Error) Error() string { return Line(e.parts()) }

// Unwrap returns the kind and the error beneath.
func (e *Error) Unwrap() []error { return Unwrap(e.Kind, e.Err) }

// Hint returns the next step to take, or "".
func (e *Error) Hint() string { return Hint(e.Next, e.Err) }

// As is for this library's own formatting of errors around this one.
func (e *Error) As(target any) bool { return As(e.parts(), target) }

func (e *Error) parts() Parts {
	return Parts{Places: []Place{{e.Op, e.Object}}, Meaning: e.Meaning, Cause: e.Cause, Err: Reason(e.Meaning, e.Kind, e.Err)}
}

// Reason is what an error says for want of better words: what lies beneath, or else
// its kind.
func Reason(meaning string, kind, beneath error) error {
	if meaning == "" && beneath == nil {
		return kind
	}
	return beneath
}
