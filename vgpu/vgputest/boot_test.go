package vgputest_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/vgpukit/vgpukit/domain"
	"github.com/vgpukit/vgpukit/mdev"
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
	require.Equal(t, domain.StateShutOff, states()["plain"])
}
