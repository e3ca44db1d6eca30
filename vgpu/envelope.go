package vgpu

import (
	"encoding/json"
	"errors"
	"reflect"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/vgpukit/vgpukit/internal/fault"
	"github.com/vgpukit/vgpukit/mdev"
	"github.com/vgpukit/vgpukit/vgpu/placement"
)

// Envelope is an error of this library as it travels: what a program prints for
// scripts and what a server answers. [Envelope.Err] makes the error again.
type Envelope struct {
	Error  string `json:"error"`          // the error in one line
	Kind   string `json:"kind,omitempty"` // invalid, not_found, exists, in_use, no_capacity, busy, state, permission, unsupported, refused, unavailable, timeout, canceled
	Next   string `json:"next,omitempty"` // what to do about it
	Op     string `json:"op,omitempty"`
	VM     string `json:"vm,omitempty"`
	Step   string `json:"step,omitempty"`
	Object string `json:"object,omitempty"`
	// Errno is the kernel's, by name: "EIO".
	Errno string `json:"errno,omitempty"`
	// LibvirtCode is libvirt's virErrorNumber.
	LibvirtCode int `json:"libvirt_code,omitempty"`
	// Ended is timeout or canceled if a context ended beneath.
	Ended string `json:"ended,omitempty"`
	// Pending: the kernel has not answered, so that it may still be done.
	Pending bool `json:"pending,omitempty"`
	// DidYouMean and Reasons are those of a [placement.Refusal].
	DidYouMean []string           `json:"did_you_mean,omitempty"`
	Reasons    []placement.Reason `json:"reasons,omitempty"`
}

// NewEnvelope puts an error of any of the library's packages into an envelope. Of
// another error it takes the text; of nil nothing.
func NewEnvelope(err error) Envelope {
	if err == nil {
		return Envelope{}
	}
	e := Envelope{
		Error: fault.Text(err), Kind: fault.Name(KindOf(err)), Next: Hint(err), Ended: fault.Name(fault.EndOf(err)),
	}
	var (
		op      *Error
		errno   syscall.Errno
		host    *mdev.Error
		libvirt interface{ LibvirtCode() int }
		refusal *placement.Refusal
		told    *told
	)
	if errors.As(err, &told) {
		e.LibvirtCode, e.Pending, e.DidYouMean, e.Reasons = told.LibvirtCode, told.Pending, told.DidYouMean, told.Reasons
	}
	e.Op, e.Object = fault.PlaceOf(err)
	for within := err; errors.As(within, &op); within = op.Err { // of the whole host, it is the VM's that tells more
		e.Op, e.VM, e.Step, e.Object = op.Op, op.VM, op.Step, op.Object
		if op.VM != "" || op.Err == nil {
			break
		}
	}
	if errors.As(err, &errno) {
		e.Errno = unix.ErrnoName(errno)
	}
	if errors.As(err, &host) {
		e.Pending = host.Pending
	}
	if errors.As(err, &libvirt) {
		e.LibvirtCode = libvirt.LibvirtCode()
	}
	if errors.As(err, &refusal) {
		e.DidYouMean, e.Reasons = refusal.DidYouMean, refusal.Reasons()
	}
	return e
}

// Err is the error in the envelope. It reads the same, and matches the same kind,
// errno, libvirt's number and end of a context; other errors beneath stay behind. An
// empty envelope has none.
func (e Envelope) Err() error {
	if e.Error == "" {
		return nil
	}
	return &Error{
		Op: e.Op, VM: e.VM, Step: e.Step, Object: e.Object, Next: e.Next,
		Kind: kindNamed(e.Kind), Err: &told{e}, line: e.Error,
	}
}

// kindNamed leaves the end of a context to what lies beneath.
func kindNamed(name string) error {
	kind := fault.Named(name)
	if kind == fault.EndOf(kind) {
		return nil
	}
	return kind
}

// MarshalJSON writes the error's [Envelope].
func (e *Error) MarshalJSON() ([]byte, error) { return json.Marshal(NewEnvelope(e)) }

// UnmarshalJSON reads the error from its [Envelope].
func (e *Error) UnmarshalJSON(data []byte) error {
	var envelope Envelope
	if err := json.Unmarshal(data, &envelope); err != nil {
		return err
	}
	if read, ok := envelope.Err().(*Error); ok {
		*e = *read
		return nil
	}
	return errors.New("an error without a text")
}

// told stands for what lay beneath an error that travelled.
type told struct{ Envelope }

func (t *told) Error() string { return t.Envelope.Error }

// Is matches what the envelope names.
func (t *told) Is(target error) bool {
	switch target := target.(type) {
	case syscall.Errno:
		return t.Errno != "" && unix.ErrnoName(target) == t.Errno
	default:
		return t.Ended != "" && target == fault.Named(t.Ended) || t.LibvirtCode != 0 && isLibvirtCode(target, t.LibvirtCode)
	}
}

// As finds the errno.
func (t *told) As(target any) bool {
	errno, ok := target.(*syscall.Errno)
	if !ok || t.Errno == "" {
		return false
	}
	for n := syscall.Errno(1); n < 256; n++ {
		if unix.ErrnoName(n) == t.Errno {
			*errno = n
			return true
		}
	}
	return false
}

// isLibvirtCode compares with the binding's ErrorNumber by its name: this package
// does not import the binding.
func isLibvirtCode(target error, code int) bool {
	t := reflect.TypeOf(target)
	return t.Kind() == reflect.Int && t.Name() == "ErrorNumber" && t.PkgPath() == "libvirt.org/go/libvirt" &&
		reflect.ValueOf(target).Int() == int64(code)
}
