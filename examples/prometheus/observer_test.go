package prometheus

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"github.com/vgpukit/vgpukit/vgpu"
)

// TestObserver: operations and steps are counted by how they ended, and none stays in
// progress.
func TestObserver(t *testing.T) {
	reg := prometheus.NewRegistry()
	o := NewObserver(reg)
	create := vgpu.Step{Op: "provision", VM: "vm", Name: "create", Object: "x", Took: time.Second}
	define := vgpu.Step{Op: "provision", VM: "vm", Name: "define"}
	whole, failed := vgpu.Operation{Op: "provision", VM: "vm"}, errors.New("no")
	ctx := o.OperationBegun(t.Context(), whole)
	o.StepEnded(o.StepBegun(ctx, create), create, nil)
	o.StepEnded(o.StepBegun(ctx, define), define, failed)
	o.StepUndone(ctx, create, nil)
	o.OperationEnded(ctx, whole, failed)
	require.NoError(t, testutil.GatherAndCompare(reg, strings.NewReader(`
# HELP vgpukit_operations_in_progress Operations that have begun and not ended.
# TYPE vgpukit_operations_in_progress gauge
vgpukit_operations_in_progress{op="provision"} 0
# HELP vgpukit_operations_total Operations of the Manager, by how they ended.
# TYPE vgpukit_operations_total counter
vgpukit_operations_total{op="provision",result="failed"} 1
# HELP vgpukit_steps_in_progress Steps that have begun and not ended.
# TYPE vgpukit_steps_in_progress gauge
vgpukit_steps_in_progress{op="provision"} 0
# HELP vgpukit_steps_total Steps of operations on VMs, by how they ended.
# TYPE vgpukit_steps_total counter
vgpukit_steps_total{op="provision",result="failed",step="define"} 1
vgpukit_steps_total{op="provision",result="ok",step="create"} 1
vgpukit_steps_total{op="provision",result="undone",step="create"} 1
`), "vgpukit_steps_total", "vgpukit_steps_in_progress", "vgpukit_operations_total", "vgpukit_operations_in_progress"))
}
