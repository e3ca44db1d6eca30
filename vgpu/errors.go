package vgpu

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/vgpukit/vgpukit/domain"
	"github.com/vgpukit/vgpukit/mdev"
)

// What can go wrong, in kinds that a program can act on. Every error of this
// package is an [*Error] that matches one of these (or
// [context.DeadlineExceeded], [context.Canceled]) with [errors.Is]; the errors
// of packages mdev and domain beneath, with their errno or libvirt code, stay
// reachable the same way.
var (
	ErrInvalid     = errors.New("invalid request")         // refused before anything was touched
	ErrNotFound    = errors.New("not found")               // no such VM, vGPU, parent or type
	ErrExists      = errors.New("already exists")          // the name or the UUID is taken by something else
	ErrInUse       = errors.New("in use")                  // a vGPU is held by a VM or another process
	ErrNoCapacity  = errors.New("no capacity")             // no GPU has room for it
	ErrBusy        = errors.New("busy")                    // another operation holds the lock
	ErrState       = errors.New("not possible now")        // the VM is in the wrong state for it
	ErrUnavailable = errors.New("host is not as required") // libvirt, sysfs or the state directory refused
)

// Error says which operation on which VM failed at which step, on what, why,
// and what to do about it.
type Error struct {
	Op     string // provision, start, stop, teardown, status, list, reconcile, plan
	VM     string // the VM's name, if there is one
	Step   string // the step in the operation's order, such as "create"
	Object string // what the step worked on: a vGPU, a parent, a file
	Kind   error  // one of the package's sentinels
	Err    error  // what was returned from beneath, or a plain reason
	Next   string // what to do about it; empty: ask the error beneath
}

// Error is one line: operation and VM, step and object, reason.
func (e *Error) Error() string {
	var parts []string
	for _, words := range [][2]string{{e.Op, e.VM}, {e.Step, e.Object}} {
		part := strings.TrimSpace(words[0] + " " + words[1])
		if part != "" && !slices.Contains(parts, part) {
			parts = append(parts, part)
		}
	}
	reason := e.Err
	if reason == nil {
		reason = e.Kind
	}
	text := reason.Error()
	for _, part := range parts { // what is said already, as by an error of this package beneath
		text = strings.TrimPrefix(text, part+": ")
	}
	return strings.Join(parts, ": ") + ": " + text
}

// Unwrap gives the kind and the error beneath to [errors.Is] and [errors.As].
func (e *Error) Unwrap() []error {
	var errs []error
	for _, err := range []error{e.Kind, e.Err} {
		if err != nil {
			errs = append(errs, err)
		}
	}
	return errs
}

// Hint says what to do about it; empty if nothing better than the text is known.
func (e *Error) Hint() string {
	if e.Next != "" {
		return e.Next
	}
	var beneath interface{ Hint() string }
	if errors.As(e.Err, &beneath) {
		return beneath.Hint()
	}
	return ""
}

// kinds translates the sentinels beneath into ours, most telling first.
var kinds = []struct{ beneath, kind error }{
	{mdev.ErrInvalid, ErrInvalid},
	{domain.ErrInvalid, ErrInvalid},
	{mdev.ErrInUse, ErrInUse},
	{domain.ErrInUse, ErrInUse},
	{mdev.ErrNoCapacity, ErrNoCapacity},
	{mdev.ErrExists, ErrExists},
	{domain.ErrExists, ErrExists},
	{mdev.ErrNotFound, ErrNotFound},
	{domain.ErrNotFound, ErrNotFound},
	{domain.ErrState, ErrState},
	{mdev.ErrUnsupported, ErrInvalid},
	{domain.ErrUnsupported, ErrInvalid},
}

// kindOf finds the kind of an error from beneath. A context's end that nothing
// explains keeps its own identity and gets no kind.
func kindOf(err error) error {
	for _, kind := range []error{ErrInvalid, ErrNotFound, ErrExists, ErrInUse, ErrNoCapacity, ErrBusy, ErrState, ErrUnavailable} {
		if errors.Is(err, kind) {
			return kind
		}
	}
	for _, k := range kinds {
		if errors.Is(err, k.beneath) {
			return k.kind
		}
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return nil
	}
	return ErrUnavailable
}

// invalid is a refusal of bad input with what to do instead.
func invalid(next, reason string, args ...any) *Error {
	return &Error{Kind: ErrInvalid, Err: fmt.Errorf(reason, args...), Next: next}
}
