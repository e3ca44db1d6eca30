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

// rebooted are the VMs that see a reboot of the host: on the first board one that
// runs, one that is off and one that has its vGPUs only while it runs; and of NVIDIA's
// two whose virtual functions a reboot takes away.
var rebooted = []struct {
	name  string
	board board
	life  vgpu.Lifetime
	start bool
}{
	{"vgpukit-reboot-running", boardNamed("mtty"), vgpu.Reserved, true},
	{"vgpukit-reboot-off", boardNamed("mtty"), vgpu.Reserved, false},
	{"vgpukit-reboot-while", boardNamed("mtty"), vgpu.WhileRunning, true},
	{"vgpukit-reboot-a40", boardNamed("A40"), vgpu.Reserved, false},
	{"vgpukit-reboot-l40s", boardNamed("L40S"), vgpu.Reserved, true},
}

// TestRebootBringsVMsBack: after a reboot of the host Reconcile and Start bring all VMs
// back with the same vGPUs, types and guest addresses. The host has no virtual
// functions after a reboot, until somebody makes them.
func TestRebootBringsVMsBack(t *testing.T) {
	const (
		dir    = "/var/lib/vgpukit-test" // survives the reboot
		memory = dir + "/before-the-reboot.json"
	)
	r := &rig{host: openHost(t), conn: openLibvirt(t), dir: dir}
	r.m = r.manager(t, r.host, r.conn)
	ctx := within(t, 5*time.Minute)
	if boot() == "1" {
		enableVFs(t, r.host, gpuA40, gpuL40S)
		for _, c := range rebooted {
			req := c.board.victim(c.life)
			req.Domain = plain(c.name)
			req.VGPUs[0].Address = "0000:00:08.0"
			_, err := r.m.Provision(ctx, req)
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
	var list []vgpu.VM
	require.NoError(t, json.Unmarshal(text, &list))
	before := map[string]vgpu.VM{}
	for _, vm := range list {
		before[vm.Name] = vm
	}
	require.Len(t, before, len(rebooted))

	// Without being asked to restore, Reconcile says what has vanished.
	report, err := r.m.Reconcile(ctx, vgpu.ReconcileOptions{})
	require.NoError(t, err)
	vanished, reserved := map[string]int{}, map[string]int{}
	for _, a := range report.Actions {
		assert.Equal(t, vgpu.ActionRestore, a.Kind, "%+v", a)
		assert.False(t, a.Done)
		vanished[a.VM]++
	}
	for _, c := range rebooted {
		if c.life == vgpu.Reserved {
			reserved[c.name] = len(c.board.types)
		}
	}
	assert.Equal(t, reserved, vanished)
	_, err = r.m.Start(ctx, "vgpukit-reboot-l40s", vgpu.StartOptions{})
	require.ErrorIs(t, err, vgpu.ErrNoCapacity, "without virtual functions")
	t.Logf("without virtual functions: %v", err)
	defer enableVFs(t, r.host, gpuA40, gpuL40S)()

	_, err = r.m.Reconcile(ctx, vgpu.ReconcileOptions{Restore: true})
	require.NoError(t, err)
	again, err := r.m.Reconcile(ctx, vgpu.ReconcileOptions{Restore: true})
	require.NoError(t, err)
	assert.Empty(t, again.Actions, "a second time there is nothing to do")
	for _, c := range rebooted {
		was := before[c.name]
		vm, err := r.m.Start(ctx, c.name, vgpu.StartOptions{})
		require.NoError(t, err)
		assert.Equal(t, vgpu.StateRunning, vm.State)
		assert.Equal(t, was.UUID, vm.UUID)
		require.Len(t, vm.VGPUs, len(was.VGPUs))
		for i, g := range vm.VGPUs {
			assert.True(t, g.Present)
			assert.Equal(t, was.VGPUs[i].ID, g.ID)
			assert.Equal(t, was.VGPUs[i].Type, g.Type)
			assert.Equal(t, was.VGPUs[i].Address, g.Address)
			assert.Contains(t, guestSees(t, r, vm.Name, g.Address), c.board.guest[i], "the guest sees it there")
		}
	}
	for name := range before {
		require.NoError(t, r.m.Teardown(ctx, name, vgpu.TeardownOptions{Stop: powerOff}))
	}
	require.NoError(t, os.RemoveAll(dir))
}
