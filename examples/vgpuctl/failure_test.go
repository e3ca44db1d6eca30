package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vgpukit/vgpukit/mdev"
	"github.com/vgpukit/vgpukit/vgpu"
)

// TestKinds: of several kinds in one error, the one that says what the whole came
// to decides on the exit status, always the same one.
func TestKinds(t *testing.T) {
	for _, c := range []struct {
		err    error
		kind   string
		status int
	}{
		{errors.New("whatever"), "failed", exitFailed},
		{usageError("no", "yes"), "invalid", exitUsage},
		{&vgpu.Error{Kind: vgpu.ErrBusy, Err: context.DeadlineExceeded}, "busy", exitRefused},
		{&vgpu.Error{Kind: vgpu.ErrState, Err: errors.Join(mdev.ErrInUse, mdev.ErrNotFound)}, "state", exitFailed},
		{&vgpu.Error{Kind: vgpu.ErrUnavailable, Err: &mdev.Error{Kind: mdev.ErrPermission, Errno: syscall.EACCES}}, "unavailable", exitFailed},
		{&vgpu.Error{Err: &mdev.Error{Kind: mdev.ErrPermission, Errno: syscall.EACCES}}, "permission", exitFailed},
		{errors.Join(&vgpu.Error{Kind: vgpu.ErrNoCapacity}, &vgpu.Error{Kind: vgpu.ErrInvalid}), "no_capacity", exitRefused},
		{&vgpu.Error{Err: errors.Join(mdev.ErrInUse, context.DeadlineExceeded)}, "in_use", exitRefused},
		{&vgpu.Error{Err: context.DeadlineExceeded}, "timeout", exitFailed},
		{&vgpu.Error{Kind: vgpu.ErrBusy, Err: context.Canceled}, "interrupted", exitFailed},
		{fmt.Errorf("x: %w", mdev.ErrExists), "exists", exitFailed},
	} {
		got := newFailure(c.err)
		assert.Equal(t, c.kind, got.Kind, "%v", c.err)
		assert.Equal(t, c.status, meanings[got.Kind].status, "%v", c.err)
	}
}

// TestPending: a script is told that what it asked for may still happen.
func TestPending(t *testing.T) {
	assert.True(t, newFailure(&vgpu.Error{Err: &mdev.Error{Pending: true, Err: context.DeadlineExceeded}}).Pending)
	assert.False(t, newFailure(&mdev.Error{Err: context.DeadlineExceeded}).Pending)
}

// TestFailuresForScripts: with -o json a failure is one object on stderr that says
// of which kind it is, so that a script knows whether to wait, and nothing is on
// stdout.
func TestFailuresForScripts(t *testing.T) {
	const other = "8f1e3a5c-0000-4000-8000-000000000001"
	host := mounted(t, "tesla-m60", "mtty")
	for _, uuid := range []string{id, other} {
		status, _, stderr := host.do("", "create", "--type", "nvidia-18", "--parent", "0000:05:00.0", "--uuid", uuid)
		require.Zero(t, status, stderr)
	}
	release, err := host.Use(id, "desk1", 4242)
	require.NoError(t, err)
	t.Cleanup(release)
	plan := func(vgpus ...string) []string {
		args := []string{"plan", "--domain", "-"}
		for _, v := range vgpus {
			args = append(args, "--vgpu", v)
		}
		return args
	}
	for _, c := range []struct {
		name   string
		args   []string
		status int
		kind   string
		says   string
	}{
		{"types that a VM can never have together", plan("type=nvidia-18", "type=nvidia-18"), exitUsage, "invalid", `"code":"must-be-alone"`},
		{"a parent that has no such type", plan("type=nvidia-22,parent=mtty"), exitUsage, "invalid", "another parent"},
		{"a GPU that has no room now", plan("type=nvidia-22,parent=0000:05:00.0"), exitRefused, "no_capacity", `"parents":["0000:05:00.0"],"code":"other-size"`},
		{"a guest address that is taken", plan("type=mtty-1,address=0000:00:00.0"), exitUsage, "invalid", `"step":"document"`},
		{"two boot displays", plan("type=mtty-1,display=on,ramfb=on", "type=mtty-1,display=on,ramfb=on"), exitUsage, "invalid", `"vm":"vm"`},
		{"a mistyped type", plan("type=M60-8Q"), exitNotFound, "not_found", `"did_you_mean":["GRID M60-8Q"]`},
		{"a UUID of another type", []string{"create", "--type", "mtty-1", "--uuid", id}, exitFailed, "exists", "use another UUID"},
		{"a vGPU that a VM has", []string{"remove", id}, exitRefused, "in_use", `"errno":"EBUSY"`},
		{"no such VM", []string{"start", "nobody"}, exitNotFound, "not_found", `"vm":"nobody"`},
		{"no libvirt", []string{"status", "--connect", "qemu+unix:///system?socket=/nowhere"}, exitFailed, "unavailable", `"libvirt_code":38`},
		{"an unknown flag", []string{"inventory", "--bogus"}, exitUsage, "invalid", "--help"},
	} {
		t.Run(c.name, func(t *testing.T) {
			status, stdout, stderr := host.do(document, append(c.args, "-o", "json")...)
			assert.Equal(t, c.status, status, stderr)
			assert.Empty(t, stdout)
			var told failure
			require.NoError(t, json.Unmarshal([]byte(stderr), &told), stderr)
			assert.NotEmpty(t, told.Error)
			assert.Equal(t, c.kind, told.Kind)
			assert.Contains(t, stderr, c.says)
		})
	}
}
