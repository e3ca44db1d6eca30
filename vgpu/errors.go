package vgpu

import (
	"fmt"

	"github.com/vgpukit/vgpukit/internal/fault"
)

// What can go wrong, in kinds that a program can act on. Every error of this
// package matches exactly one of them with [errors.Is], or, where nothing but the
// end of a context explains it, [context.DeadlineExceeded] or [context.Canceled].
// Packages mdev and domain have the same sentinels under the same names. The errno
// or libvirt's code beneath is found the same way.
var (
	ErrInvalid     error = fault.Invalid     // refused before anything was touched
	ErrNotFound    error = fault.NotFound    // no such VM, vGPU, parent or type
	ErrExists      error = fault.Exists      // the name or the UUID is taken by something else
	ErrInUse       error = fault.InUse       // a vGPU is held by a VM or another process
	ErrNoCapacity  error = fault.NoCapacity  // no GPU has room for it
	ErrBusy        error = fault.Busy        // another operation holds the lock
	ErrState       error = fault.State       // the VM is in the wrong state for it
	ErrPermission  error = fault.Permission  // the kernel or libvirt does not permit it
	ErrUnsupported error = fault.Unsupported // this kernel, driver, QEMU or libvirt cannot do it
	ErrRefused     error = fault.Refused     // a driver refused, with EIO and no better reason
	ErrUnavailable error = fault.Unavailable // libvirt, sysfs or the state directory failed
)

// KindOf returns the one kind of an error of this library, of whichever of its
// packages: one of the sentinels above, or context.DeadlineExceeded or
// context.Canceled where nothing else explains it. It is nil for nil, for an error
// that is not of this library, and for one of packages mdev and domain/virt that the
// kernel or libvirt gave and no kind describes; the Manager's is then ErrUnavailable.
func KindOf(err error) error { return fault.KindOf(err) }

// Hint returns what to do about an error of this library, of whichever of its
// packages, in a sentence; "" if nothing better than its text is known.
func Hint(err error) string { return fault.Hint("", err) }

// Error says which operation on which VM failed at which step, on what, why,
// and what to do about it. It travels as JSON: see [Envelope].
type Error struct {
	Op     string // provision, start, stop, teardown, plan, status, list, reconcile, watch, adopt, new manager
	VM     string // the VM's name, if there is one
	Step   string // the step in the operation's order, such as "create"
	Object string // what the step worked on: a vGPU, a parent, a file
	Kind   error  // one of the package's sentinels; nil: a context ended
	Err    error  // what was returned from beneath, or a plain reason
	Cause  string // the likely cause, or what follows from the failure; may be empty
	Next   string // what to do about it; empty: ask the error beneath

	line string // as it was, if it was read from JSON
}

// Error is one line: operation and VM, step and object, reason, cause.
func (e *Error) Error() string {
	if e.line != "" {
		return e.line
	}
	return fault.Line(e.parts())
}

// Unwrap gives the kind and the error beneath to [errors.Is] and [errors.As].
func (e *Error) Unwrap() []error { return fault.Unwrap(e.Kind, e.Err) }

// Hint says what to do about it; empty if nothing better than the text is known.
func (e *Error) Hint() string { return fault.Hint(e.Next, e.Err) }

// As is for this library's own formatting of errors around this one.
func (e *Error) As(target any) bool { return e.line == "" && fault.As(e.parts(), target) }

func (e *Error) parts() fault.Parts {
	return fault.Parts{
		Places: []fault.Place{{Op: e.Op, Object: e.VM}, {Op: e.Step, Object: e.Object}}, Cause: e.Cause,
		Err: fault.Reason("", e.Kind, e.Err),
	}
}

// kindOf is the kind of an error from beneath. A context's end that nothing explains
// keeps its own identity and gets none.
func kindOf(err error) error {
	switch kind := fault.KindOf(err); {
	case kind == nil:
		return ErrUnavailable
	case kind == fault.EndOf(kind):
		return nil
	default:
		return kind
	}
}

// invalid is a refusal of bad input with what to do instead.
func invalid(next, reason string, args ...any) *Error {
	return &Error{Kind: ErrInvalid, Err: fmt.Errorf(reason, args...), Next: next}
}
