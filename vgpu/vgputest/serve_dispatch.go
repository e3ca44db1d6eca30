package vgputest

import (
	"context"
	"errors"
	"fmt"
	"reflect"

	"github.com/vgpukit/vgpukit/domain"
	"github.com/vgpukit/vgpukit/internal/fault"
	rpc "github.com/vgpukit/vgpukit/internal/libvirtrpc"
)

// Codes of libvirt's that only clients are told.
const (
	codeDomainExists         = 28
	codeAborted              = 78
	codeNoMetadata           = 80
	codeOperationUnsupported = 84
	codeBusy                 = 87
	codeAccessDenied         = 88
)

// procedure is how a call is answered.
type procedure struct {
	function string // of libvirt's API
	changes  bool   // a read-only connection may not
	call     func(context.Context, *client, []byte) (any, error)
}

// reads is a procedure that changes nothing.
func reads[A, R any](function string, f func(*client, context.Context, *A) (R, error)) procedure {
	return procedure{function: function, call: func(ctx context.Context, c *client, payload []byte) (any, error) {
		args := new(A)
		if err := rpc.Unmarshal(payload, args); err != nil {
			return nil, refuse(rpc.CodeRPC, nil, "Unable to decode message payload: %v", err)
		}
		result, err := f(c, ctx, args)
		if err != nil {
			return nil, naming(args, err)
		}
		return result, nil
	}}
}

// changes is a procedure that a read-only connection may not call.
func changes[A, R any](function string, f func(*client, context.Context, *A) (R, error)) procedure {
	p := reads(function, f)
	p.changes = true
	return p
}

// gives is a procedure that always says the same.
func gives[R any](function string, result R) procedure {
	return reads(function, func(*client, context.Context, *rpc.Void) (R, error) { return result, nil })
}

// dispatch answers a call, or says why not as libvirtd does.
func (c *client) dispatch(ctx context.Context, m rpc.Message) (any, error) {
	p, known := procedures[m.Procedure]
	switch {
	case m.Version != rpc.Version, m.Program != rpc.ProgramRemote && m.Program != rpc.ProgramQEMU:
		return nil, refuse(rpc.CodeRPC, nil, "Cannot find program %d version %d", m.Program, m.Version)
	case m.Procedure < 1, m.Program == rpc.ProgramRemote && m.Procedure > rpc.LastProcedure:
		return nil, refuse(rpc.CodeRPC, nil, "unknown procedure: %d", m.Procedure)
	case !known, m.Program == rpc.ProgramQEMU:
		return nil, refuse(rpc.CodeNoSupport, domain.ErrUnsupported, "this function is not supported by the connection driver: procedure %d of program 0x%x", m.Procedure, m.Program)
	case !c.opened.Load() && m.Procedure != rpc.ConnectOpen && m.Procedure != rpc.AuthList && m.Procedure != rpc.ConnectSupportsFeature && m.Procedure != rpc.ConnectClose:
		return nil, refuse(rpc.CodeInternal, nil, "internal error: connection not open")
	case p.changes && c.readOnly.Load():
		return nil, refuse(rpc.CodeDenied, domain.ErrPermission, "operation forbidden: read only access prevents %s", p.function)
	}
	return p.call(ctx, c, m.Payload)
}

// naming says which domain is not there as libvirt does when it was asked by handle.
func naming(args any, err error) error {
	v := reflect.ValueOf(args).Elem()
	if snap := v.FieldByName("Snap"); snap.IsValid() {
		v = snap
	}
	var own *Error
	if dom := v.FieldByName("Dom"); dom.IsValid() && errors.As(err, &own) && own.Code == codeNoDomain {
		d := dom.Interface().(rpc.Domain)
		return refuse(codeNoDomain, domain.ErrNotFound, "Domain not found: no domain with matching uuid '%s' (%s)", d.UUID, d.Name)
	}
	return err
}

// kindCodes are for errors that are not libvirt's, such as those that a test injects:
// a client reads the same kind out of them.
var kindCodes = []struct {
	kind error
	code int
}{
	{domain.ErrInvalid, codeInvalidArgument},
	{domain.ErrNotFound, codeDeviceMissing},
	{domain.ErrExists, codeDomainExists},
	{domain.ErrInUse, codeBusy},
	{domain.ErrState, codeOperationInvalid},
	{domain.ErrPermission, codeAccessDenied},
	{domain.ErrUnsupported, codeOperationUnsupported},
}

// wireError is an error in libvirt's form.
func wireError(err error) *rpc.Error {
	var own *Error
	code, from, words := rpc.CodeInternal, rpc.FromQEMU, err.Error()
	if errors.As(err, &own) {
		if words = own.Message; words == "" {
			words = fmt.Sprint(fault.Reason("", own.Kind, own.Err))
		}
		if own.Code != 0 {
			code = own.Code
		}
	}
	if own == nil || own.Code == 0 {
		for _, k := range kindCodes {
			if errors.Is(err, k.kind) {
				code = k.code
			}
		}
	}
	if code == rpc.CodeRPC {
		from = rpc.FromRPC
	}
	return rpc.NewError(code, from, words)
}

// checkFlags refuses flags that are not known here.
func checkFlags(flags, known uint32, function string) error {
	if unknown := flags &^ known; unknown != 0 {
		return refuse(rpc.CodeInvalidArg, domain.ErrInvalid, "invalid argument: unsupported flags (0x%x) in function %s", unknown, function)
	}
	return nil
}
