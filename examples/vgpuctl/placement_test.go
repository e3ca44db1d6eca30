package main

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestPlacementFlags: each flag decides where a vGPU goes, and one that could not
// have an effect is refused.
func TestPlacementFlags(t *testing.T) {
	host := mounted(t, "tesla-t4@0000:05:00.0,numa=0", "tesla-t4@0000:06:00.0,numa=0", "tesla-t4@0000:85:00.0,numa=1", "mtty")
	status, _, stderr := host.do(document, "provision", "--domain", "-", "--vgpu", "type=GRID T4-8Q,parent=0000:05:00.0")
	require.Zero(t, status, stderr)
	defer host.do("", "teardown", "vm")
	for _, c := range []struct {
		typ    string
		flags  []string
		status int
		says   string // the GPU, or why not
	}{
		{"GRID T4-8Q", nil, 0, " 0000:05:00.0 "},
		{"GRID T4-8Q", []string{"--apart-from", "vm"}, 0, " 0000:06:00.0 "},
		{"GRID T4-8Q", []string{"--avoid", "0000:05:00.0", "--avoid", "0000:06:00.0"}, 0, " 0000:85:00.0 "},
		{"GRID T4-8Q", []string{"--policy", "spread"}, 0, " 0000:06:00.0 "},
		{"GRID T4-8Q", []string{"--policy", "spread", "--keep-empty", "3"}, 0, " 0000:05:00.0 "},
		{"GRID T4-8Q", []string{"--policy", "numa", "--numa-node", "1"}, 0, " 0000:85:00.0 "},
		{"GRID T4-8Q", []string{"--policy", "numa", "--numa-node", "2", "--numa-strict"}, exitUsage, "node 2 is required"},
		{"mtty-1", []string{"--vgpu", "type=mtty-1", "--apart"}, exitRefused, "not together"},
		{"mtty-1", []string{"--policy", "numa"}, exitUsage, "--numa-node"},
		{"mtty-1", []string{"--numa-node", "1"}, exitUsage, "--policy numa"},
		{"mtty-1", []string{"--policy", "pinned"}, exitUsage, "no parent"},
		{"mtty-1", []string{"--keep-empty", "1"}, exitUsage, "--policy spread"},
		{"mtty-1", []string{"--keep-empty", "-1"}, exitUsage, "--keep-empty"},
		{"mtty-1", []string{"--avoid", "mtty"}, exitRefused, "apart from"},
		{"mtty-1", []string{"--avoid", "mtti"}, exitNotFound, "mtti"},
		{"mtty-1", []string{"--apart-from", "nobody"}, exitNotFound, "nobody"},
	} {
		status, stdout, stderr := host.do(document2, append([]string{"plan", "--domain", "-", "--vgpu", "type=" + c.typ}, c.flags...)...)
		assert.Equal(t, c.status, status, "%v: %s", c.flags, stderr)
		assert.Contains(t, stdout+stderr, c.says, "%v", c.flags)
	}
}

// TestPlanSaysWhyNot: a plan that is refused shows for each parent why it was not
// taken, and ends with what and what to do.
func TestPlanSaysWhyNot(t *testing.T) {
	host := mounted(t, "tesla-m60", "l40s@0001:41:00.0,vfs=4")
	status, stdout, stderr := host.do(document, "plan", "--domain", "-", "--vgpu", "type=nvidia-18", "--vgpu", "type=nvidia-18")
	assert.Equal(t, exitUsage, status)
	assert.Empty(t, stdout)
	assert.Regexp(t, `(?m)^0 +0000:06:00.0 +0000:06:00.0 +GRID M60-2Q on 0000:06:00.0 cannot be one of several`, stderr)
	assert.Regexp(t, `(?m)^0 +0001:41:00.0 +0001:41:00.4 and 3 more +0001:41:00.0 has no type`, stderr)
	assert.Regexp(t, `\nvgpuctl: plan vm: .*\nwhat to do: .*\n$`, stderr)
}
