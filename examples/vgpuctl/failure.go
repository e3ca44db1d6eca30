package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/vgpukit/vgpukit/domain"
	"github.com/vgpukit/vgpukit/domain/virt"
	"github.com/vgpukit/vgpukit/mdev"
	"github.com/vgpukit/vgpukit/vgpu"
	"github.com/vgpukit/vgpukit/vgpu/placement"
)

// Exit statuses.
const (
	exitFailed   = 1
	exitUsage    = 2
	exitRefused  = 3
	exitNotFound = 4
)

// kind is one kind of failure: what scripts know it by, its exit status, and what
// to do where the error itself does not say.
type kind struct {
	name   string
	status int
	next   string
}

var (
	kindInvalid     = kind{"invalid", exitUsage, "see vgpuctl COMMAND --help"}
	kindInUse       = kind{"in_use", exitRefused, "retry when it is let go"}
	kindBusy        = kind{"busy", exitRefused, "retry when the other operation has ended"}
	kindNoCapacity  = kind{"no_capacity", exitRefused, "retry when a vGPU was removed; vgpuctl plan shows why each GPU was not taken"}
	kindNotFound    = kind{"not_found", exitNotFound, "vgpuctl inventory and vgpuctl status show what there is"}
	kindExists      = kind{"exists", exitFailed, "choose another name or UUID"}
	kindState       = kind{"state", exitFailed, "vgpuctl status shows what the VM is at"}
	kindPermission  = kind{"permission", exitFailed, "run as root"}
	kindUnsupported = kind{"unsupported", exitFailed, ""}
	kindRefused     = kind{"refused", exitFailed, "see the kernel log (dmesg)"}
	kindUnavailable = kind{"unavailable", exitFailed, ""}
	kindTimeout     = kind{"timeout", exitFailed, "look at vgpuctl status and inventory, then repeat the command"}
	kindInterrupted = kind{"interrupted", exitFailed, "vgpuctl status and inventory show how far it came; the command can be repeated"}
	kindFailed      = kind{"failed", exitFailed, ""}
)

// kinds has the kind of each sentinel. Of several in one error the first counts.
var kinds = []struct {
	is   error
	kind kind
}{
	{errUsage, kindInvalid},
	{vgpu.ErrInvalid, kindInvalid},
	{mdev.ErrInvalid, kindInvalid},
	{domain.ErrInvalid, kindInvalid},
	{vgpu.ErrInUse, kindInUse},
	{mdev.ErrInUse, kindInUse},
	{domain.ErrInUse, kindInUse},
	{vgpu.ErrNoCapacity, kindNoCapacity},
	{mdev.ErrNoCapacity, kindNoCapacity},
	{vgpu.ErrBusy, kindBusy},
	{vgpu.ErrExists, kindExists},
	{mdev.ErrExists, kindExists},
	{domain.ErrExists, kindExists},
	{vgpu.ErrNotFound, kindNotFound},
	{mdev.ErrNotFound, kindNotFound},
	{domain.ErrNotFound, kindNotFound},
	{vgpu.ErrState, kindState},
	{domain.ErrState, kindState},
	{mdev.ErrPermission, kindPermission},
	{domain.ErrPermission, kindPermission},
	{mdev.ErrUnsupported, kindUnsupported},
	{domain.ErrUnsupported, kindUnsupported},
	{mdev.ErrRefused, kindRefused},
	{vgpu.ErrUnavailable, kindUnavailable},
	{domain.ErrUnavailable, kindUnavailable},
	{context.DeadlineExceeded, kindTimeout},
}

// kindOf finds an error's kind. The outermost [vgpu.Error] knows best what the
// whole came to, unless it only says that something beneath did not work.
func kindOf(err error) kind {
	var (
		own      *ownError
		op       *vgpu.Error
		document *domain.Error
	)
	switch {
	case errors.As(err, &own):
	case errors.Is(err, context.Canceled):
		return kindInterrupted
	case errors.As(err, &document) && errors.Is(document, domain.ErrInUse):
		return kindInvalid // a guest address that the caller's own document has taken
	case errors.As(err, &op) && op.Kind != nil && op.Kind != vgpu.ErrUnavailable:
		err = op.Kind
	}
	for _, k := range kinds {
		if errors.Is(err, k.is) {
			return k.kind
		}
	}
	return kindFailed
}

// failure is what a script is told of an error.
type failure struct {
	Error       string             `json:"error"` // what, in one line
	Kind        string             `json:"kind"`
	Next        string             `json:"next,omitempty"` // what to do
	VM          string             `json:"vm,omitempty"`
	Step        string             `json:"step,omitempty"`
	Object      string             `json:"object,omitempty"`
	Errno       string             `json:"errno,omitempty"`        // "EIO"
	Pending     bool               `json:"pending,omitempty"`      // the kernel has not answered: it may still be done
	LibvirtCode int                `json:"libvirt_code,omitempty"` // virErrorNumber
	DidYouMean  []string           `json:"did_you_mean,omitempty"`
	Reasons     []placement.Reason `json:"reasons,omitempty"` // of a VM that has no place: why each parent was not taken
}

func newFailure(err error) failure {
	k := kindOf(err)
	f := failure{Error: strings.ReplaceAll(err.Error(), "\n", "; "), Kind: k.name, Next: k.next}
	var (
		hint    interface{ Hint() string }
		op      *vgpu.Error
		refusal *placement.Refusal
		errno   syscall.Errno
		host    *mdev.Error
		libvirt *virt.Error
	)
	if k == kindInterrupted {
		f.Error = "interrupted: " + f.Error
	}
	if errors.As(err, &hint) {
		f.Next = cmp.Or(hint.Hint(), f.Next)
	}
	if errors.As(err, &op) {
		f.VM, f.Step, f.Object = op.VM, op.Step, op.Object
	}
	if errors.As(err, &errno) {
		f.Errno = unix.ErrnoName(errno)
	}
	if errors.As(err, &host) {
		f.Pending = host.Pending
	}
	if errors.As(err, &libvirt) {
		f.LibvirtCode = libvirt.Code
	}
	if errors.As(err, &refusal) {
		f.DidYouMean, f.Reasons = refusal.DidYouMean, refusal.Reasons()
	}
	return f
}

// report writes what went wrong and what to do, a line each, or all of it as one
// object; it returns the exit status.
func report(w io.Writer, err error, asJSON bool) int {
	f := newFailure(err)
	if asJSON {
		_ = encoder(w).Encode(f) // nobody is left to tell
		return kindOf(err).status
	}
	fmt.Fprintln(w, "vgpuctl:", f.Error)
	if f.Next != "" {
		fmt.Fprintln(w, "what to do:", f.Next)
	}
	return kindOf(err).status
}

// errUsage marks wrong use of the command line.
var errUsage = errors.New("wrong use")

// ownError is an error of this program's own, with what to do about it.
type ownError struct {
	what, next string
	err        error // beneath, or errUsage
}

func (e *ownError) Error() string { return e.what }
func (e *ownError) Hint() string  { return e.next }
func (e *ownError) Unwrap() error { return e.err }

// alsoIs is an error that is of another kind too than the library says.
type alsoIs struct {
	error
	kind error
}

func (e alsoIs) Unwrap() []error { return []error{e.error, e.kind} }

// usageError is wrong use, with what to do instead.
func usageError(what, next string) error { return &ownError{what, next, errUsage} }
