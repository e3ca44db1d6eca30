package vgputest_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vgpukit/vgpukit/domain"
	"github.com/vgpukit/vgpukit/mdev"
	"github.com/vgpukit/vgpukit/vgpu/vgputest"
)

// TestAutostart: after a reboot libvirt starts a VM that is set to start with the host,
// if its vGPU is there by then: what a service makes that is ordered before libvirt is,
// and libvirt answers it nothing yet.
func TestAutostart(t *testing.T) {
	w := newWorld(t, "mtty")
	ctx := t.Context()
	w.makeVGPUs(1)
	for name, vgpus := range map[string][]string{"plain": nil, "with": w.vgpus, "off": nil} {
		_, err := w.libvirt.Define(ctx, machineWith(name, vgpus...))
		require.NoError(t, err)
		require.NoError(t, w.libvirt.SetAutostart(ctx, name, name != "off"))
	}
	_, err := w.libvirt.Create(ctx, machineWith("transient"))
	require.NoError(t, err)
	events, err := w.libvirt.Events(ctx)
	require.NoError(t, err)
	states := func() map[string]domain.State {
		infos, err := w.libvirt.Domains(ctx)
		require.NoError(t, err)
		now := map[string]domain.State{}
		for _, info := range infos {
			now[info.Name] = info.State
		}
		return now
	}
	w.sim.Reboot()
	require.Equal(t, domain.EventReconnected, (<-events).Kind)
	require.Equal(t, map[string]domain.State{"plain": domain.StateRunning, "with": domain.StateShutOff, "off": domain.StateShutOff}, states())

	called := 0
	remove := w.libvirt.OnBoot(func() {
		called++
		_, err := w.libvirt.Domains(context.Background())
		require.ErrorIs(t, err, domain.ErrUnavailable)
		_, err = w.host.Create(context.Background(), mdev.CreateRequest{Type: "mtty-1", UUID: parseID(w.vgpus[0])})
		require.NoError(t, err)
	})
	w.sim.Reboot()
	require.Equal(t, map[string]domain.State{"plain": domain.StateRunning, "with": domain.StateRunning, "off": domain.StateShutOff}, states())
	w.holds("after the reboot")
	remove()
	remove()
	w.sim.Reboot()
	require.Equal(t, 1, called)

	w.libvirt.SetDown(true)
	w.sim.Reboot()
	_, err = w.libvirt.Domains(ctx)
	require.ErrorIs(t, err, domain.ErrUnavailable, "a daemon that is not enabled stays down")
	w.libvirt.SetDown(false)
	require.Equal(t, domain.StateRunning, states()["plain"], "they start with the daemon that is the first since the reboot")
	require.NoError(t, w.libvirt.Destroy(ctx, "plain"))
	w.libvirt.RestartDaemon()
	require.Equal(t, domain.StateShutOff, states()["plain"], "and with no later one")
}

// TestRebootTwice: reboots that come together leave libvirt up, and one that is restarted
// in their midst comes with the last.
func TestRebootTwice(t *testing.T) {
	w := newWorld(t, "mtty")
	first, second := make(chan struct{}), make(chan struct{})
	var reboots atomic.Int32
	w.libvirt.OnBoot(func() {
		if reboots.Add(1) == 1 {
			close(first)
			<-second
			return
		}
		w.libvirt.SetDown(false)
		_, err := w.libvirt.Domains(t.Context())
		assert.ErrorIs(t, err, domain.ErrUnavailable)
		close(second)
	})
	var both sync.WaitGroup
	both.Go(w.sim.Reboot)
	<-first
	both.Go(w.sim.Reboot)
	both.Wait()
	_, err := w.libvirt.Domains(t.Context())
	require.NoError(t, err)
}

// TestWaitsEnd: who waits for a guest or hangs in a fault is not left waiting when the
// host reboots or the daemon ends.
func TestWaitsEnd(t *testing.T) {
	for name, end := range map[string]struct {
		do     func(*simulated)
		detach error // nil: the device is gone
	}{
		"reboot":  {func(w *simulated) { w.sim.Reboot() }, nil},
		"down":    {func(w *simulated) { w.libvirt.SetDown(true) }, domain.ErrUnavailable},
		"destroy": {func(w *simulated) { assert.NoError(t, w.libvirt.Virsh().Destroy(t.Context(), "web1")) }, nil},
		"reset":   {func(w *simulated) { assert.NoError(t, w.libvirt.Virsh().Reset(t.Context(), "web1")) }, nil},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, "mtty")
			w.makeVGPUs(1)
			_, err := w.libvirt.Define(t.Context(), machineWith("web1", w.vgpus...))
			require.NoError(t, err)
			require.NoError(t, w.libvirt.Start(t.Context(), "web1"))
			w.libvirt.SetGuest("web1", vgputest.Guest{Deaf: true})
			begun := time.Now()
			detach := make(chan error, 1)
			go func() {
				detach <- w.libvirt.Detach(context.Background(), "web1", element(w.vgpus[0]), domain.ScopeLive)
			}()
			synctest.Wait()
			end.do(w)
			require.ErrorIs(t, <-detach, end.detach, name)
			require.Zero(t, time.Since(begun), name)
		})
	}
}

// TestHangEnds: a call that hangs or takes its time fails when the daemon ends.
func TestHangEnds(t *testing.T) {
	for name, fault := range map[string]vgputest.Fault{
		"hang": {Hang: true}, "delay": {Delay: time.Hour}, "after": {Hang: true, After: true},
	} {
		for _, end := range []func(*simulated){
			func(w *simulated) { w.sim.Reboot() },
			func(w *simulated) { w.libvirt.SetDown(true) },
			func(w *simulated) { w.libvirt.RestartDaemon() },
		} {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, "mtty")
				w.libvirt.Fail(fault)
				begun := time.Now()
				answer := make(chan error, 1)
				go func() { _, err := w.libvirt.Domains(context.Background()); answer <- err }()
				synctest.Wait()
				end(w)
				require.ErrorIs(t, <-answer, domain.ErrUnavailable, name)
				require.Zero(t, time.Since(begun), name)
			})
		}
	}
}
