package main

import (
	"context"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/vgpukit/vgpukit/examples/vgpuctl/simfs"
	"github.com/vgpukit/vgpukit/mdev/mdevtest"
	"github.com/vgpukit/vgpukit/vgpu/vgputest"
)

// simulated is a simulated host that is mounted for the time of a test.
type simulated struct {
	*mdevtest.Host
	t       *testing.T
	libvirt *vgputest.Hypervisor
	state   string   // vgpuctl's state directory for it
	flags   []string // that lead vgpuctl to it
}

// mounted mounts a host with boards and listens for clients of its libvirt.
func mounted(t *testing.T, boards ...string) simulated {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("mounting needs root")
	}
	host, err := mdevtest.NewHost(boards...)
	require.NoError(t, err)
	root := t.TempDir()
	h := simulated{Host: host, t: t, libvirt: vgputest.New(host), state: t.TempDir()}
	server, err := simfs.Mount(root, host, h.libvirt)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, server.Close()) })
	clients, err := listen(root + ".sock")
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error)
	go func() { served <- h.libvirt.Serve(ctx, clients) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-served)
	})
	h.flags = []string{"--root", root, "--state", h.state, "--connect", clients.uri()}
	return h
}

// args is a command line for the host.
func (h simulated) args(args ...string) []string {
	return append(h.flags[:len(h.flags):len(h.flags)], args...)
}

// do runs vgpuctl on the host.
func (h simulated) do(stdin string, args ...string) (status int, stdout, stderr string) {
	h.t.Helper()
	return vgpuctl(h.t, stdin, h.args(args...)...)
}

// busIsEmpty: no mdev is listed; one whose removal waits for a VM is not.
func (h simulated) busIsEmpty() bool {
	entries, err := h.ReadDir("sys/bus/mdev/devices")
	return err == nil && len(entries) == 0
}
