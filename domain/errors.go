package domain

import (
	"errors"
	"strings"
)

// What can be wrong, for errors.Is. Every error of this package matches one of
// them. Those of domain/virt do so where one fits, and match libvirt's code.
var (
	// ErrInvalid: the document, the device or the request is not valid.
	ErrInvalid = errors.New("invalid")
	// ErrNotFound: no such domain, device or address.
	ErrNotFound = errors.New("not found")
	// ErrExists: it is there already.
	ErrExists = errors.New("exists already")
	// ErrInUse: another device or another domain has it.
	ErrInUse = errors.New("in use")
	// ErrState: the domain is in the wrong state for the operation.
	ErrState = errors.New("wrong state")
	// ErrUnavailable: libvirt cannot be reached.
	ErrUnavailable = errors.New("libvirt not reachable")
	// ErrDenied: no permission.
	ErrDenied = errors.New("permission denied")
	// ErrUnsupported: this machine type, QEMU or libvirt cannot do it.
	ErrUnsupported = errors.New("not supported")
)

// An Error tells what failed, why, and what to do. It holds no reference to a
// document and may be kept.
type Error struct {
	Op      string // what was tried: "add", "parse"
	Object  string // on what: a UUID, an address, "line 3"
	Meaning string // what is wrong, in libvirt's words where it has some
	Cause   string // the likely cause, may be empty
	Next    string // what to do about it
	Err     error  // one of the sentinels, or an error that wraps one
}

// Error returns one line: the operation, its object, what is wrong and the
// likely cause. [Error.Hint] has the rest.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Op)
	if e.Object != "" {
		b.WriteString(" " + e.Object)
	}
	switch {
	case e.Meaning == "" && e.Err != nil:
		b.WriteString(": " + e.Err.Error())
	case e.Meaning != "":
		b.WriteString(": " + e.Meaning)
		if e.Err != nil && !isSentinel(e.Err) {
			b.WriteString(": " + e.Err.Error())
		}
	}
	if e.Cause != "" {
		b.WriteString(" (" + e.Cause + ")")
	}
	return b.String()
}

// Unwrap returns the sentinel or the error beneath.
func (e *Error) Unwrap() error { return e.Err }

// Hint returns the next step to take, or "".
func (e *Error) Hint() string { return e.Next }

func isSentinel(err error) bool {
	switch err {
	case ErrInvalid, ErrNotFound, ErrExists, ErrInUse, ErrState, ErrUnavailable, ErrDenied, ErrUnsupported:
		return true
	}
	return false
}
