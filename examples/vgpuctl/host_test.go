package main

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
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

// wants runs vgpuctl on the host, with a document on stdin; it has to end with a status. What it
// says is returned, the answer first.
func (h simulated) wants(status int, args ...string) string {
	h.t.Helper()
	got, stdout, stderr := h.do(document, args...)
	require.Equal(h.t, status, got, "%v: %s%s", args, stdout, stderr)
	return stdout + stderr
}

// virsh runs it on the host's libvirt.
func (h simulated) virsh(stdin string, args ...string) string {
	h.t.Helper()
	cmd := exec.Command("virsh", append([]string{"-q", "-c", h.flags[len(h.flags)-1]}, args...)...)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	require.NoError(h.t, err, string(out))
	return string(out)
}

// clone defines a VM once more by another name and UUID, as people do.
func (h simulated) clone(vm, name string) {
	h.t.Helper()
	text := strings.Replace(h.virsh("", "dumpxml", "--inactive", vm), "<name>"+vm+"<", "<name>"+name+"<", 1)
	h.virsh(regexp.MustCompile(`<uuid>.*</uuid>`).ReplaceAllString(text, ""), "define", "/dev/stdin")
}

// nothingLeft: no VM, no vGPU, nothing remembered of either.
func (h simulated) nothingLeft() {
	h.t.Helper()
	require.Contains(h.t, h.wants(0, "reconcile"), "as it should be")
	require.Empty(h.t, h.Devices())
	require.Empty(h.t, strings.TrimSpace(h.virsh("", "list", "--all", "--name")))
	for _, place := range []string{"vms", "owners"} {
		left, err := os.ReadDir(filepath.Join(h.state, place))
		require.NoError(h.t, err)
		require.Empty(h.t, left)
	}
}

// asked is what vgpuctl says for scripts.
func asked[T any](h simulated, args ...string) (value T) {
	h.t.Helper()
	status, stdout, stderr := h.do(document, append(args, "-o", "json")...)
	require.Zero(h.t, status, stderr)
	require.NoError(h.t, json.Unmarshal([]byte(stdout), &value), stdout)
	return value
}

// busIsEmpty: no mdev is listed; one whose removal waits for a VM is not.
func (h simulated) busIsEmpty() bool {
	entries, err := h.ReadDir("sys/bus/mdev/devices")
	return err == nil && len(entries) == 0
}
