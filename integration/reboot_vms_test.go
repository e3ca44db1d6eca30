//go:build integration

package integration

import (
	"encoding/json"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vgpukit/vgpukit/mdev"
	"github.com/vgpukit/vgpukit/vgpu"
)

// TestRebootBringsVMsBack: of three VMs one runs, one is off and one has its vGPUs
// only while it runs; after a reboot of the host Reconcile and Start bring all back
// with the same vGPUs, types and guest addresses. A host with virtual functions has
// none after a reboot, until somebody makes them.
func TestRebootBringsVMsBack(t *testing.T) {
	onEachBoard(t, "", bringsVMsBack)
}

func bringsVMsBack(t *testing.T, b board) {
	var (
		dir    = "/var/lib/vgpukit-test-" + b.name // survives the reboot
		memory = dir + "/before-the-reboot.json"
	)
	r := &rig{host: openHost(t), conn: openLibvirt(t), dir: dir}
	r.m = r.manager(t, r.host, r.conn)
	ctx := within(t, 3*time.Minute)
	if boot() == "1" {
		if b.nvidia {
			enableVFs(t, r.host)
		}
		for _, c := range []struct {
			name  string
			life  vgpu.Lifetime
			start bool
		}{{"running", vgpu.Reserved, true}, {"off", vgpu.Reserved, false}, {"while", vgpu.WhileRunning, true}} {
			req := b.victim(c.life)
			req.Domain = plain("vgpukit-reboot-" + b.name + "-" + c.name)
			req.VGPUs[0].Address = "0000:00:08.0"
			vm, err := r.m.Provision(ctx, req)
			require.NoError(t, err)
			if c.start {
				_, err = r.m.Start(ctx, vm.Name, vgpu.StartOptions{})
				require.NoError(t, err)
			}
		}
		vms, err := r.m.List(ctx)
		require.NoError(t, err)
		text, err := json.Marshal(vms)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(memory, text, 0o600))
		return
	}
	text, err := os.ReadFile(memory)
	require.NoError(t, err)
	var before []vgpu.VM
	require.NoError(t, json.Unmarshal(text, &before))
	require.Len(t, before, 3)
	if b.nvidia {
		if inv, err := r.host.Inventory(ctx); assert.NoError(t, err) && !offers(inv, b.types[0]) {
			_, err := r.m.Start(ctx, before[0].Name, vgpu.StartOptions{})
			require.ErrorIs(t, err, vgpu.ErrNoCapacity, "without virtual functions")
			t.Logf("without virtual functions: %v", err)
		}
		defer enableVFs(t, r.host)()
	}

	// Without being asked to restore, Reconcile says what has vanished.
	report, err := r.m.Reconcile(ctx, vgpu.ReconcileOptions{})
	require.NoError(t, err)
	vanished := map[string]int{}
	for _, a := range report.Actions {
		assert.Equal(t, vgpu.ActionRestore, a.Kind, "%+v", a)
		assert.False(t, a.Done)
		vanished[a.VM]++
	}
	n := len(b.types)
	assert.Equal(t, map[string]int{"vgpukit-reboot-" + b.name + "-running": n, "vgpukit-reboot-" + b.name + "-off": n}, vanished)
	_, err = r.m.Reconcile(ctx, vgpu.ReconcileOptions{Restore: true})
	require.NoError(t, err)
	again, err := r.m.Reconcile(ctx, vgpu.ReconcileOptions{Restore: true})
	require.NoError(t, err)
	assert.Empty(t, again.Actions, "a second time there is nothing to do")
	for _, was := range before {
		vm, err := r.m.Start(ctx, was.Name, vgpu.StartOptions{})
		require.NoError(t, err)
		assert.Equal(t, vgpu.StateRunning, vm.State)
		assert.Equal(t, was.UUID, vm.UUID)
		require.Len(t, vm.VGPUs, len(was.VGPUs))
		for i, g := range vm.VGPUs {
			assert.True(t, g.Present)
			assert.Equal(t, was.VGPUs[i].ID, g.ID)
			assert.Equal(t, was.VGPUs[i].Type, g.Type)
			assert.Equal(t, was.VGPUs[i].Address, g.Address)
			assert.Contains(t, guestSees(t, r, vm.Name, g.Address), b.guest[i], "the guest sees it there")
		}
	}
	for _, was := range before {
		require.NoError(t, r.m.Teardown(ctx, was.Name, vgpu.TeardownOptions{Stop: powerOff}))
	}
	require.NoError(t, os.RemoveAll(dir))
}

// offers tells whether a host has a parent of that type.
func offers(inv *mdev.Inventory, name string) bool {
	for _, gpu := range inv.GPUs {
		for _, c := range gpu.Capacity {
			if c.Name == name {
				return true
			}
		}
	}
	return false
}
