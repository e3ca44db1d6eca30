//go:build integration

package integration

import (
	"errors"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/vgpukit/vgpukit/vgpu"
)

// TestStateDirectoryCannotBeWritten: on a full disk, and on one that has become
// read-only, what makes things is refused with the reason before anything is touched, and
// VMs are stopped; on a full one they are torn down too, and once there is room again
// nothing is left to do.
func TestStateDirectoryCannotBeWritten(t *testing.T) {
	r := newRig(t)
	r.dir = t.TempDir()
	require.NoError(t, unix.Mount("state", r.dir, "tmpfs", 0, "size=256k,mode=0700"))
	t.Cleanup(func() { require.NoError(t, unix.Unmount(r.dir, 0)) })
	r.m = r.manager(t, r.host, r.conn)
	b := boards[0]
	ctx := within(t, 3*time.Minute)
	before := r.state(t)
	running := b.single("vgpukit-test-running", vgpu.WhileRunning)
	_, err := r.m.Provision(ctx, running)
	require.NoError(t, err)
	_, err = r.m.Start(ctx, "vgpukit-test-running", vgpu.StartOptions{})
	require.NoError(t, err)
	_, err = r.m.Provision(ctx, b.single("vgpukit-test-off", vgpu.Reserved))
	require.NoError(t, err)

	refused := func(errno error) {
		t.Helper()
		for name, do := range map[string]func() error{
			"provision": func() error { _, err := r.m.Provision(ctx, b.victim(vgpu.Reserved)); return err },
			"start":     func() error { _, err := r.m.Start(ctx, "vgpukit-test-off", vgpu.StartOptions{}); return err },
		} {
			there := r.state(t)
			err := do()
			require.ErrorIs(t, err, errno, name)
			require.ErrorIs(t, err, vgpu.ErrUnavailable, name)
			var hint interface{ Hint() string }
			require.ErrorAs(t, err, &hint)
			assert.Contains(t, hint.Hint(), r.dir, name)
			assert.Equal(t, there, r.state(t), "%s touched nothing", name)
		}
	}
	stopped := func() {
		t.Helper()
		vm, err := r.m.Stop(ctx, "vgpukit-test-running", powerOff)
		require.NoError(t, err)
		assert.Equal(t, vgpu.StateOff, vm.State)
		for _, g := range vm.VGPUs {
			assert.False(t, g.Present)
		}
	}
	filler := r.dir + "/filler"
	file, err := os.Create(filler)
	require.NoError(t, err)
	for err == nil {
		_, err = file.Write(make([]byte, 512))
	}
	require.True(t, errors.Is(err, unix.ENOSPC), "%v", err)
	require.NoError(t, file.Close())
	refused(unix.ENOSPC)
	stopped()
	require.NoError(t, r.m.Teardown(ctx, "vgpukit-test-off", vgpu.TeardownOptions{}))
	report, err := r.m.Reconcile(ctx, vgpu.ReconcileOptions{})
	require.NoError(t, err)
	assert.Empty(t, report.Actions, "nothing is left to do")

	require.NoError(t, os.Remove(filler))
	_, err = r.m.Start(ctx, "vgpukit-test-running", vgpu.StartOptions{})
	require.NoError(t, err)
	_, err = r.m.Provision(ctx, b.single("vgpukit-test-off", vgpu.Reserved))
	require.NoError(t, err)
	require.NoError(t, unix.Mount("state", r.dir, "tmpfs", unix.MS_REMOUNT|unix.MS_RDONLY, "size=256k"))
	refused(unix.EROFS)
	stopped()
	require.ErrorIs(t, r.m.Teardown(ctx, "vgpukit-test-off", vgpu.TeardownOptions{}), unix.EROFS, "it cannot be forgotten")
	require.NoError(t, unix.Mount("state", r.dir, "tmpfs", unix.MS_REMOUNT, "size=256k"))
	_, err = r.m.Reconcile(ctx, vgpu.ReconcileOptions{})
	require.NoError(t, err)
	require.NoError(t, r.m.Teardown(ctx, "vgpukit-test-running", vgpu.TeardownOptions{}))
	assert.Equal(t, before, r.state(t))
}
