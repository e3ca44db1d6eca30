package vgpu

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/vgpukit/vgpukit/domain"
)

// altered is a hypervisor some of whose calls are the test's.
type altered struct {
	*fakeHypervisor
	uri        string
	definition func(ctx context.Context, vm string) (domain.Definition, error)
	define     func(ctx context.Context, xml string) (domain.Info, error)
	undefine   func(ctx context.Context, vm string, opts domain.UndefineOptions) error
	start      func(ctx context.Context, vm string) error
	shutdown   func(ctx context.Context, vm string) error
	terminate  func(ctx context.Context, vm string) error
	events     func(ctx context.Context) (<-chan domain.Event, error)
}

func (a altered) URI() string {
	if a.uri != "" {
		return a.uri
	}
	return a.fakeHypervisor.URI()
}

func (a altered) Definition(ctx context.Context, vm string) (domain.Definition, error) {
	if a.definition != nil {
		return a.definition(ctx, vm)
	}
	return a.fakeHypervisor.Definition(ctx, vm)
}

func (a altered) Define(ctx context.Context, xml string) (domain.Info, error) {
	if a.define != nil {
		return a.define(ctx, xml)
	}
	return a.fakeHypervisor.Define(ctx, xml)
}

func (a altered) Undefine(ctx context.Context, vm string, opts domain.UndefineOptions) error {
	if a.undefine != nil {
		return a.undefine(ctx, vm, opts)
	}
	return a.fakeHypervisor.Undefine(ctx, vm, opts)
}

func (a altered) Start(ctx context.Context, vm string) error {
	if a.start != nil {
		return a.start(ctx, vm)
	}
	return a.fakeHypervisor.Start(ctx, vm)
}

func (a altered) Shutdown(ctx context.Context, vm string, mode domain.ShutdownMode) error {
	if a.shutdown != nil {
		return a.shutdown(ctx, vm)
	}
	return a.fakeHypervisor.Shutdown(ctx, vm, mode)
}

func (a altered) Terminate(ctx context.Context, vm string) error {
	if a.terminate != nil {
		return a.terminate(ctx, vm)
	}
	return a.fakeHypervisor.Terminate(ctx, vm)
}

func (a altered) Events(ctx context.Context) (<-chan domain.Event, error) {
	if a.events != nil {
		return a.events(ctx)
	}
	return a.fakeHypervisor.Events(ctx)
}

// through is a Manager on the rig's world that reaches libvirt through h, and has
// little patience with it.
func (r *rig) through(h Hypervisor) *Manager {
	r.t.Helper()
	m, err := New(Config{
		Host: r.host, Hypervisor: h, StateDir: r.dir,
		Timeouts: Timeouts{Lock: time.Second, Call: 50 * time.Millisecond, Start: 50 * time.Millisecond, Release: time.Second, Undo: 2 * time.Second},
	})
	require.NoError(r.t, err)
	m.boot = r.boot()
	return m
}

// hangs is a call that libvirt never answers.
func hangs(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}

// provisionVM makes the VM "vm" with one vGPU of the type.
func (r *rig) provisionVM(typ string, life Lifetime) VM {
	r.t.Helper()
	req := request("vm", typ, 1)
	req.Lifetime = life
	vm, err := r.m.Provision(r.t.Context(), req)
	require.NoError(r.t, err)
	return vm
}

// settled checks that one Reconcile leaves nothing to do.
func (r *rig) settled() Report {
	r.t.Helper()
	report, err := r.m.Reconcile(r.t.Context(), ReconcileOptions{})
	require.NoError(r.t, err)
	again, err := r.m.Reconcile(r.t.Context(), ReconcileOptions{})
	require.NoError(r.t, err)
	require.Empty(r.t, again.Actions)
	return report
}

// endsSoon fails the test if something waits without end.
func endsSoon(t *testing.T, do func()) {
	t.Helper()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		do()
	}()
	select {
	case <-ended:
	case <-time.After(20 * time.Second):
		require.FailNow(t, "it hangs")
	}
}
