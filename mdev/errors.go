package mdev

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
)

// What can go wrong, for errors.Is. A wait that was cut short matches
// context.DeadlineExceeded or context.Canceled, and beside it the sentinel of
// what was waited for, where that is known: [ErrInUse] of a driver that was busy.
var (
	ErrInvalid     = errors.New("invalid request")
	ErrNotFound    = errors.New("not found")
	ErrExists      = errors.New("already exists")
	ErrInUse       = errors.New("in use")
	ErrNoCapacity  = errors.New("no capacity left")
	ErrRefused     = errors.New("refused by the driver")
	ErrPermission  = errors.New("no permission")
	ErrUnsupported = errors.New("not supported here")
)

// Error tells which operation failed on which object, why, and what to do
// about it. Every error of this package is an *Error or wraps one.
//
// errors.Is finds the sentinel (Err), the errno, and what lies below them.
// An Error is not changed once it is returned.
type Error struct {
	Op      string        // "create", "remove", "inventory"…
	Object  string        // a UUID, PCI address, type or path
	Errno   syscall.Errno // 0: the kernel was not asked, or did not refuse
	Meaning string        // what happened, in a few words
	Cause   string        // the likely cause; may be empty
	Next    string        // what to do about it; may be empty
	Pending bool          // the wait has ended and the kernel has not answered: what was asked for may still be done
	Err     error         // a sentinel, a context's error, or what lies below
}

// Error returns one line: operation, object, meaning, errno and cause.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Op)
	if e.Object != "" {
		b.WriteByte(' ')
		b.WriteString(e.Object)
	}
	b.WriteString(": ")
	switch {
	case e.Meaning != "":
		b.WriteString(e.Meaning)
	case e.Err != nil:
		b.WriteString(e.Err.Error())
	default:
		b.WriteString("failed")
	}
	if e.Errno != 0 {
		fmt.Fprintf(&b, " (%s: %s)", errnoName(e.Errno), e.Errno.Error())
	}
	if e.Cause != "" {
		b.WriteString("; ")
		b.WriteString(e.Cause)
	}
	return b.String()
}

// Hint returns the next step, or "".
func (e *Error) Hint() string { return e.Next }

// Unwrap returns the sentinel or lower error, and the errno.
func (e *Error) Unwrap() []error {
	var errs []error
	if e.Err != nil {
		errs = append(errs, e.Err)
	}
	if e.Errno != 0 {
		errs = append(errs, e.Errno)
	}
	return errs
}

// Is lets EIO match [ErrRefused] also where the cause is known better, for
// example when the error is an [ErrNoCapacity].
func (e *Error) Is(target error) bool {
	return target == ErrRefused && e.Errno == syscall.EIO
}
