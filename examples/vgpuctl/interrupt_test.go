package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vgpukit/vgpukit/mdev/mdevtest"
	"github.com/vgpukit/vgpukit/vgpu/vgputest"
)

// TestInterrupted: what ctrl-C ends while a vGPU is being made is undone: nothing
// is left for anybody to clean up.
func TestInterrupted(t *testing.T) {
	provision := []string{"provision", "--domain", "-", "--vgpu", "type=mtty-1", "--vgpu", "type=mtty-1"}
	for _, c := range []struct {
		args []string
		at   mdevtest.Fault
	}{
		{[]string{"create", "--type", "mtty-1"}, mdevtest.Fault{Path: "create", N: 1}},
		{[]string{"create", "--type", "1148"}, mdevtest.Fault{Path: "current_vgpu_type", N: 1}},
		{provision, mdevtest.Fault{Path: "create", N: 2}},
		{append(provision, "--lifetime", "while-running", "--start"), mdevtest.Fault{Path: "create", N: 2}},
	} {
		t.Run(strings.Join(c.args, " "), func(t *testing.T) {
			host := mounted(t, "mtty", "l40s,vfs=2")
			ctx, interrupt := context.WithCancel(t.Context())
			c.at.Op, c.at.After = mdevtest.OpWrite, true
			c.at.Do = func(mdevtest.Access) error { interrupt(); return nil }
			defer host.Fail(c.at)()
			var stdout, stderr bytes.Buffer
			status := run(ctx, host.args(c.args...), strings.NewReader(document), &stdout, &stderr)
			assert.Equal(t, exitFailed, status)
			assert.Empty(t, stdout.String())
			assert.Regexp(t, `^vgpuctl: interrupted: .*\nwhat to do: .*\n$`, stderr.String())

			_, out, _ := host.do("", "inventory")
			assert.Contains(t, out, "No vGPUs exist.")
			for _, dir := range []string{"vms", "owners"} {
				left, err := os.ReadDir(filepath.Join(host.state, dir))
				assert.True(t, err == nil || os.IsNotExist(err))
				assert.Empty(t, left)
			}
		})
	}
}

// TestInterruptedStop: ctrl-C, and the end of a session, end the wait for a VM that
// holds its vGPU, and what is said then leads on.
func TestInterruptedStop(t *testing.T) {
	host := mounted(t, "mtty")
	do := func(args ...string) {
		t.Helper()
		status, _, stderr := host.do(document, args...)
		require.Zero(t, status, stderr)
	}
	do("provision", "--domain", "-", "--vgpu", "type=mtty-1,uuid="+id, "--start")
	host.libvirt.SetGuest("vm", vgputest.Guest{Deaf: true})
	defer func() {
		host.libvirt.SetGuest("vm", vgputest.Guest{})
		do("teardown", "vm")
	}()
	for _, signal := range []os.Signal{os.Interrupt, syscall.SIGTERM, syscall.SIGHUP} {
		cmd, stderr := program(t, host.args("stop", "vm")...)
		require.NoError(t, cmd.Start())
		require.Eventually(t, func() bool {
			return len(unfinished(t, host.state)) == 1
		}, time.Minute, 5*time.Millisecond, "it has not begun to stop the VM")
		require.NoError(t, cmd.Process.Signal(signal))
		require.Error(t, cmd.Wait())
		assert.Equal(t, exitFailed, cmd.ProcessState.ExitCode(), signal)
		assert.Regexp(t, `^vgpuctl: interrupted: stop vm: .*\nwhat to do: .*reconcile.*\n$`, stderr.String())
		require.NoError(t, os.Remove(unfinished(t, host.state)[0]))
	}
}

// unfinished lists the files of operations that are under way.
func unfinished(t *testing.T, state string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(state, "vms", "*.op"))
	require.NoError(t, err)
	return files
}

// TestInterruptedTwice: a second ctrl-C ends at once what takes its time to undo.
func TestInterruptedTwice(t *testing.T) {
	host := mounted(t, "mtty")
	undoing := make(chan struct{})
	begun := sync.OnceFunc(func() { close(undoing) })
	defer host.Fail(mdevtest.Fault{Op: mdevtest.OpWrite, Path: "remove", Do: func(mdevtest.Access) error { begun(); return syscall.EBUSY }})()
	cmd, _ := program(t, host.args("create", "--type", "mtty-1", "--param", "nonsense=1")...)
	require.NoError(t, cmd.Start())
	<-undoing
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		assert.Error(t, cmd.Wait())
	}()
	for again := time.NewTicker(10 * time.Millisecond); ; <-again.C {
		_ = cmd.Process.Signal(os.Interrupt)
		select {
		case <-ended:
			assert.Equal(t, syscall.SIGINT, cmd.ProcessState.Sys().(syscall.WaitStatus).Signal(), "it went on undoing")
			return
		default:
		}
	}
}
