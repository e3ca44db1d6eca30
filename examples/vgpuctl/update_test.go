package main

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vgpukit/vgpukit/domain"
	"github.com/vgpukit/vgpukit/vgpu"
)

// edit changes a VM's saved definition behind vgpuctl's back.
func (h simulated) edit(vm string, change func(*domain.Document) (*domain.Document, error)) {
	h.t.Helper()
	doc, err := domain.Parse([]byte(h.virsh("", "dumpxml", "--inactive", vm)))
	require.NoError(h.t, err)
	doc, err = change(doc)
	require.NoError(h.t, err)
	h.virsh(doc.String(), "define", "/dev/stdin")
}

// takeOut takes a vGPU of a VM out of its definition.
func (h simulated) takeOut(vm string, i int) {
	h.t.Helper()
	h.edit(vm, func(doc *domain.Document) (*domain.Document, error) { return doc.Remove(doc.Hostdevs()[i].ID()) })
}

// TestDrift: what somebody changed in a document is told with the commands that lead out, by
// status, list and reconcile, and each of them does.
func TestDrift(t *testing.T) {
	host := mounted(t, "mtty")
	host.wants(0, "provision", "--domain", "-", "--vgpu", "type=mtty-1,uuid="+id, "--vgpu", "type=mtty-1")
	vm := asked[vgpu.VM](host, "update", "vm")
	assert.Empty(t, vm.Drift)
	second := vm.VGPUs[1].ID

	host.takeOut("vm", 1)
	for _, command := range [][]string{{"status"}, {"status", "vm"}, {"list"}, {"reconcile"}} {
		assert.Regexp(t, second+` .*vgpuctl update vm puts it back; vgpuctl update vm --give-up ends`, host.wants(0, command...), command)
	}
	for _, list := range [][]vgpu.VM{asked[[]vgpu.VM](host, "list"), asked[[]vgpu.VM](host, "status")} {
		require.Len(t, list, 1)
		require.Len(t, list[0].Drift, 1)
		assert.Equal(t, second, list[0].Drift[0].Object)
		assert.Contains(t, list[0].Drift[0].Next, "--give-up")
	}
	assert.Regexp(t, `what to do: vgpuctl update vm puts it back`, host.wants(exitFailed, "start", "vm"))
	assert.Equal(t, vm.VGPUs, asked[vgpu.VM](host, "update", "vm").VGPUs, "put back where it was")

	host.edit("vm", (*domain.Document).WithoutMetadata)
	assert.Regexp(t, `(?m)^vm .*vgpuctl reconcile --repair`, host.wants(0, "status"))
	assert.Regexp(t, `(?m)^drift +vm .*vgpuctl reconcile --repair`, host.wants(0, "reconcile"))
	assert.Regexp(t, `(?m)^repair +vm +- +no `, host.wants(0, "reconcile", "--repair", "--dry-run"))
	assert.Regexp(t, `(?m)^repair +vm +- +yes `, host.wants(0, "reconcile", "--repair"))
	assert.Contains(t, host.wants(0, "reconcile"), "as it should be")

	host.takeOut("vm", 1)
	assert.Regexp(t, `(?m)^vm +off +`+id, host.wants(0, "update", "vm", "--give-up"))
	assert.Equal(t, []string{id}, host.Devices())
	host.wants(0, "start", "vm")
	assert.Contains(t, host.wants(exitFailed, "update", "vm"), "vgpuctl stop vm, vgpuctl update vm, then vgpuctl start vm")
	host.wants(0, "stop", "vm", "--timeout", "0")
	host.takeOut("vm", 0)
	assert.Contains(t, host.wants(exitUsage, "update", "vm", "--give-up"), "vgpuctl teardown vm, or vgpuctl forget vm")
	host.wants(0, "teardown", "vm")
	host.nothingLeft()
}

// TestGone: what was granted to a VM that was undefined by hand is told, and collected when it
// is asked for.
func TestGone(t *testing.T) {
	host := mounted(t, "mtty")
	host.wants(0, "provision", "--domain", "-", "--vgpu", "type=mtty-1,uuid="+id)
	host.virsh("", "undefine", "vm")
	for range 2 {
		assert.Regexp(t, `(?m)^gone +vm .*with --now; or vgpuctl teardown vm`, host.wants(0, "reconcile"))
	}
	report := asked[vgpu.Report](host, "reconcile", "--dry-run", "--now")
	require.Len(t, report.Actions, 2)
	assert.False(t, report.Actions[0].Done || report.Actions[1].Done)
	assert.Equal(t, []string{id}, host.Devices())
	assert.Regexp(t, `(?m)^orphan +vm +`+id+` +yes`, host.wants(0, "reconcile", "--now"))
	host.nothingLeft()
}
