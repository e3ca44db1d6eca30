package main

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/vgpukit/vgpukit/mdev"
	"github.com/vgpukit/vgpukit/vgpu"
)

// TestReconcileRows: each finding comes with why, what kept it from being done, and
// what to do; a ghost is told once.
func TestReconcileRows(t *testing.T) {
	rows := reconcileRows(vgpu.Report{
		Actions: []vgpu.Action{
			{Kind: vgpu.ReportGhost, Object: id, Reason: "a removal is blocked", Next: "it goes when that VM ends"},
			{Kind: vgpu.ActionOrphan, VM: "vm", Object: "0000:41:00.4", Reason: "no domain has it", Error: &vgpu.Error{Kind: vgpu.ErrInUse}, Next: "stop the VM"},
			{Kind: vgpu.ActionForget, VM: "old", Reason: "no domain of that name", Done: true},
		},
		Strangers: []mdev.Device{{ID: id, State: mdev.StateGhost}, {ID: "other", Type: "mtty-1", Parent: "mtty", State: mdev.StateReady}},
	})
	assert.Equal(t, [][]string{
		{"WHAT", "VM", "OBJECT", "DONE", "WHY", "WHAT TO DO"},
		{"ghost", "", id, "no", "a removal is blocked", "it goes when that VM ends"},
		{"orphan", "vm", "0000:41:00.4", "no", "no domain has it: in use", "stop the VM"},
		{"forget", "old", "", "yes", "no domain of that name", ""},
		{"stranger", "", "other", "no", "a mtty-1 on mtty that is not ours; it is left alone", ""},
	}, rows)
}
