package main

import (
	"context"
	"flag"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vgpukit/vgpukit/mdev"
	"github.com/vgpukit/vgpukit/mdev/mdevtest"
	"github.com/vgpukit/vgpukit/vgpu"
	"github.com/vgpukit/vgpukit/vgpu/vgputest"
)

// host is a simulated machine with a Tesla M60: two GPUs, each with room for one
// M60-8Q or four M60-2Q.
type host struct {
	t       *testing.T
	sim     *mdevtest.Host
	libvirt *vgputest.Hypervisor
	state   string
}

func newHost(t *testing.T) *host {
	sim, err := mdevtest.NewHost("tesla-m60@0000:05:00.0")
	require.NoError(t, err)
	return &host{t, sim, vgputest.New(sim), t.TempDir()}
}

// try runs the program as from a shell: it knows only what is on the host.
func (h *host) try(ctx context.Context, observer vgpu.Observer, args ...string) (string, error) {
	gpus, err := mdev.Open(mdev.Config{FS: h.sim})
	require.NoError(h.t, err)
	manager, err := vgpu.New(vgpu.Config{Host: gpus, Hypervisor: h.libvirt, StateDir: h.state, Observer: observer})
	require.NoError(h.t, err)
	order, err := parse(flag.NewFlagSet("spawn", flag.ContinueOnError), args)
	if err != nil {
		return "", err
	}
	var out strings.Builder
	err = order.run(ctx, manager, &out)
	return out.String(), err
}

// spawn runs the program, which shall succeed, and returns what it prints.
func (h *host) spawn(args ...string) string {
	h.t.Helper()
	out, err := h.try(h.t.Context(), vgpu.Observer{}, args...)
	require.NoError(h.t, err)
	return out
}

// refused runs the program, which shall fail with an error of this kind and with this
// exit status.
func (h *host) refused(kind error, exit int, args ...string) error {
	h.t.Helper()
	_, err := h.try(h.t.Context(), vgpu.Observer{}, args...)
	require.ErrorIs(h.t, err, kind)
	assert.Equal(h.t, exit, status(err), "%v", err)
	return err
}

// killed runs the program and kills it before its n-th step; it tells whether the
// program came that far. runtime.Goexit is as good as SIGKILL: no code of ours runs
// on, and the locks are free.
func (h *host) killed(n int, args ...string) (killed bool) {
	steps := 0
	observer := vgpu.Observer{StepBegun: func(ctx context.Context, _ vgpu.Step) context.Context {
		if steps++; steps == n {
			killed = true
			runtime.Goexit()
		}
		return ctx
	}}
	var process sync.WaitGroup
	process.Go(func() { _, _ = h.try(h.t.Context(), observer, args...) })
	process.Wait()
	return killed
}

// clean tells that nothing is left: no VM, no vGPU.
func (h *host) clean() {
	h.t.Helper()
	domains, err := h.libvirt.Virsh().Domains(h.t.Context())
	require.NoError(h.t, err)
	assert.Empty(h.t, domains)
	assert.Empty(h.t, h.sim.Devices())
}
