package vgpu

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/vgpukit/vgpukit/domain"
)

// through is a Manager on the rig's world that reaches libvirt through h, and has
// little patience with it.
func (r *rig) through(h Hypervisor) *Manager {
	r.t.Helper()
	m, err := New(Config{
		Host: r.host, Hypervisor: h, StateDir: r.dir, RuntimeDir: r.run,
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
	report, err := r.m.Reconcile(r.t.Context(), ReconcileOptions{Now: true})
	require.NoError(r.t, err)
	again, err := r.m.Reconcile(r.t.Context(), ReconcileOptions{Now: true})
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

// loseOwners removes all owner files.
func (r *rig) loseOwners() {
	r.t.Helper()
	owners, _, err := r.m.store.owners.All()
	require.NoError(r.t, err)
	for id := range owners {
		require.NoError(r.t, r.m.store.owners.Remove(id))
	}
}

// loseState removes the state directory and makes an empty one.
func (r *rig) loseState() {
	r.t.Helper()
	require.NoError(r.t, os.RemoveAll(r.dir))
	require.NoError(r.t, os.RemoveAll(r.run))
	r.m = r.manager(Observer{})
}

// removeHostdev takes a VM's vGPU out of its saved definition, by hand.
func (r *rig) removeHostdev(vm string, i int) {
	r.t.Helper()
	text, err := r.xml(vm)
	require.NoError(r.t, err)
	doc, err := domain.Parse([]byte(text))
	require.NoError(r.t, err)
	meta, _, err := doc.Metadata()
	require.NoError(r.t, err)
	doc, err = doc.Remove(meta.VGPUs[i].ID)
	require.NoError(r.t, err)
	_, err = r.hyper.Define(r.t.Context(), doc.String())
	require.NoError(r.t, err)
}

// clone defines a VM's document under another name and UUID, as people do with virsh.
func (r *rig) clone(vm, as string) {
	r.t.Helper()
	text, err := r.xml(vm)
	require.NoError(r.t, err)
	doc, err := domain.Parse([]byte(strings.Replace(text, "<name>"+vm+"</name>", "<name>"+as+"</name>", 1)))
	require.NoError(r.t, err)
	doc, err = doc.WithUUID(documentUUID(as))
	require.NoError(r.t, err)
	_, err = r.hyper.Define(context.Background(), doc.String())
	require.NoError(r.t, err)
}
