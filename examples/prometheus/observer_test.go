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

// TestObserver: each step is counted by how it ended, and none stays in progress.
func TestObserver(t *testing.T) {
	reg := prometheus.NewRegistry()
	o := NewObserver(reg)
	create := vgpu.Step{Op: "provision", VM: "vm", Name: "create", Object: "x", Took: time.Second}
	define := vgpu.Step{Op: "provision", VM: "vm", Name: "define"}
	o.Begun(create)
	o.Ended(create)
	o.Begun(define)
	o.Failed(define, errors.New("no"))
	o.Undone(create, nil)
	require.NoError(t, testutil.GatherAndCompare(reg, strings.NewReader(`
# HELP vgpukit_steps_in_progress Steps that have begun and not ended.
# TYPE vgpukit_steps_in_progress gauge
vgpukit_steps_in_progress{op="provision"} 0
# HELP vgpukit_steps_total Steps of operations on VMs, by how they ended.
# TYPE vgpukit_steps_total counter
vgpukit_steps_total{op="provision",result="failed",step="define"} 1
vgpukit_steps_total{op="provision",result="ok",step="create"} 1
vgpukit_steps_total{op="provision",result="undone",step="create"} 1
`), "vgpukit_steps_total", "vgpukit_steps_in_progress"))
}
