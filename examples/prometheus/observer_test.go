package prometheus

import (
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vgpukit/vgpukit/domain"
	"github.com/vgpukit/vgpukit/mdev"
	"github.com/vgpukit/vgpukit/mdev/mdevtest"
	"github.com/vgpukit/vgpukit/vgpu"
	"github.com/vgpukit/vgpukit/vgpu/vgputest"
)

// TestObserver: operations and steps are counted by how they ended, those that
// succeeded are timed, and none stays in progress.
func TestObserver(t *testing.T) {
	board, err := mdevtest.NewBoard("mtty")
	require.NoError(t, err)
	sim := mdevtest.New(board)
	host, err := mdev.Open(mdev.Config{FS: sim})
	require.NoError(t, err)
	libvirt := vgputest.New(sim)
	libvirt.Fail(vgputest.Fault{Method: "Define", Err: domain.ErrPermission})
	reg := prometheus.NewRegistry()
	manager, err := vgpu.New(vgpu.Config{Host: host, Hypervisor: libvirt, StateDir: t.TempDir(), Observer: NewObserver(reg)})
	require.NoError(t, err)

	_, err = manager.List(t.Context())
	require.NoError(t, err)
	_, err = manager.Provision(t.Context(), vgpu.ProvisionRequest{
		Domain: "<domain type='kvm'><name>vm</name><os><type arch='x86_64' machine='q35'>hvm</type></os><devices/></domain>",
		VGPUs:  []vgpu.Request{{Type: "mtty-1"}},
	})
	require.ErrorIs(t, err, vgpu.ErrPermission)

	require.NoError(t, testutil.GatherAndCompare(reg, strings.NewReader(`
# HELP vgpukit_operations_in_progress Operations that have begun and not ended.
# TYPE vgpukit_operations_in_progress gauge
vgpukit_operations_in_progress{op="list"} 0
vgpukit_operations_in_progress{op="provision"} 0
# HELP vgpukit_operations_total Operations of the Manager, by how they ended.
# TYPE vgpukit_operations_total counter
vgpukit_operations_total{op="list",result="ok"} 1
vgpukit_operations_total{op="provision",result="failed"} 1
# HELP vgpukit_steps_in_progress Steps that have begun and not ended.
# TYPE vgpukit_steps_in_progress gauge
vgpukit_steps_in_progress{op="provision"} 0
# HELP vgpukit_steps_total Steps of operations on VMs, by how they ended.
# TYPE vgpukit_steps_total counter
vgpukit_steps_total{op="provision",result="failed",step="define"} 1
vgpukit_steps_total{op="provision",result="ok",step="create"} 1
vgpukit_steps_total{op="provision",result="ok",step="document"} 1
vgpukit_steps_total{op="provision",result="ok",step="find"} 1
vgpukit_steps_total{op="provision",result="ok",step="grant"} 1
vgpukit_steps_total{op="provision",result="ok",step="journal"} 1
vgpukit_steps_total{op="provision",result="ok",step="lock"} 2
vgpukit_steps_total{op="provision",result="ok",step="look"} 1
vgpukit_steps_total{op="provision",result="ok",step="place"} 1
vgpukit_steps_total{op="provision",result="undone",step="create"} 1
vgpukit_steps_total{op="provision",result="undone",step="define"} 1
vgpukit_steps_total{op="provision",result="undone",step="grant"} 1
`), "vgpukit_steps_total", "vgpukit_steps_in_progress", "vgpukit_operations_total", "vgpukit_operations_in_progress"))
	for name, n := range map[string]int{"vgpukit_operation_duration_seconds": 1, "vgpukit_step_duration_seconds": 8} {
		timed, err := testutil.GatherAndCount(reg, name)
		require.NoError(t, err)
		assert.Equal(t, n, timed, name)
	}
}
