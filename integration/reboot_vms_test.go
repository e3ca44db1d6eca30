//go:build integration

package integration

import (
	"encoding/json"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vgpukit/vgpukit/vgpu"
)

// TestRebootBringsVMsBack: of three VMs one runs, one is off and one has its vGPUs
// only while it runs; after a reboot of the host Reconcile and Start bring all back
// with the same vGPUs, types and guest addresses.
func TestRebootBringsVMsBack(t *testing.T) {
	const (
		dir    = "/var/lib/vgpukit-test" // survives the reboot
		memory = dir + "/before-the-reboot.json"
	)
	r := &rig{host: openHost(t), conn: openLibvirt(t), dir: dir}
	r.m = r.manager(t, r.host, r.conn)
	ctx := within(t, 3*time.Minute)
	if boot() == "1" {
		for _, c := range []struct {
			name  string
			life  vgpu.Lifetime
			start bool
		}{{"vgpukit-reboot-running", vgpu.Reserved, true}, {"vgpukit-reboot-off", vgpu.Reserved, false}, {"vgpukit-reboot-while", vgpu.WhileRunning, true}} {
			_, err := r.m.Provision(ctx, vgpu.ProvisionRequest{Domain: document(c.name), Lifetime: c.life, VGPUs: []vgpu.Request{
				{Type: "mtty-2", Address: "0000:00:08.0"}, {Type: "mtty-1"},
			}})
			require.NoError(t, err)
			if c.start {
				_, err = r.m.Start(ctx, c.name, vgpu.StartOptions{})
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

	// Without being asked to restore, Reconcile says what has vanished.
	report, err := r.m.Reconcile(ctx, vgpu.ReconcileOptions{})
	require.NoError(t, err)
	named := map[string]int{}
	for _, a := range report.Actions {
		assert.Equal(t, vgpu.ActionRestore, a.Kind, "%+v", a)
		assert.False(t, a.Done)
		named[a.VM]++
	}
	assert.Equal(t, map[string]int{"vgpukit-reboot-running": 2, "vgpukit-reboot-off": 2}, named)
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
			assert.Contains(t, guestSees(t, r, vm.Name, g.Address), "4348:3253", "the guest sees it there")
		}
	}
	for _, was := range before {
		require.NoError(t, r.m.Teardown(ctx, was.Name, vgpu.TeardownOptions{Stop: powerOff}))
	}
	require.NoError(t, os.RemoveAll(dir))
}
