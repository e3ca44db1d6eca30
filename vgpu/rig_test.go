package vgpu

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// through is a Manager on the rig's world that reaches libvirt through h, and has
// little patience with it.
func (r *rig) through(h Hypervisor) *Manager {
	r.t.Helper()
	m, err := New(Config{
		Host: r.host, Hypervisor: h, StateDir: r.dir,
		Timeouts: Timeouts{Lock: time.Second, Call: 50 * time.Millisecond, Start: 50 * time.Millisecond, Release: time.Second, Undo: 2 * time.Second},
	})
	require.NoError(r.t, err)
	return m
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
