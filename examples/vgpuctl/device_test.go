package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestCreateUntold: a vGPU whose id could not be printed is removed again, since
// nobody would know of it; one that was there before stays.
func TestCreateUntold(t *testing.T) {
	host := mounted(t, "mtty")
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	require.NoError(t, err)
	defer full.Close()
	create := func(args ...string) string {
		var stderr bytes.Buffer
		args = host.args(append([]string{"create", "--type", "mtty-1"}, args...)...)
		assert.Equal(t, exitFailed, run(t.Context(), args, nil, full, &stderr))
		return stderr.String()
	}
	assert.Contains(t, create(), "removed again")
	assert.Empty(t, host.Devices())

	status, _, _ := host.do("", "create", "--type", "mtty-1", "--uuid", id)
	require.Zero(t, status)
	assert.Contains(t, create("--uuid", id), id)
	assert.Equal(t, []string{id}, host.Devices())
}

// TestCreateForNobody: the same when the reader of its output has gone, which
// ends other programs.
func TestCreateForNobody(t *testing.T) {
	host := mounted(t, "mtty")
	cmd, stderr := program(t, host.args("create", "--type", "mtty-1")...)
	r, w, err := os.Pipe()
	require.NoError(t, err)
	require.NoError(t, r.Close())
	cmd.Stdout = w
	require.Error(t, cmd.Run())
	require.NoError(t, w.Close())
	assert.Contains(t, stderr.String(), "removed again")
	assert.Empty(t, host.Devices())
}

// TestCreateOfADefinedUUID: a definition of mdevctl's with attributes is told of, as create
// does not write them, unless some are asked for.
func TestCreateOfADefinedUUID(t *testing.T) {
	host := mounted(t, "tesla-m60")
	dir := filepath.Join(host.flags[1], "etc/mdevctl.d/0000:05:00.0")
	require.NoError(t, os.MkdirAll(dir, 0o755))
	for _, text := range []string{`{"mdev_type":"nvidia-18","start":"manual"}`, `{"mdev_type":"nvidia-18","start":"manual","attrs":[{"nvidia/vgpu_params":"disable_vnc=1"}]}`} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, id), []byte(text), 0o644))
		tell := strings.Contains(text, "attrs")
		create := []string{"create", "--type", "nvidia-18", "--uuid", id}
		status, stdout, stderr := host.do("", create...)
		require.Zero(t, status, stderr)
		assert.Equal(t, id+"\n", stdout)
		assert.Equal(t, tell, strings.Contains(stderr, "on 0000:05:00.0, has attributes that are not written\nwhat to do: create it with --param nvidia/vgpu_params=disable_vnc=1"), stderr)
		_, stdout, stderr = host.do("", append([]string{"-o", "json"}, create...)...)
		assert.Equal(t, tell, strings.Contains(stdout, "definitions_not_applied"), stdout)
		assert.Empty(t, stderr)
		status, _, stderr = host.do("", "remove", id)
		require.Zero(t, status, stderr)
	}
	_, _, stderr := host.do("", "create", "--type", "nvidia-18", "--uuid", id, "--param", "nvidia/vgpu_params=enable_uvm=1")
	assert.Empty(t, stderr)
}

// TestUUIDs: what is not a vGPU's UUID is refused with an example of one: never is
// another one made in its place.
func TestUUIDs(t *testing.T) {
	host := mounted(t, "mtty")
	for _, nonsense := range []string{"foo", "00000000-0000-0000-0000-000000000000", ""} {
		for _, args := range [][]string{
			{"create", "--type", "mtty-1", "--uuid=" + nonsense},
			{"xml", "add", "--uuid=" + nonsense},
			{"plan", "--domain", "-", "--vgpu", "type=mtty-1,uuid=" + nonsense},
		} {
			status, _, stderr := host.do(document, args...)
			assert.Equal(t, exitUsage, status, args)
			assert.Regexp(t, "what to do: .*(98d19132-|uuidgen|--vgpu)", stderr)
		}
	}
	assert.Empty(t, host.Devices())
}

// TestRemove: the id is printed as the inventory has it, and what may be had later
// is told apart from what failed.
func TestRemove(t *testing.T) {
	host := mounted(t, "tesla-m60,clean-up=1h", "mtty")
	do := func(want int, args ...string) string {
		t.Helper()
		status, stdout, stderr := host.do("", args...)
		assert.Equal(t, want, status, stderr)
		return stdout
	}
	create := func(typ string) { t.Helper(); do(0, "create", "--type", typ, "--uuid", id) }

	create("mtty-1")
	assert.JSONEq(t, `{"removed": "`+id+`"}`, do(0, "-o", "json", "remove", strings.ToUpper(id)))

	// A ghost: its UUID is free once the VM lets go.
	create("mtty-1")
	release, err := host.Use(id, "desk1", 4242)
	require.NoError(t, err)
	removed := make(chan error, 1)
	go func() { removed <- host.WriteAttr("sys/bus/mdev/devices/"+id+"/remove", []byte("1")) }()
	require.Eventually(t, func() bool { return host.busIsEmpty() }, 10*time.Second, time.Millisecond)
	do(exitRefused, "create", "--type", "mtty-1", "--uuid", id)
	do(exitRefused, "remove", id)
	release()
	require.NoError(t, <-removed)

	// A driver that still cleans up after a VM.
	create("nvidia-18")
	release, err = host.Use(id, "desk1", 4242)
	require.NoError(t, err)
	release()
	do(exitRefused, "remove", id, "--wait", "100ms")
	do(exitUsage, "remove", id, "--wait", "0s")
}

// TestRemoveGranted: a VM's vGPU is neither removed nor made by hand, also while libvirt is down,
// and the VM is named with the ways out; by force it is removed, and recorded, but not while it
// is in use.
func TestRemoveGranted(t *testing.T) {
	host := mounted(t, "mtty", "l40s@0001:41:00.0,vfs=2")
	host.wants(0, "provision", "--domain", "-", "--vgpu", "type=mtty-1,uuid="+id)
	down := func(args ...string) []string {
		return append(args, "--connect", "qemu+unix:///system?socket=/nowhere")
	}
	for _, spelled := range []string{id, strings.ToUpper(id)} {
		out := host.wants(exitRefused, down("remove", spelled)...)
		assert.Regexp(t, "granted to the VM vm .*\nwhat to do: vgpuctl teardown vm, or vgpuctl forget vm; or vgpuctl remove "+id+" --force\n$", out)
		out = host.wants(exitRefused, down("create", "--type", "mtty-1", "--uuid", spelled)...)
		assert.Regexp(t, "granted to the VM vm .*\nwhat to do: vgpuctl teardown vm, or vgpuctl forget vm\n$", out)
	}
	assert.Contains(t, host.wants(exitRefused, "remove", id, "-o", "json"), `"kind":"in_use"`)
	host.wants(0, "start", "vm")
	host.wants(exitRefused, "remove", id, "--force")
	host.wants(0, "stop", "vm", "--timeout", "0")
	assert.Equal(t, []string{id}, host.Devices())

	host.wants(0, down("remove", id, "--force")...)
	assert.Empty(t, host.Devices())
	owners, err := os.ReadDir(filepath.Join(host.state, "owners"))
	require.NoError(t, err)
	assert.Empty(t, owners)
	record, err := os.ReadFile(filepath.Join(host.state, "record.log"))
	require.NoError(t, err)
	assert.Regexp(t, `"what":"removed","op":"remove","vm":"vm",.*"object":"`+id+`"[^\n]*\n$`, string(record))
	host.wants(exitRefused, "create", "--type", "mtty-1", "--uuid", id)
	assert.Contains(t, host.wants(0, "start", "vm"), "running")
	host.wants(0, "teardown", "vm", "--timeout", "0")
	host.wants(0, "create", "--type", "mtty-1", "--uuid", id)
	host.wants(0, "remove", id)
	host.nothingLeft()

	// A virtual function has no other name than its own.
	const vf = "0001:41:00.4"
	host.wants(0, "provision", "--domain", "-", "--vgpu", "type=1148,parent="+vf)
	host.wants(exitRefused, "remove", vf)
	host.wants(0, "remove", vf, "--force")
	assert.Contains(t, host.wants(exitRefused, "create", "--type", "1148", "--parent", vf), "granted to the VM vm")
	host.wants(0, "teardown", "vm")
	host.nothingLeft()
}
