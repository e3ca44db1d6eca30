package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vgpukit/vgpukit/mdev"
	"github.com/vgpukit/vgpukit/vgpu"
	"github.com/vgpukit/vgpukit/vgpu/placement"
)

// inventoryWithPolicies is what scripts are told of a host.
type inventoryWithPolicies struct {
	GPUs     []mdev.GPU
	Policies []vgpu.GPUPolicy
}

// TestPolicy: what an operator says of a GPU is kept, shown, and told to whoever is refused, with
// the command that changes it; a VM that is there goes on.
func TestPolicy(t *testing.T) {
	host := mounted(t, "tesla-m60@0000:05:00.0")
	plan := func(status int, typ string) string {
		t.Helper()
		got, stdout, stderr := host.do(document2, "plan", "--domain", "-", "--vgpu", "type="+typ)
		require.Equal(t, status, got, stdout+stderr)
		return stdout + stderr
	}
	assert.Contains(t, host.wants(0, "policy"), "No GPU has a policy")
	assert.Empty(t, asked[[]vgpu.GPUPolicy](host, "policy"))
	host.wants(0, "provision", "--domain", "-", "--vgpu", "type=GRID M60-2Q,parent=0000:05:00.0")

	assert.Regexp(t, `(?m)^0000:05:00.0 +- +- +nvidia-18 \(1 at most\), GRID M60-8Q +-$`, host.wants(0, "policy", "set", "0000:05:00.0", "--type", "nvidia-18=1", "--type", "GRID M60-8Q"))
	assert.Regexp(t, `(?m)^0000:06:00.0 +its fan fails +- +all types +-$`, host.wants(0, "cordon", "0000:06:00.0", "--reason", "its fan fails"))
	list := asked[[]vgpu.GPUPolicy](host, "policy")
	require.Len(t, list, 2)
	assert.Equal(t, []placement.TypeLimit{{Type: "nvidia-18", Most: 1}, {Type: "GRID M60-8Q"}}, list[0].Types)
	assert.Equal(t, list[1], asked[vgpu.GPUPolicy](host, "policy", "0000:06:00.0"))
	assert.Equal(t, list[1], asked[vgpu.GPUPolicy](host, "policy", "show", "0000:06:00.0"))
	assert.Equal(t, list, asked[inventoryWithPolicies](host, "inventory").Policies)
	assert.Len(t, asked[inventoryWithPolicies](host, "inventory").GPUs, 2)
	assert.Contains(t, host.wants(0, "inventory"), "its fan fails")

	out := plan(exitRefused, "GRID M60-2Q")
	assert.Regexp(t, `(?m)^0 +0000:05:00.0 +0000:05:00.0 +.* which allows 1$`, out)
	assert.Regexp(t, `(?m)^0 +0000:06:00.0 +0000:06:00.0 +0000:06:00.0 is cordoned: its fan fails$`, out)
	assert.Regexp(t, `\nwhat to do: vgpuctl uncordon 0000:06:00.0\n$`, out)
	assert.Contains(t, host.wants(0, "start", "vm"), "running")
	host.wants(0, "stop", "vm", "--timeout", "0")

	host.wants(0, "uncordon", "0000:06:00.0")
	host.wants(0, "uncordon", "0000:06:00.0")
	assert.Contains(t, plan(0, "GRID M60-2Q"), "0000:06:00.0")
	host.wants(0, "policy", "set", "0000:06:00.0", "--reserve")
	out = plan(exitRefused, "GRID M60-2Q")
	assert.Contains(t, out, "0000:06:00.0 is reserved")
	assert.Contains(t, out, "what to do: pin it with --vgpu …,parent=0000:06:00.0, or vgpuctl policy set 0000:06:00.0\n")
	assert.Contains(t, plan(0, "GRID M60-2Q,parent=0000:06:00.0"), "0000:06:00.0")
	host.wants(0, "policy", "set", "0000:06:00.0", "--no-reserve", "--type", "GRID M60-8Q")
	assert.Contains(t, plan(exitRefused, "GRID M60-4Q,parent=0000:06:00.0"), "or vgpuctl policy set 0000:06:00.0\n")
	host.wants(0, "policy", "set", "0000:06:00.0", "--all-types")
	host.wants(0, "policy", "clear", "0000:05:00.0")
	assert.Contains(t, host.wants(0, "policy"), "No GPU has a policy")
	assert.Equal(t, "0000:05:00.0", asked[vgpu.GPUPolicy](host, "policy", "0000:05:00.0").GPU)
	host.wants(0, "teardown", "vm", "--timeout", "0")
	host.nothingLeft()
}

// TestQuarantine: a virtual function is kept out of use and released by hand.
func TestQuarantine(t *testing.T) {
	host := mounted(t, "l40s@0000:41:00.0,vfs=2")
	plan := []string{"plan", "--domain", "-", "--vgpu", "type=NVIDIA L40S-4Q"}
	out := host.wants(0, "quarantine", "0000:41:00.4", "--reason", "it hangs")
	assert.Regexp(t, `(?m)^0000:41:00.4 +0000:41:00.0 +it hangs +- +-$`, out)
	assert.Contains(t, host.wants(0, "inventory"), "it hangs")
	assert.Contains(t, host.wants(0, plan...), " 0000:41:00.5 ")
	host.wants(0, "quarantine", "0000:41:00.5")
	out = host.wants(exitRefused, plan...)
	assert.Contains(t, out, "0000:41:00.4 is quarantined: it hangs")
	assert.Contains(t, out, "0000:41:00.5 is quarantined: by an operator")
	assert.Regexp(t, `what to do: see to 0000:41:00.4, then vgpuctl quarantine --release 0000:41:00.4\n$`, out)
	assert.Empty(t, asked[vgpu.GPUPolicy](host, "quarantine", "--release", "0000:41:00.4").Failures)
	assert.Contains(t, host.wants(0, plan...), " 0000:41:00.4 ")
	host.wants(0, "quarantine", "--release", "0000:41:00.5")
	host.wants(0, "quarantine", "--release", "0000:41:00.5")
	assert.Empty(t, asked[[]vgpu.GPUPolicy](host, "policy"))
}

// TestPolicyContract: what cannot be said of a GPU has its status, and says what to do.
func TestPolicyContract(t *testing.T) {
	host := mounted(t, "tesla-m60@0000:05:00.0")
	for _, c := range []struct {
		args   []string
		status int
		says   string
	}{
		{[]string{"policy", "0000:99:00.0"}, exitNotFound, "0000:99:00.0"},
		{[]string{"policy", "set", "0000:05:00.0"}, exitUsage, "nothing to set"},
		{[]string{"policy", "set", "0000:05:00.0", "--type", "nvidia-18", "--all-types"}, exitUsage, "exclude"},
		{[]string{"policy", "set", "0000:05:00.0", "--type", "nvidia-18=0"}, exitUsage, "NAME=N"},
		{[]string{"policy", "set", "0000:05:00.0", "--type", "nvidia-18=many"}, exitUsage, "NAME=N"},
		{[]string{"policy", "set", "0000:05:00.0", "--type", "=1"}, exitUsage, "NAME=N"},
		{[]string{"policy", "set", "0000:05:00.0", "--type", "GRID M60-9Q"}, exitNotFound, "did you mean GRID M60-0Q"},
		{[]string{"policy", "set", "0000:99:00.0", "--reserve"}, exitNotFound, "0000:99:00.0"},
		{[]string{"policy", "clear", "0000:99:00.0"}, exitNotFound, "0000:99:00.0"},
		{[]string{"cordon", "0000:99:00.0"}, exitNotFound, "0000:99:00.0"},
		{[]string{"cordon", "0000:05:00.0", "--reason", " "}, exitUsage, "--reason"},
		{[]string{"cordon"}, exitUsage, "<gpu>"},
		{[]string{"uncordon", "0000:99:00.0"}, exitNotFound, "0000:99:00.0"},
		{[]string{"quarantine", "0000:99:00.4"}, exitNotFound, "0000:99:00.4"},
		{[]string{"quarantine", "0000:05:00.0", "--release", "--reason", "x"}, exitUsage, "--release"},
	} {
		status, stdout, stderr := host.do("", c.args...)
		assert.Equal(t, c.status, status, "%v: %s", c.args, stderr)
		assert.Empty(t, stdout, "%v", c.args)
		assert.Regexp(t, `^vgpuctl: .*\nwhat to do: .*\n$`, stderr, "%v", c.args)
		assert.Contains(t, stderr, c.says, "%v", c.args)
	}
	assert.Empty(t, asked[[]vgpu.GPUPolicy](host, "policy"))
}

// TestPolicyWithoutRoot: the inventory is shown to a user who may not read the state directory,
// and says that policies are not known; nothing is made.
func TestPolicyWithoutRoot(t *testing.T) {
	dir, err := os.MkdirTemp("", "vgpuctl")
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, os.RemoveAll(dir)) })
	require.NoError(t, os.Chmod(dir, 0o755))
	self, err := os.ReadFile(os.Args[0])
	require.NoError(t, err)
	binary, root := filepath.Join(dir, "vgpuctl"), filepath.Join(dir, "root")
	require.NoError(t, os.WriteFile(binary, self, 0o755))
	require.NoError(t, os.Mkdir(root, 0o755))
	do := func(state string, args ...string) (string, error) {
		cmd := exec.CommandContext(t.Context(), binary, append([]string{"--root", root, "--state", state}, args...)...)
		cmd.Env, cmd.Dir = []string{asProgram + "=1", "TMPDIR=" + dir}, dir
		if os.Geteuid() == 0 {
			cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		}
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	absent := filepath.Join(root, "state")
	out, err := do(absent, "inventory")
	require.NoError(t, err, out)
	assert.NotContains(t, out, "not known")
	out, err = do(absent, "policy")
	require.NoError(t, err, out)
	assert.NoDirExists(t, absent)

	shut := filepath.Join(dir, "shut")
	require.NoError(t, os.MkdirAll(filepath.Join(shut, "gpus"), 0o755))
	require.NoError(t, os.Chmod(filepath.Join(shut, "gpus"), 0o000))
	out, err = do(shut, "inventory")
	require.NoError(t, err, out)
	assert.Contains(t, out, "not known: what operators let be placed on the GPUs")
	out, err = do(shut, "policy")
	require.Error(t, err)
	assert.Contains(t, out, "what to do: run as the user who owns the state directory")
}
