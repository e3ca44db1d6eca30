//go:build cgo

package virt

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"libvirt.org/go/libvirt"

	"github.com/vgpukit/vgpukit/domain"
	"github.com/vgpukit/vgpukit/internal/fault"
)

// An Error says what failed, on what, why, and what to do. errors.Is finds
// package domain's sentinel, libvirt's number and a context's error in it;
// errors.As finds the libvirt.Error. It holds no libvirt handle and may be kept.
type Error struct {
	Op      string // what was tried: "start", "connect to"
	Object  string // on what: a VM's name, a URI
	Kind    error  // package domain's sentinel, nil: none describes it
	Code    int    // libvirt's error number (virErrorNumber), 0: not libvirt's
	Domain  int    // the part of libvirt that failed (virErrorDomain)
	Meaning string // what that means here
	Cause   string // the likely cause, may be empty
	Next    string // what to do about it, may be empty
	Retry   bool   // the same request may succeed if it is repeated as it is
	Err     error  // libvirt's error or the context's; nil: refused before libvirt was asked
}

// Error returns one line: operation, object, what it means, libvirt's number,
// part and own words, and the likely cause. [Error.Hint] has the rest.
func (e *Error) Error() string { return fault.Line(e.parts()) }

// Unwrap returns the sentinel of package domain, if one describes the error,
// and the error beneath.
func (e *Error) Unwrap() []error { return fault.Unwrap(e.Kind, e.Err) }

// Hint returns the next step to take, or "".
func (e *Error) Hint() string { return fault.Hint(e.Next, e.Err) }

// As is for this library's own formatting of errors around this one.
func (e *Error) As(target any) bool { return fault.As(e.parts(), target) }

// LibvirtCode returns Code, for programs that do not import this package.
func (e *Error) LibvirtCode() int { return e.Code }

func (e *Error) parts() fault.Parts {
	p := fault.Parts{Places: []fault.Place{{Op: e.Op, Object: e.Object}}, Meaning: e.Meaning, Cause: e.Cause}
	p.Err = fault.Reason(e.Meaning, e.Kind, e.Err)
	var lv libvirt.Error
	if errors.As(e.Err, &lv) {
		p.Err, p.Code = nil, fmt.Sprintf("libvirt %d/%d", lv.Code, lv.Domain)
		if e.Meaning == "" {
			p.Meaning = lv.Message
		} else if lv.Message != "" {
			p.Err = errors.New("libvirt says: " + lv.Message)
		}
	}
	return p
}

// errLost wraps what a call got when its connection broke.
type errLost struct{ error }

func (e errLost) Unwrap() error { return e.error }

// errAbandoned wraps the error of a context that ended while libvirt worked.
type errAbandoned struct{ error }

func (e errAbandoned) Unwrap() error { return e.error }

// errOpenTimeout: no connection within Config.OpenTimeout.
type errOpenTimeout struct{ after time.Duration }

func (e errOpenTimeout) Error() string { return fmt.Sprintf("no connection after %v", e.after) }
func (e errOpenTimeout) Unwrap() error { return context.DeadlineExceeded }

// invalid is the error of a request that libvirt never sees.
func invalid(op, object, meaning, next string) *Error {
	return &Error{Op: op, Object: object, Meaning: meaning, Next: next, Kind: domain.ErrInvalid}
}

// wrap makes an *Error of whatever a call returned.
func (c *Conn) wrap(op, object string, err error) error {
	var (
		own       *Error
		lost      errLost
		abandoned errAbandoned
		timeout   errOpenTimeout
	)
	switch {
	case errors.As(err, &own) && !errors.As(err, &lost):
		return own
	case errors.Is(err, errClosed):
		return &Error{
			Op: op, Object: object, Err: err, Kind: domain.ErrUnavailable,
			Next: "open a new connection",
		}
	case errors.Is(err, errBroken):
		return &Error{
			Op: op, Object: object, Err: err, Kind: domain.ErrUnavailable, Retry: true,
			Cause: "the daemon was restarted, was killed, or hangs",
			Next:  "repeat the request: the connection is opened again",
		}
	case errors.As(err, &lost):
		e := explain(op, object, err)
		e.Kind = domain.ErrUnavailable
		e.Meaning = "the connection to libvirt broke before the answer came; the request may have been carried out"
		e.Cause = "the daemon was restarted or killed, or the network failed"
		e.Next = "look at the VM's state, then repeat the request if needed: the connection is opened again"
		return e
	case errors.As(err, &timeout):
		return &Error{
			Op: op, Object: object, Err: err, Kind: domain.ErrUnavailable, Retry: true,
			Meaning: "libvirt at " + c.uri + " does not answer",
			Cause:   "the daemon hangs, or the network drops packets",
			Next:    "check the daemon: systemctl status libvirtd virtqemud",
		}
	case errors.As(err, &abandoned):
		return &Error{
			Op: op, Object: object, Err: abandoned.error,
			Meaning: "libvirt has not answered yet; the request may still be carried out",
			Next:    "look at the VM's state before the request is repeated",
		}
	case !isLibvirt(err):
		return &Error{Op: op, Object: object, Err: err} // the context ended before anything was asked
	}
	return explain(op, object, err)
}

// explain looks libvirt's error up: its words first, then its number.
func explain(op, object string, err error) *Error {
	e := &Error{Op: op, Object: object, Err: err}
	var lv libvirt.Error
	if !errors.As(err, &lv) {
		return e
	}
	e.Code, e.Domain = int(lv.Code), int(lv.Domain)
	for _, explainer := range []func(*Error, libvirt.Error) bool{explainLibrary, explainConnection, explainText, explainCode} {
		if explainer(e, lv) {
			break
		}
	}
	return e
}

func isLibvirt(err error) bool { return errors.As(err, new(libvirt.Error)) }

func quote(s string) string { return fmt.Sprintf("%q", s) }

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }
