package vgpu

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vgpukit/vgpukit/mdev"
)

// ledger is the rig's, as a program without libvirt opens it.
func (r *rig) ledger() *Ledger {
	r.t.Helper()
	l, err := OpenLedger(Config{Host: r.host, StateDir: r.dir, RuntimeDir: r.run})
	require.NoError(r.t, err)
	return l
}

// TestRemoveGranted: a vGPU that an owner file, a grant or an unfinished operation names is
// refused, with the VM's name, until the grant is over; what cannot be read keeps all.
func TestRemoveGranted(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*rig, VM)
		says   string
	}{
		"owner and grant": {func(*rig, VM) {}, "granted to the VM vm"},
		"grant alone":     {func(r *rig, _ VM) { r.loseOwners() }, "granted to the VM vm"},
		"owner alone": {func(r *rig, vm VM) {
			require.NoError(r.t, r.m.store.grants.Remove(vm.UUID.String()))
		}, "has no grant any more"},
		"operation alone": {func(r *rig, vm VM) {
			g, _, err := r.m.store.grants.Read(vm.UUID.String())
			require.NoError(r.t, err)
			r.loseOwners()
			require.NoError(r.t, r.m.store.grants.Remove(vm.UUID.String()))
			require.NoError(r.t, r.m.store.tasks.Write(task{VM: vm.UUID, Name: vm.Name, Operation: opProvision, Grant: &g}))
		}, "granted to the VM vm"},
		"damaged owner": {func(r *rig, vm VM) {
			require.NoError(r.t, os.WriteFile(r.m.store.owners.Path(vm.VGPUs[0].ID), []byte("{"), 0o600))
		}, "cannot be known"},
		"damaged grant": {func(r *rig, vm VM) {
			r.loseOwners()
			require.NoError(r.t, os.WriteFile(r.m.store.grants.Path(vm.UUID.String()), []byte("{"), 0o600))
		}, "cannot be known"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, "mtty")
			vm := r.provisionVM("mtty-1", Reserved)
			id := vm.VGPUs[0].ID
			c.change(r, vm)
			l := r.ledger()
			for _, spelled := range []string{id, strings.ToUpper(id)} {
				free, removed := l.Free(t.Context(), spelled), l.RemoveDevice(t.Context(), spelled, RemoveOptions{})
				for _, err := range []error{free, removed} {
					require.ErrorIs(t, err, ErrInUse)
					assert.ErrorContains(t, err, c.says)
				}
				assert.Equal(t, Hint(free)+"; or remove the vGPU by force", Hint(removed))
			}
			assert.Equal(t, []string{id}, r.sim.Devices())

			require.NoError(t, r.m.RemoveDevice(t.Context(), id, RemoveOptions{Force: true}))
			assert.Empty(t, r.sim.Devices())
			assert.False(t, r.m.store.owners.Has(id))
			r.recorded(recorded{What: "removed", Op: opRemove, Object: id})
		})
	}
}

// recorded checks what the last line of the log of record says.
func (r *rig) recorded(want recorded) {
	r.t.Helper()
	text, err := os.ReadFile(filepath.Join(r.dir, "record.log"))
	require.NoError(r.t, err)
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	var got recorded
	require.NoError(r.t, json.Unmarshal([]byte(lines[len(lines)-1]), &got))
	assert.Equal(r.t, want, recorded{What: got.What, Op: got.Op, Object: got.Object})
}

// TestRemoveBare: what is nobody's is removed as the host does it; one in use never, by force
// neither; the VM whose vGPU was removed by force starts with a new one.
func TestRemoveBare(t *testing.T) {
	r := newRig(t, "mtty")
	l := r.ledger()
	bare := uuid.New()
	_, err := r.host.Create(t.Context(), mdev.CreateRequest{Type: "mtty-1", UUID: bare})
	require.NoError(t, err)
	require.NoError(t, l.Free(t.Context(), bare.String()))
	require.NoError(t, l.RemoveDevice(t.Context(), bare.String(), RemoveOptions{}))
	require.ErrorIs(t, l.RemoveDevice(t.Context(), bare.String(), RemoveOptions{}), ErrNotFound)
	require.ErrorIs(t, l.RemoveDevice(t.Context(), "nonsense", RemoveOptions{}), ErrInvalid)
	require.ErrorIs(t, l.Free(t.Context(), "nonsense"), ErrInvalid)

	vm := r.provisionVM("mtty-1", Reserved)
	id := vm.VGPUs[0].ID
	_, err = r.m.Start(t.Context(), "vm", StartOptions{})
	require.NoError(t, err)
	err = l.RemoveDevice(t.Context(), id, RemoveOptions{Force: true})
	require.ErrorIs(t, err, ErrInUse)
	assert.Equal(t, []string{id}, r.sim.Devices())
	_, err = r.m.Stop(t.Context(), "vm", StopOptions{SkipGuest: true})
	require.NoError(t, err)
	require.NoError(t, l.RemoveDevice(t.Context(), id, RemoveOptions{Force: true}))
	vm, err = r.m.Start(t.Context(), "vm", StartOptions{})
	require.NoError(t, err)
	assert.Equal(t, id, vm.VGPUs[0].ID)
	assert.True(t, vm.VGPUs[0].Present)
}

// TestLedgerNeedsAHost: and nothing else.
func TestLedgerNeedsAHost(t *testing.T) {
	_, err := OpenLedger(Config{})
	require.ErrorIs(t, err, ErrInvalid)
}
