//go:build cgo

package vgputest_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vgpukit/vgpukit/domain"
	"github.com/vgpukit/vgpukit/domain/virt"
	"github.com/vgpukit/vgpukit/vgpu"
	"github.com/vgpukit/vgpukit/vgpu/vgputest"
)

func connect(t testing.TB, uri string) *virt.Conn {
	conn, err := virt.Open(t.Context(), virt.Config{URI: uri})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, conn.Close()) })
	return conn
}

// both is what a Hypervisor and a virt.Conn have alike.
type both interface {
	vgpu.Hypervisor
	XML(context.Context, string) (string, error)
	LiveXML(context.Context, string) (string, error)
	MigratableXML(context.Context, string) (string, error)
	Suspend(context.Context, string) error
	Resume(context.Context, string) error
	Reset(context.Context, string) error
	Save(ctx context.Context, vm, path string) error
	Restore(ctx context.Context, path, xml string) error
	ManagedSave(context.Context, string) error
	HasManagedSave(context.Context, string) (bool, error)
	ManagedSaveRemove(context.Context, string) error
	Attach(ctx context.Context, vm, device string, scope domain.Scope) error
	Detach(ctx context.Context, vm, device string, scope domain.Scope) error
}

type step struct {
	name string
	do   func(context.Context, both) (any, error)
}

func act(name string, do func(both, context.Context, string) error) step {
	return step{name, func(ctx context.Context, h both) (any, error) { return nil, do(h, ctx, "web1") }}
}

func ask[T any](name string, do func(both, context.Context, string) (T, error)) step {
	return step{name, func(ctx context.Context, h both) (any, error) { return do(h, ctx, "web1") }}
}

func define(name, xml string) step {
	return step{name, func(ctx context.Context, h both) (any, error) { return h.Define(ctx, xml) }}
}

func attach(device string, scope domain.Scope) step {
	return step{fmt.Sprint("attach ", scope), func(ctx context.Context, h both) (any, error) { return nil, h.Attach(ctx, "web1", device, scope) }}
}

func detach(device string, scope domain.Scope) step {
	return step{fmt.Sprint("detach ", scope), func(ctx context.Context, h both) (any, error) { return nil, h.Detach(ctx, "web1", device, scope) }}
}

func undefine(opts domain.UndefineOptions) step {
	return act("undefine", func(h both, ctx context.Context, vm string) error { return h.Undefine(ctx, vm, opts) })
}

func shutdown(mode domain.ShutdownMode) step {
	return act("shutdown "+string(mode), func(h both, ctx context.Context, vm string) error { return h.Shutdown(ctx, vm, mode) })
}

var (
	start    = act("start", both.Start)
	life     = ask("info", both.Info)
	saved    = ask("XML", both.XML)
	live     = ask("live XML", both.LiveXML)
	aSave    = act("save", func(h both, ctx context.Context, vm string) error { return h.Save(ctx, vm, "/saved") })
	aRestore = act("restore", func(h both, ctx context.Context, _ string) error { return h.Restore(ctx, "/saved", "") })
)

// steps are a VM's life, with most of what can go wrong in it.
var steps = []step{
	life, start, saved, undefine(domain.UndefineOptions{}),
	define("define", webXML("web1")), define("define again", webXML("web1")),
	define("define malformed", "<domain"), define("define without a name", "<domain type='kvm'/>"),
	define("define the UUID under another name", webXML("web2")),
	life, saved, live, ask("definition", both.Definition), ask("managed save", both.HasManagedSave),
	act("destroy", both.Destroy), act("suspend", both.Suspend), shutdown(domain.ShutdownAny), aSave, aRestore,
	attach(device, domain.ScopeLive), attach(device, domain.ScopeSaved), attach(device, domain.ScopeSaved), saved,
	detach(device, domain.ScopeSaved), detach(device, domain.ScopeSaved), attach("<hostdev", domain.ScopeSaved),
	start, start, life, saved, live, ask("migratable XML", both.MigratableXML), ask("definition", both.Definition),
	act("suspend", both.Suspend), life, act("suspend", both.Suspend), act("resume", both.Resume), act("resume", both.Resume), act("reset", both.Reset),
	attach(device, domain.ScopeLive|domain.ScopeSaved), live, saved, attach(device, domain.ScopeLive), act("save", both.ManagedSave),
	detach(device, domain.ScopeLive|domain.ScopeSaved), detach(device, domain.ScopeLive|domain.ScopeSaved), detach("hostdev0", domain.ScopeLive), live, saved,
	attach(device, domain.ScopeLive), detach("hostdev0", domain.ScopeLive), live,
	act("managed save", both.ManagedSave), ask("managed save", both.HasManagedSave), life, undefine(domain.UndefineOptions{}),
	act("remove the managed save", both.ManagedSaveRemove), act("remove the managed save", both.ManagedSaveRemove),
	start, aSave, aRestore, aRestore, life, shutdown(domain.ShutdownAgent), shutdown(domain.ShutdownACPI), life,
	start, act("terminate", both.Terminate), start, undefine(domain.UndefineOptions{}), life, live, act("destroy", both.Destroy), life,
	{"list", func(ctx context.Context, h both) (any, error) { return h.Domains(ctx) }},
}

// result is what is the same of an outcome however it came: what was returned, the
// error's kind and libvirt's number.
type result struct {
	Value any
	Kind  error
	Code  int
}

func resultOf(value any, err error) result {
	r := result{Value: value}
	for _, kind := range []error{
		domain.ErrInvalid, domain.ErrNotFound, domain.ErrExists, domain.ErrInUse, domain.ErrState, domain.ErrUnavailable, domain.ErrPermission, domain.ErrUnsupported,
	} {
		if errors.Is(err, kind) {
			r.Kind = kind
		}
	}
	var coded interface{ LibvirtCode() int }
	if errors.As(err, &coded) {
		r.Code = coded.LibvirtCode()
	}
	if err != nil {
		r.Value = nil
	}
	return r
}

// TestServeAsInProcess: a program that uses libvirt's client on a served Hypervisor
// finds the same results, errors, documents, lists and events as one that has it in
// its process.
func TestServeAsInProcess(t *testing.T) {
	inside, served := oneVGPU(t), oneVGPU(t)
	conn := connect(t, serve(t, served))
	insideEvents, err := inside.Events(t.Context())
	require.NoError(t, err)
	servedEvents, err := conn.Events(t.Context())
	require.NoError(t, err)
	for i, s := range steps {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		value, wantErr := s.do(ctx, inside)
		want := resultOf(value, wantErr)
		value, gotErr := s.do(ctx, conn)
		got := resultOf(value, gotErr)
		cancel()
		if got.Code == 0 {
			want.Code = 0 // domain/virt refuses some things without asking libvirt
		}
		require.Equal(t, want, got, "step %d, %s:\n%v\n%v", i, s.name, wantErr, gotErr)
	}
	_, err = inside.Virsh().Define(t.Context(), webXML("last"))
	require.NoError(t, err)
	_, err = conn.Define(t.Context(), webXML("last"))
	require.NoError(t, err)
	for n := 0; ; n++ {
		want, got := <-insideEvents, <-servedEvents
		require.Equal(t, want, got, "event %d", n)
		if want.VM == "last" {
			require.Greater(t, n, 20)
			break
		}
	}
}

// TestServeReconnect: a program's connection breaks when the daemon is restarted, comes
// back by itself, and its events say so.
func TestServeReconnect(t *testing.T) {
	h := oneVGPU(t)
	conn := connect(t, serve(t, h))
	events, err := conn.Events(t.Context())
	require.NoError(t, err)
	h.RestartDaemon()
	require.Equal(t, domain.EventReconnected, (<-events).Kind)
	_, err = conn.Define(t.Context(), webXML("web1"))
	require.NoError(t, err)
	require.Equal(t, domain.EventDefined, (<-events).Kind)

	h.SetDown(true)
	require.Eventually(t, func() bool {
		_, err := conn.Info(t.Context(), "web1")
		return errors.Is(err, domain.ErrUnavailable)
	}, patience, time.Millisecond)
	h.SetDown(false)
	require.Equal(t, domain.EventReconnected, (<-events).Kind)
	_, err = conn.Info(t.Context(), "web1")
	require.NoError(t, err)
}

// TestServeFaults: faults strike the calls of clients, and not those of a client of
// Virsh. One that hangs is given up by a client whose context ends; a save is aborted.
func TestServeFaults(t *testing.T) {
	h := oneVGPU(t)
	conn, operator := connect(t, serve(t, h)), connect(t, serve(t, h.Virsh()))
	_, err := operator.Define(t.Context(), webXML("web1"))
	require.NoError(t, err)
	require.Zero(t, h.Calls())

	undo := h.Fail(vgputest.Fault{Method: "Start", Err: domain.ErrInUse})
	require.ErrorIs(t, conn.Start(t.Context(), "web1"), domain.ErrInUse)
	require.NoError(t, operator.Start(t.Context(), "web1"))
	undo()

	for _, method := range []string{"Suspend", "Save", "ManagedSave"} {
		ctx, cancel := context.WithCancel(t.Context())
		answer := make(chan struct{})
		undo := h.Fail(vgputest.Fault{Method: method, Do: func(call context.Context, _ vgputest.Call) error {
			cancel()
			select {
			case <-call.Done():
				return call.Err()
			case <-answer:
				return domain.ErrState
			}
		}})
		switch method {
		case "Suspend":
			err = conn.Suspend(ctx, "web1")
		case "Save":
			err = conn.Save(ctx, "web1", "/saved")
			require.ErrorContains(t, err, "the job was aborted")
		case "ManagedSave":
			err = conn.ManagedSave(ctx, "web1")
			require.ErrorContains(t, err, "the job was aborted")
		}
		require.ErrorIs(t, err, context.Canceled, method)
		info, err := operator.Info(t.Context(), "web1")
		require.NoError(t, err)
		require.Equal(t, domain.StateRunning, info.State, method)
		close(answer)
		undo()
	}
}

// TestServeDeaf: what a guest does not let go stays, as a client of libvirt's learns it.
func TestServeDeaf(t *testing.T) {
	h := oneVGPU(t)
	conn := connect(t, serve(t, h))
	_, err := conn.Define(t.Context(), webXML("web1"))
	require.NoError(t, err)
	require.NoError(t, conn.Start(t.Context(), "web1"))
	require.NoError(t, conn.Attach(t.Context(), "web1", device, domain.ScopeLive))
	h.SetGuest("web1", vgputest.Guest{Deaf: true})
	for range 2 { // the second finds the request with the guest
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		require.ErrorIs(t, conn.Detach(ctx, "web1", device, domain.ScopeLive), domain.ErrInUse)
		cancel()
	}
	live, err := conn.LiveXML(t.Context(), "web1")
	require.NoError(t, err)
	require.Contains(t, live, vgpuID)
	require.NoError(t, conn.Reset(t.Context(), "web1"))
	live, err = conn.LiveXML(t.Context(), "web1")
	require.NoError(t, err)
	require.NotContains(t, live, vgpuID)
}
