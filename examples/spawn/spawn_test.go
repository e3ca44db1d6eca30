package main

import (
	"context"
	"syscall"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vgpukit/vgpukit/domain"
	"github.com/vgpukit/vgpukit/mdev/mdevtest"
	"github.com/vgpukit/vgpukit/vgpu"
	"github.com/vgpukit/vgpukit/vgpu/vgputest"
)

// TestSpawn: the VM runs with its vGPUs, stops, starts again, and is gone in the end.
func TestSpawn(t *testing.T) {
	h := newHost(t)
	out := h.spawn("--type", "GRID M60-8Q", "--count", "2", "--address", "0000:00:08.0", "--memory", "4096", "r&d")
	assert.Contains(t, out, "r&d  running  nvidia-22  0000:05:00.0  0000:00:08.0")
	assert.Contains(t, out, "r&d  running  nvidia-22  0000:06:00.0  0000:00:02.0")
	document, err := h.libvirt.XML(t.Context(), "r&d")
	require.NoError(t, err)
	assert.Contains(t, document, "<memory unit='MiB'>4096</memory>")

	assert.Contains(t, h.spawn("--stop", "r&d"), "r&d  off")
	assert.Contains(t, h.spawn("r&d"), "r&d  running")
	h.spawn("--delete", "r&d")
	h.clean()
}

// TestWrongUse: what cannot be meant is refused before anything is done.
func TestWrongUse(t *testing.T) {
	h := newHost(t)
	for _, args := range [][]string{
		{"--type", "GRID M60-8Q"},
		{"--stop"},
		{"--delete", "web1", "web2"},
		{"--recover", "web1"},
		{"--type", "GRID M60-8Q", "--count", "0", "web1"},
		{"--type", "GRID M60-8Q", "--address", "nowhere", "web1"},
	} {
		h.refused(vgpu.ErrInvalid, 2, args...)
	}
	assert.Zero(t, h.libvirt.Calls(), "libvirt was asked")
	h.refused(vgpu.ErrNotFound, 3, "web1")
	h.refused(vgpu.ErrNotFound, 3, "--type", "GRID M60-9Q", "web1")
	h.clean()
}

// TestFull: when no GPU has room, the program says so with a status of its own and
// leaves nothing; a deleted VM makes room.
func TestFull(t *testing.T) {
	h := newHost(t)
	h.spawn("--type", "GRID M60-8Q", "web1")
	h.spawn("--type", "GRID M60-8Q", "web2")
	h.refused(vgpu.ErrNoCapacity, 4, "--type", "GRID M60-8Q", "web3")
	assert.NotContains(t, h.spawn(), "web3")

	h.spawn("--delete", "web1")
	assert.Contains(t, h.spawn("--type", "GRID M60-8Q", "web3"), "web3  running")
}

// TestInUse: while another VM has the vGPU, ours does not start and is not deleted.
func TestInUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // the program waits for half a minute, the test does not
		h := newHost(t)
		h.spawn("--type", "GRID M60-8Q", "web1")
		h.spawn("--stop", "web1")
		virsh := h.libvirt.Virsh()
		_, err := virsh.Clone(t.Context(), "web1", "copy") // with web1's vGPU
		require.NoError(t, err)
		require.NoError(t, virsh.Start(t.Context(), "copy"))

		h.refused(vgpu.ErrInUse, 5, "web1")
		h.refused(vgpu.ErrInUse, 5, "--delete", "web1")

		require.NoError(t, virsh.Destroy(t.Context(), "copy"))
		require.NoError(t, virsh.Undefine(t.Context(), "copy", domain.UndefineOptions{}))
		assert.Contains(t, h.spawn("web1"), "web1  running")
	})
}

// TestDriverRefuses: a GPU whose driver answers EIO is passed over; when all do, there
// is no room, and nothing is left.
func TestDriverRefuses(t *testing.T) {
	h := newHost(t)
	h.sim.Fail(mdevtest.Fault{Op: mdevtest.OpWrite, Path: "create", N: 1, Err: syscall.EIO})
	assert.Contains(t, h.spawn("--type", "GRID M60-8Q", "web1"), "web1  running  nvidia-22  0000:06:00.0")
	h.spawn("--delete", "web1")

	h.sim.Fail(mdevtest.Fault{Op: mdevtest.OpWrite, Path: "create", Err: syscall.EIO})
	err := h.refused(vgpu.ErrNoCapacity, 4, "--type", "GRID M60-8Q", "web1")
	assert.ErrorIs(t, err, syscall.EIO)
	h.clean()
}

// TestLibvirtRefuses: a VM that libvirt does not start is not left behind.
func TestLibvirtRefuses(t *testing.T) {
	h := newHost(t)
	h.libvirt.Fail(vgputest.Fault{Method: "Start", Err: &vgputest.Error{
		Kind: domain.ErrPermission, Code: 1, Message: "internal error: cannot limit locked memory: Operation not permitted",
	}})
	err := h.refused(vgpu.ErrPermission, 1, "--type", "GRID M60-8Q", "web1")
	assert.ErrorContains(t, err, "cannot limit locked memory")
	h.clean()
}

// TestLibvirtHangs: the program gives up after a minute; no minute is waited for here.
func TestLibvirtHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t)
		undo := h.libvirt.Fail(vgputest.Fault{Method: "Define", Hang: true})
		h.refused(vgpu.ErrUnavailable, 6, "--type", "GRID M60-8Q", "web1")
		h.clean()
		undo()
		assert.Contains(t, h.spawn("--type", "GRID M60-8Q", "web1"), "web1  running")

		h.libvirt.SetDown(true)
		h.refused(vgpu.ErrUnavailable, 6)
	})
}

// TestInterrupted: ctrl-C while libvirt is at work leaves nothing.
func TestInterrupted(t *testing.T) {
	h := newHost(t)
	ctx, interrupt := context.WithCancel(t.Context())
	h.libvirt.Fail(vgputest.Fault{Method: "Start", Do: func(ctx context.Context, _ vgputest.Call) error {
		interrupt()
		<-ctx.Done()
		return ctx.Err()
	}})
	_, err := h.try(ctx, vgpu.Observer{}, "--type", "GRID M60-8Q", "web1")
	require.ErrorIs(t, err, context.Canceled)
	h.clean()
}

// TestKilled: wherever the program is killed, the next one finishes or undoes what it
// left, and the VM can be had.
func TestKilled(t *testing.T) {
	steps := 0
	for n := 1; ; n++ {
		h := newHost(t)
		if !h.killed(n, "--type", "GRID M60-8Q", "web1") {
			break
		}
		steps++
		h.spawn("--recover")
		assert.Contains(t, h.spawn("--type", "GRID M60-8Q", "web1"), "web1  running  nvidia-22", "killed before step %d", n)
		h.spawn("--delete", "web1")
		h.clean()
	}
	assert.Greater(t, steps, 10)
}

// TestKilledInTheKernel: the program dies in the write that makes the vGPU, which is
// there then; no VM has it, and it is found.
func TestKilledInTheKernel(t *testing.T) {
	h := newHost(t)
	restart := h.sim.Fail(mdevtest.Fault{Op: mdevtest.OpWrite, Path: "create", Crash: true, After: true})
	_, err := h.try(t.Context(), vgpu.Observer{}, "--type", "GRID M60-8Q", "web1")
	require.Error(t, err)
	restart()

	assert.Contains(t, h.spawn("--recover"), "finish web1")
	h.clean()
}

// TestDies: the vGPUs of a VM that ended by itself are given back by the next recovery.
func TestDies(t *testing.T) {
	h := newHost(t)
	h.spawn("--type", "GRID M60-8Q", "--count", "2", "--release", "web1")
	require.NoError(t, h.libvirt.Crash(t.Context(), "web1"))
	assert.Contains(t, h.spawn(), "web1  off")
	h.refused(vgpu.ErrNoCapacity, 4, "--type", "GRID M60-8Q", "web2")

	assert.Contains(t, h.spawn("--recover"), "release web1")
	assert.Contains(t, h.spawn("--type", "GRID M60-8Q", "web2"), "web2  running")
}

// TestReboot: after a reboot of the host a VM has its vGPU again, be it by its start
// or by a recovery.
func TestReboot(t *testing.T) {
	h := newHost(t)
	h.spawn("--type", "GRID M60-8Q", "web1")
	before := h.spawn("--type", "GRID M60-8Q", "web2")
	require.NoError(t, h.libvirt.SetAutostart(t.Context(), "web1", true)) // too early for it
	h.sim.Reboot()
	assert.Contains(t, h.spawn(), "web1  incomplete")

	assert.Contains(t, h.spawn("web1"), "web1  running")
	out := h.spawn("--recover")
	assert.Contains(t, out, "restore web2")
	assert.Contains(t, out, "web2  off")
	assert.Equal(t, before, h.spawn("web2"))
}
