package mdev

import (
	"syscall"

	"github.com/vgpukit/vgpukit/internal/fault"
)

// What can go wrong, for [errors.Is]. An error matches one of them
// at most, and exactly one if the package knows what it means. A wait
// that was cut short matches context.DeadlineExceeded or context.Canceled, and
// beside it the sentinel of what was waited for, where that is known: [ErrInUse] of
// a driver that was busy. Packages domain and vgpu have the same sentinels under the
// same names.
var (
	ErrInvalid     error = fault.Invalid
	ErrNotFound    error = fault.NotFound
	ErrExists      error = fault.Exists
	ErrInUse       error = fault.InUse
	ErrNoCapacity  error = fault.NoCapacity
	ErrRefused     error = fault.Refused // by the driver, with EIO and no better reason
	ErrPermission  error = fault.Permission
	ErrUnsupported error = fault.Unsupported
)

// Error tells which operation failed on which object, why, and what to do
// about it. Every error of this package is an *Error or wraps one.
//
// errors.Is finds the sentinel (Kind), the errno, and what lies below. An Error is
// not changed once it is returned.
type Error struct {
	Op      string        // "create", "remove", "inventory"…
	Object  string        // a UUID, PCI address, type or path
	Kind    error         // one of the package's sentinels; nil: none describes it
	Errno   syscall.Errno // 0: the kernel was not asked, or did not refuse
	Meaning string        // what happened, in a few words
	Cause   string        // the likely cause; may be empty
	Next    string        // what to do about it; may be empty
	Pending bool          // the wait has ended and the kernel has not answered: what was asked for may still be done
	Err     error         // a context's error, or what lies below; may be nil
}

// Error returns one line: operation, object, meaning, errno and cause.
func (e *Error) Error() string { return fault.Line(e.parts()) }

// Hint returns the next step, or "".
func (e *Error) Hint() string { return fault.Hint(e.Next, e.Err) }

// Unwrap returns the sentinel, the errno and what lies below.
func (e *Error) Unwrap() []error {
	errs := fault.Unwrap(e.Kind, e.Err)
	if e.Errno != 0 {
		errs = append(errs, e.Errno)
	}
	return errs
}

// As is for this library's own formatting of errors around this one.
func (e *Error) As(target any) bool { return fault.As(e.parts(), target) }

func (e *Error) parts() fault.Parts {
	p := fault.Parts{Places: []fault.Place{{Op: e.Op, Object: e.Object}}, Meaning: e.Meaning, Cause: e.Cause}
	p.Err = fault.Reason(e.Meaning, e.Kind, e.Err)
	if e.Errno != 0 {
		p.Code = errnoName(e.Errno)
	}
	return p
}
