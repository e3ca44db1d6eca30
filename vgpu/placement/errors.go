package placement

import (
	"fmt"

	"github.com/vgpukit/vgpukit/internal/fault"
)

// What can go wrong, for [errors.Is]. An error matches exactly one of them. Packages
// mdev and vgpu have the same sentinels under the same names.
var (
	ErrInvalid    error = fault.Invalid
	ErrNotFound   error = fault.NotFound
	ErrNoCapacity error = fault.NoCapacity
)

// Error is a question that has no answer, since it breaks a rule or names a host that
// is not there. Every error of this package is an *Error or a [*Refusal].
type Error struct {
	Op      string // "place" or "snapshot"
	Object  string // a host, GPU or parent; may be empty
	Kind    error  // one of the package's sentinels
	Meaning string // what is wrong
	Next    string // what to do about it
}

// Error is one line: operation, object, meaning.
func (e *Error) Error() string { return fault.Line(e.parts()) }

// Hint says what to do about it.
func (e *Error) Hint() string { return e.Next }

// Unwrap gives the kind to [errors.Is].
func (e *Error) Unwrap() error { return e.Kind }

// As is for this library's own formatting of errors around this one.
func (e *Error) As(target any) bool { return fault.As(e.parts(), target) }

func (e *Error) parts() fault.Parts {
	return fault.Parts{Places: []fault.Place{{Op: e.Op, Object: e.Object}}, Meaning: e.Meaning}
}

const (
	opPlace    = "place"
	opSnapshot = "snapshot"
)

// invalid is an answer to what breaks a rule.
func invalid(op, next, meaning string, args ...any) *Error {
	return &Error{Op: op, Kind: ErrInvalid, Meaning: fmt.Sprintf(meaning, args...), Next: next}
}
