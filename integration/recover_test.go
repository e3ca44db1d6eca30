//go:build integration && linux && amd64

package integration

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vgpukit/vgpukit/domain"
	"github.com/vgpukit/vgpukit/vgpu"
)

// restartLibvirt kills libvirtd and lets systemd start it again.
func restartLibvirt(t testing.TB) {
	for _, args := range [][]string{{"kill", "--kill-whom=main", "--signal=KILL", "libvirtd.service"}, {"reset-failed", "libvirtd.service"}, {"restart", "libvirtd.service"}} {
		out, err := exec.Command("systemctl", args...).CombinedOutput()
		require.NoError(t, err, "systemctl %v: %s", args, out)
	}
}

// at runs do when a step of that name begins, once.
func (r *rig) at(t testing.TB, step string, do func()) *vgpu.Manager {
	t.Helper()
	var once sync.Once
	m, err := vgpu.New(vgpu.Config{Host: r.host, Hypervisor: r.conn, StateDir: r.dir, Observer: vgpu.Observer{StepBegun: func(ctx context.Context, s vgpu.Step) context.Context {
		if s.Name == step {
			once.Do(do)
		}
		return ctx
	}}})
	require.NoError(t, err)
	return m
}

// named checks that an error, if there is one, has its VM, its kind and a next step.
func named(t testing.TB, err error, kinds ...error) {
	t.Helper()
	if err == nil {
		return
	}
	var e *vgpu.Error
	require.ErrorAs(t, err, &e)
	assert.Equal(t, victim, e.VM)
	assert.NotEmpty(t, e.Step)
	assert.NotEmpty(t, e.Hint(), "%v", err)
	for _, kind := range kinds {
		if errors.Is(err, kind) {
			return
		}
	}
	t.Errorf("an error of another kind: %v", err)
}

// TestLibvirtRestarts: libvirtd dies and comes back at any step of Provision and
// of Stop: the operation succeeds or says that libvirt was gone, and one Reconcile
// brings the host to what it was before or to what was asked for.
func TestLibvirtRestarts(t *testing.T) {
	for _, step := range []string{"place", "create", "define", "close"} {
		t.Run("provision "+step, func(t *testing.T) {
			w := newWard(t, boards[0])
			w.before = w.state(t)
			m := w.at(t, step, func() { restartLibvirt(t) })
			_, err := m.Provision(within(t, time.Minute), w.board.victim(vgpu.Reserved))
			t.Logf("provision: %v", err)
			w.reconciled(t, "provision", err)
		})
	}
	for _, step := range []string{"journal", "terminate", "release", "close"} {
		t.Run("stop "+step, func(t *testing.T) {
			w := newWard(t, boards[0])
			w.running()
			w.before = w.state(t)
			m := w.at(t, step, func() { restartLibvirt(t) })
			_, err := m.Stop(within(t, time.Minute), victim, powerOff)
			t.Logf("stop: %v", err)
			w.reconciled(t, "stop", err)
		})
	}
}

// reconciled checks that after a failed operation one Reconcile leads to before or
// done.
func (w *ward) reconciled(t *testing.T, operation string, err error) {
	t.Helper()
	named(t, err, vgpu.ErrUnavailable, domain.ErrUnavailable, context.DeadlineExceeded)
	_, reconcileErr := w.m.Reconcile(within(t, time.Minute), vgpu.ReconcileOptions{Now: true})
	require.NoError(t, reconcileErr)
	now := w.state(t)
	if err != nil && now == w.before {
		return
	}
	require.NoError(t, operations[operation](within(t, time.Minute), w.m, w.board), "asking again finds it done")
	require.Equal(t, now, w.state(t), "it was done")
}

// TestDestroyedByHand: a VM that somebody destroys gives its vGPUs back, by Watch
// at once, else by Reconcile, as soon as the driver has cleaned up.
func TestDestroyedByHand(t *testing.T) {
	onEachBoard(t, "", func(t *testing.T, b board) {
		w := newWard(t, b)
		w.off()
		off := w.state(t)
		for _, watched := range []bool{true, false} {
			w.running()
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			if watched {
				go func() { ended <- w.m.Watch(ctx) }()
			}
			command(t, "virsh", "destroy", victim)
			if watched {
				require.Equal(t, off, w.settled(off))
			} else {
				report, err := w.m.Reconcile(ctx, vgpu.ReconcileOptions{})
				require.NoError(t, err)
				require.Len(t, report.Actions, len(b.types))
				for _, a := range report.Actions {
					assert.Equal(t, vgpu.ActionRelease, a.Kind)
				}
				require.Equal(t, off, w.state(t))
			}
			cancel()
			if watched {
				require.ErrorIs(t, <-ended, context.Canceled)
			}
		}
	})
}

// TestRemovedByHand: a vGPU that somebody removes while its VM is off is missed by
// Status and made again by Start, the same one, where the guest had it before.
func TestRemovedByHand(t *testing.T) {
	onEachBoard(t, "", func(t *testing.T, b board) {
		w := newWard(t, b)
		ctx := within(t, 2*time.Minute)
		before, err := w.m.Provision(ctx, b.victim(vgpu.Reserved))
		require.NoError(t, err)
		whole := w.state(t)
		b.removeByHand(t, before.VGPUs[0].ID)
		vm, err := w.m.Status(ctx, victim)
		require.NoError(t, err)
		assert.Equal(t, vgpu.StateIncomplete, vm.State)
		vm, err = w.m.Start(ctx, victim, vgpu.StartOptions{})
		require.NoError(t, err)
		for i, g := range vm.VGPUs {
			assert.Equal(t, before.VGPUs[i].ID, g.ID)
			assert.Equal(t, before.VGPUs[i].Type, g.Type)
			assert.Equal(t, before.VGPUs[i].Address, g.Address)
			assert.True(t, g.Present)
			assert.Contains(t, guestSees(t, w.rig, victim, g.Address), b.guest[i], "the guest sees it there")
		}
		_, err = w.m.Stop(ctx, victim, powerOff)
		require.NoError(t, err)
		assert.Equal(t, whole, w.state(t))
	})
}

// contest lets several processes do operations at the same time, and returns what
// each said.
func (w *ward) contest(names ...string) []error {
	said := make([]error, len(names))
	var all sync.WaitGroup
	for i, name := range names {
		all.Go(func() {
			cmd := exec.CommandContext(within(w.t, childTime), "/proc/self/exe")
			cmd.Env = append(os.Environ(), w.env(name)...)
			out, err := cmd.CombinedOutput()
			if err != nil {
				said[i] = fmt.Errorf("%s: %w", out, err)
			}
		})
	}
	all.Wait()
	return said
}

// TestTwoProcesses: of processes that provision the same VM each finds it as
// asked; of those that want the last instance one gets it and the others are told
// that there is none.
func TestTwoProcesses(t *testing.T) {
	onEachBoard(t, "same name", func(t *testing.T, b board) {
		w := newWard(t, b)
		for _, said := range w.contest("provision", "provision", "provision") {
			assert.NoError(t, said)
		}
		vms, err := w.m.List(t.Context())
		require.NoError(t, err)
		require.Len(t, vms, 1)
		assert.Equal(t, vgpu.StateOff, vms[0].State)
	})
	onEachBoard(t, "last instance", func(t *testing.T, b board) {
		w := newWard(t, b)
		for room(t, w.host, b.types[0]) > 1 {
			hostCreate(t, w.host, b.types[0])
		}
		won := 0
		for _, said := range w.contest("provision a", "provision b", "provision c") {
			var exit *exec.ExitError
			if said == nil {
				won++
			} else if assert.ErrorAs(t, said, &exit) {
				assert.Equal(t, noCapacityStatus, exit.ExitCode(), "%v", said)
			}
		}
		assert.Equal(t, 1, won)
		assert.Zero(t, room(t, w.host, b.types[0]))
	})
}

// TestDeafGuest: a guest that ignores the shutdown is terminated; a QEMU that
// ignores that too is killed only if allowed, and else named, all in time.
func TestDeafGuest(t *testing.T) {
	w := newWard(t, boards[0])
	w.off()
	off := w.state(t)
	w.running()
	begin := time.Now()
	_, err := w.m.Stop(within(t, time.Minute), victim, vgpu.StopOptions{GuestTimeout: 2 * time.Second})
	require.NoError(t, err)
	assert.Greater(t, time.Since(begin), 2*time.Second, "nothing runs in the guest that could shut it down")
	assert.Less(t, time.Since(begin), 20*time.Second)
	assert.Equal(t, off, w.state(t))

	w.running()
	vm, err := w.m.Status(t.Context(), victim)
	require.NoError(t, err)
	device, err := w.host.Device(t.Context(), vm.VGPUs[0].ID)
	require.NoError(t, err)
	require.NotNil(t, device.Holder)
	require.NoError(t, syscall.Kill(device.Holder.PID, syscall.SIGSTOP))
	stuck := vgpu.StopOptions{GuestTimeout: 2 * time.Second, TerminateTimeout: 2 * time.Second}
	begin = time.Now()
	_, err = w.m.Stop(within(t, time.Minute), victim, stuck)
	took := time.Since(begin)
	t.Logf("without force, after %s: %v", took, err)
	require.Error(t, err)
	named(t, err, vgpu.ErrState)
	assert.Less(t, took, 25*time.Second)
	stuck.Force = true
	begin = time.Now()
	_, err = w.m.Stop(within(t, 2*time.Minute), victim, stuck)
	t.Logf("with force, after %s: %v", time.Since(begin), err)
	require.NoError(t, err)
	assert.Equal(t, off, w.state(t))
}
