package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vgpukit/vgpukit/vgpu"
)

// TestClone: a VM that was defined once more by another name is told; nothing is done for it or
// by it, and the original keeps its vGPU, until it is given one of its own.
func TestClone(t *testing.T) {
	host := mounted(t, "tesla-m60")
	host.wants(0, "provision", "--domain", "-", "--vgpu", "type=nvidia-18,uuid="+id)
	original := asked[vgpu.VM](host, "status", "vm")
	host.clone("vm", "clone")

	out := host.wants(0, "reconcile")
	assert.Regexp(t, `(?m)^copy +clone .*`+original.UUID.String()+`.* vgpuctl adopt clone --fresh`, out)
	report := asked[vgpu.Report](host, "reconcile", "--dry-run")
	require.Len(t, report.Actions, 1)
	assert.Equal(t, vgpu.ReportCopy, report.Actions[0].Kind)
	assert.Contains(t, report.Actions[0].Next, "vgpuctl adopt clone --fresh")
	assert.Regexp(t, `(?m)^clone .*`+original.UUID.String()+`.* vgpuctl adopt clone --fresh`, host.wants(0, "status", "clone"))
	copied := asked[vgpu.VM](host, "status", "clone")
	require.Len(t, copied.Drift, 1)
	assert.Contains(t, copied.Drift[0].Next, "vgpuctl adopt clone --fresh")

	for _, verb := range []string{"start", "stop", "teardown", "update", "forget"} {
		assert.Regexp(t, `(?s)clone: .*`+original.UUID.String()+`.*\nwhat to do: vgpuctl adopt clone --fresh`, host.wants(exitUsage, verb, "clone"))
	}
	assert.Regexp(t, `granted to the VM vm \(`+original.UUID.String(), host.wants(exitFailed, "adopt", "clone"))
	assert.Contains(t, host.wants(exitFailed, "adopt", "clone", "--dry-run", "-o", "json"), `"kind":"exists"`)
	assert.Equal(t, []string{id}, host.Devices())

	host.virsh("", "start", "clone")
	assert.Contains(t, host.wants(exitFailed, "adopt", "clone", "--fresh"), "virsh shutdown clone")
	host.virsh("", "destroy", "clone")
	assert.Contains(t, host.wants(0, "adopt", "clone", "--fresh", "--dry-run"), "clone can be adopted, with vGPUs of its own")
	assert.False(t, asked[vgpu.Adoption](host, "adopt", "clone", "--fresh", "--dry-run").Done)
	assert.Equal(t, []string{id}, host.Devices())
	adopted := asked[vgpu.VM](host, "adopt", "clone", "--fresh")
	require.Len(t, adopted.VGPUs, 1)
	assert.NotEqual(t, id, adopted.VGPUs[0].ID)
	assert.True(t, asked[vgpu.VM](host, "adopt", "clone").Existed, "it is ours already")
	assert.Len(t, host.Devices(), 2)
	for _, vm := range []string{"clone", "vm"} {
		assert.Contains(t, host.wants(0, "start", vm), "running")
	}
	for _, vm := range []string{"clone", "vm"} {
		host.wants(0, "teardown", vm, "--timeout", "0")
	}
	host.nothingLeft()
}

// TestLostState: when the state directory is lost, running VMs run on; they and the others are
// told, and all are ours again after one command.
func TestLostState(t *testing.T) {
	host := mounted(t, "mtty")
	host.wants(0, "provision", "--domain", "-", "--vgpu", "type=mtty-1,uuid="+id, "--start")
	status, _, stderr := host.do(document2, "provision", "--domain", "-", "--vgpu", "type=mtty-1")
	require.Zero(t, status, stderr)
	require.NoError(t, os.RemoveAll(host.state))

	assert.Regexp(t, `(?m)^vm +running`, host.wants(0, "status", "vm"))
	for _, vm := range []string{"vm", "vm2"} {
		lost := asked[vgpu.VM](host, "status", vm)
		require.Len(t, lost.Drift, 1)
		assert.Contains(t, lost.Drift[0].Next, "vgpuctl adopt "+vm)
		assert.Regexp(t, `(?m)^copy +`+vm+` `, host.wants(0, "reconcile", "--now"))
		host.wants(exitUsage, "stop", vm)
	}
	assert.Regexp(t, `(?s)^VM .*\nvm +would be .*\nvm2 +would be `, host.wants(0, "adopt", "--all", "--dry-run"))
	tried := asked[[]vgpu.Adoption](host, "adopt", "--all", "--dry-run")
	require.Len(t, tried, 2)
	assert.False(t, tried[0].Done || tried[1].Done)
	grants, err := os.ReadDir(filepath.Join(host.state, "vms"))
	require.NoError(t, err)
	assert.Empty(t, grants)

	assert.Regexp(t, `(?s)^VM .*\nvm +yes .*\nvm2 +yes `, host.wants(0, "adopt", "--all"))
	assert.Empty(t, asked[[]vgpu.Adoption](host, "adopt", "--all"))
	assert.Contains(t, host.wants(0, "adopt", "--all"), "No VM")
	assert.Equal(t, vgpu.StateRunning, asked[vgpu.VM](host, "status", "vm").State)
	host.wants(0, "stop", "vm", "--timeout", "0")
	for _, vm := range []string{"vm", "vm2"} {
		host.wants(0, "start", vm)
		host.wants(0, "teardown", vm, "--timeout", "0")
	}
	host.nothingLeft()
}

// TestAdoptAllTellsWhich: a VM that cannot be adopted is told with the way out, and keeps the
// others not back.
func TestAdoptAllTellsWhich(t *testing.T) {
	host := mounted(t, "tesla-m60")
	host.wants(0, "provision", "--domain", "-", "--vgpu", "type=nvidia-18,uuid="+id)
	status, _, stderr := host.do(document2, "provision", "--domain", "-", "--vgpu", "type=nvidia-18")
	require.Zero(t, status, stderr)
	require.NoError(t, os.RemoveAll(host.state))
	release, err := host.Use(id, "somebody", 4242)
	require.NoError(t, err)
	out := host.wants(exitRefused, "adopt", "--all")
	assert.Regexp(t, `(?m)^vm +no .*process 4242.* vgpuctl adopt vm --fresh`, out)
	assert.Regexp(t, `(?m)^vm2 +yes`, out)
	var adoptions []vgpu.Adoption
	status, stdout, stderr := host.do("", "adopt", "--all", "-o", "json")
	assert.Equal(t, exitRefused, status, stderr)
	require.NoError(t, decode(stdout, &adoptions))
	require.Len(t, adoptions, 1)
	assert.Contains(t, adoptions[0].Error.Hint(), "vgpuctl adopt vm --fresh")
	release()
	host.wants(0, "adopt", "vm")
}

// TestForget: what is forgotten stays as it is, running or not, and is nobody's.
func TestForget(t *testing.T) {
	host := mounted(t, "mtty")
	host.wants(0, "provision", "--domain", "-", "--vgpu", "type=mtty-1,uuid="+id, "--start")
	assert.Contains(t, host.wants(0, "forget", "vm"), "as they were")
	assert.Regexp(t, `(?m)^vm +running`, host.wants(0, "status", "vm"))
	assert.Contains(t, host.wants(0, "list"), "No VM")
	assert.Regexp(t, `(?m)^stranger .*`+id, host.wants(0, "reconcile", "--now", "--repair", "--restore"))
	assert.NotContains(t, host.virsh("", "dumpxml", "--inactive", "vm"), "vgpukit")
	host.wants(exitRefused, "remove", id)
	host.virsh("", "destroy", "vm")
	host.virsh("", "undefine", "vm")
	host.wants(0, "remove", id)
	host.nothingLeft()

	host.wants(0, "provision", "--domain", "-", "--vgpu", "type=mtty-1")
	assert.Equal(t, map[string]string{"forgotten": "vm"}, asked[map[string]string](host, "forget", "vm"))
}

// decode reads one JSON value.
func decode(text string, value any) error {
	return json.NewDecoder(strings.NewReader(text)).Decode(value)
}
