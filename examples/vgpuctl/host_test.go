package main

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/vgpukit/vgpukit/examples/vgpuctl/simfs"
	"github.com/vgpukit/vgpukit/mdev/mdevtest"
)

// simulated is a simulated host that is mounted for the time of a test.
type simulated struct {
	*mdevtest.Host
	t     *testing.T
	state string   // vgpuctl's state directory for it
	flags []string // that lead vgpuctl to it
}

// mounted mounts a host with boards.
func mounted(t *testing.T, boards ...string) simulated {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("mounting needs root")
	}
	host, err := mdevtest.NewHost(boards...)
	require.NoError(t, err)
	root := t.TempDir()
	server, err := simfs.Mount(root, host, nil)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, server.Close()) })
	state := t.TempDir()
	return simulated{host, t, state, []string{"--root", root, "--state", state, "--connect", "test:///default"}}
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

// devices lists the host's mdevs.
func (h simulated) devices() []string {
	h.t.Helper()
	entries, err := h.ReadDir("sys/bus/mdev/devices")
	require.NoError(h.t, err)
	ids := []string{}
	for _, entry := range entries {
		ids = append(ids, entry.Name())
	}
	return ids
}
