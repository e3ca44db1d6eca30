package domain

import "github.com/vgpukit/vgpukit/internal/fault"

// What can be wrong, for [errors.Is]. An error of this package matches exactly one
// of them. Those of domain/virt do so where one fits, and match libvirt's code.
// Packages mdev and vgpu have the same sentinels under the same names.
var (
	ErrInvalid     error = fault.Invalid     // the document, the device or the request is not valid
	ErrNotFound    error = fault.NotFound    // no such domain, device or address
	ErrExists      error = fault.Exists      // it is there already
	ErrInUse       error = fault.InUse       // another device or another domain has it
	ErrState       error = fault.State       // the domain is in the wrong state for the operation
	ErrUnavailable error = fault.Unavailable // libvirt cannot be reached
	ErrPermission  error = fault.Permission  // libvirt or the host's kernel does not permit it
	ErrUnsupported error = fault.Unsupported // this machine type, QEMU or libvirt cannot do it
)

// An Error tells what failed, why, and what to do. It holds no reference to a
// document and may be kept.
type Error struct {
	Op      string // what was tried: "add", "parse"
	Object  string // on what: a UUID, an address, "line 3"
	Kind    error  // one of the sentinels
	Meaning string // what is wrong, in libvirt's words where it has some
	Cause   string // the likely cause, may be empty
	Next    string // what to do about it
	Err     error  // what lies beneath, may be nil
}

// Error returns one line: the operation, its object, what is wrong and the
// likely cause. [Error.Hint] has the rest.
func (e *Error) Error() string { return fault.Line(e.parts()) }

// Unwrap returns the sentinel and the error beneath.
func (e *Error) Unwrap() []error { return fault.Unwrap(e.Kind, e.Err) }

// Hint returns the next step to take, or "".
func (e *Error) Hint() string { return fault.Hint(e.Next, e.Err) }

// As is for this library's own formatting of errors around this one.
func (e *Error) As(target any) bool { return fault.As(e.parts(), target) }

func (e *Error) parts() fault.Parts {
	return fault.Parts{
		Places: []fault.Place{{Op: e.Op, Object: e.Object}}, Meaning: e.Meaning, Cause: e.Cause,
		Err: fault.Reason(e.Meaning, e.Kind, e.Err),
	}
}
