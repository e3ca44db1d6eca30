package vgputest

import (
	"errors"
	"fmt"
	"strings"
	"unicode"

	"github.com/vgpukit/vgpukit/domain"
	"github.com/vgpukit/vgpukit/internal/fault"
)

// An Error is one of libvirt's, as domain/virt has them: it matches one of package
// domain's sentinels.
type Error struct {
	Op      string // what was tried: "start"
	VM      string // on what: a VM's name, a path
	Kind    error  // package domain's sentinel; nil: none describes it
	Code    int    // libvirt's error number (virErrorNumber); 0: not libvirt's
	Message string // libvirt's words
	Err     error  // what lies beneath: a context's error
}

// Error returns one line: operation, VM and libvirt's number and words.
func (e *Error) Error() string { return fault.Line(e.parts()) }

// Unwrap returns the sentinel and the error beneath.
func (e *Error) Unwrap() []error { return fault.Unwrap(e.Kind, e.Err) }

// As is for this library's own formatting of errors around this one.
func (e *Error) As(target any) bool { return fault.As(e.parts(), target) }

// LibvirtCode returns Code.
func (e *Error) LibvirtCode() int { return e.Code }

func (e *Error) parts() fault.Parts {
	p := fault.Parts{Places: []fault.Place{{Op: e.Op, Object: e.VM}}, Meaning: e.Message, Err: fault.Reason(e.Message, e.Kind, e.Err)}
	if e.Code != 0 {
		p.Code = fmt.Sprintf("libvirt %d", e.Code)
	}
	return p
}

// libvirt's numbers, of https://libvirt.org/html/libvirt-virterror.html#virErrorNumber.
const (
	codeInternal            = 1
	codeInvalidArgument     = 8
	codeOperationFailed     = 9
	codeNoName              = 21
	codeXML                 = 27
	codeXMLDetail           = 35
	codeSystem              = 38
	codeNoDomain            = 42
	codeOperationInvalid    = 55
	codeConfigUnsupported   = 67
	codeNoSnapshot          = 72
	codeArgumentUnsupported = 74
	codeRevertRisky         = 77
	codeAgent               = 86
	codeDeviceMissing       = 99
)

func refuse(code int, kind error, format string, args ...any) error {
	return &Error{Code: code, Kind: kind, Message: fmt.Sprintf(format, args...)}
}

// wrongState is libvirt's commonest refusal.
func wrongState(format string, args ...any) error {
	return refuse(codeOperationInvalid, domain.ErrState, "Requested operation is not valid: "+format, args...)
}

// at says where an error happened.
func at(method, vm string, err error) error {
	if err == nil {
		return nil
	}
	op := words(method)
	var own *Error
	if !errors.As(err, &own) {
		return &Error{Op: op, VM: vm, Err: err}
	}
	e := *own
	e.Op, e.VM = op, vm
	return &e
}

// words makes "managed save" of ManagedSave.
func words(method string) string {
	var b strings.Builder
	for i, r := range method {
		if i > 0 && unicode.IsUpper(r) && unicode.IsLower(rune(method[i-1])) {
			b.WriteByte(' ')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}
