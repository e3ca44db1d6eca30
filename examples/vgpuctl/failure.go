package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/vgpukit/vgpukit/domain"
	"github.com/vgpukit/vgpukit/vgpu"
)

// Exit statuses.
const (
	exitFailed   = 1
	exitUsage    = 2
	exitRefused  = 3
	exitNotFound = 4
)

// meaning is what a kind of failure means here: its exit status, and what to do where
// the error itself does not say.
type meaning struct {
	status int
	next   string
}

// meanings has the library's kinds by their names in JSON, and two of our own.
var meanings = map[string]meaning{
	"invalid":       {exitUsage, "see vgpuctl COMMAND --help"},
	"in_use":        {exitRefused, "retry when it is let go"},
	"busy":          {exitRefused, "retry when the other operation has ended"},
	"no_capacity":   {exitRefused, "retry when a vGPU was removed; vgpuctl plan shows why each GPU was not taken"},
	"not_found":     {exitNotFound, "vgpuctl inventory and vgpuctl status show what there is"},
	"exists":        {exitFailed, "choose another name or UUID"},
	"state":         {exitFailed, "vgpuctl status shows what the VM is at"},
	"permission":    {exitFailed, "run as root"},
	"unsupported":   {exitFailed, ""},
	"refused":       {exitFailed, "see the kernel log (dmesg)"},
	"unavailable":   {exitFailed, ""},
	"timeout":       {exitFailed, "look at vgpuctl status and inventory, then repeat the command"},
	kindInterrupted: {exitFailed, "vgpuctl status and inventory show how far it came; the command can be repeated"},
	kindFailed:      {exitFailed, ""},
}

const (
	kindInterrupted = "interrupted"
	kindFailed      = "failed"
)

// failure is what a script is told of an error.
type failure = vgpu.Envelope

func newFailure(err error) failure {
	f := vgpu.NewEnvelope(err)
	f.Kind = cmp.Or(f.Kind, kindFailed)
	var (
		own      *ownError
		document *domain.Error
	)
	switch {
	case errors.As(err, &own):
	case errors.Is(err, context.Canceled):
		f.Kind, f.Error = kindInterrupted, "interrupted: "+f.Error
	case errors.As(err, &document) && errors.Is(document, domain.ErrInUse):
		f.Kind = "invalid" // a guest address that the caller's own document has taken
	}
	f.Next = cmp.Or(hint(f.Next, f.VM, f.Object), meanings[f.Kind].next)
	return f
}

// report writes what went wrong and what to do, a line each, or all of it as one
// object; it returns the exit status.
func report(w io.Writer, err error, asJSON bool) int {
	f := newFailure(err)
	if asJSON {
		_ = encoder(w).Encode(f) // nobody is left to tell
		return meanings[f.Kind].status
	}
	fmt.Fprintln(w, "vgpuctl:", f.Error)
	if f.Next != "" {
		fmt.Fprintln(w, "what to do:", f.Next)
	}
	return meanings[f.Kind].status
}

// ownError is an error of this program's own, with what to do about it.
type ownError struct {
	what, next string
	err        error // beneath, or a kind
}

func (e *ownError) Error() string { return e.what }
func (e *ownError) Hint() string  { return e.next }
func (e *ownError) Unwrap() error { return e.err }

// usageError is wrong use, with what to do instead.
func usageError(what, next string) error { return &ownError{what, next, vgpu.ErrInvalid} }
