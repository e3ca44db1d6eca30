package main

import (
	"bytes"
	"encoding/json"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vgpukit/vgpukit/domain"
	"github.com/vgpukit/vgpukit/domain/virt"
)

// TestSimulateLibvirt: what is printed leads any client of libvirt's to the VMs of the
// mounted host, and its owner alone; a reboot of the host ends them.
func TestSimulateLibvirt(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "host & co; 100%+")
	s := simulate(t, dir, "--board", "mtty", "--libvirt", "-o", "json")
	var told struct {
		Mount, Socket, Connect string
		GPUs                   []string
	}
	require.NoError(t, json.Unmarshal([]byte(s.told), &told), s.told)
	assert.Equal(t, dir, told.Mount)
	assert.Equal(t, dir+".sock", told.Socket)
	assert.Equal(t, []string{"mtty"}, told.GPUs)
	info, err := os.Stat(told.Socket)
	require.NoError(t, err)
	assert.Equal(t, os.ModeSocket|0o600, info.Mode())

	do := func(args ...string) string {
		t.Helper()
		status, out, stderr := vgpuctl(t, document, append([]string{"--root", dir, "--connect", told.Connect}, args...)...)
		require.Zero(t, status, stderr)
		return out
	}
	do("provision", "--domain", "-", "--vgpu", "type=mtty-1,uuid="+id, "--start")
	conn, err := virt.Open(t.Context(), virt.Config{URI: told.Connect})
	require.NoError(t, err)
	defer conn.Close()
	running, err := conn.Info(t.Context(), "vm")
	require.NoError(t, err)
	assert.Equal(t, domain.StateRunning, running.State)
	names, err := exec.Command("virsh", "-c", told.Connect, "list", "--name").CombinedOutput()
	require.NoError(t, err, string(names))
	assert.Equal(t, "vm", strings.TrimSpace(string(names)))

	require.NoError(t, os.WriteFile(filepath.Join(dir, "sim/control"), []byte("reboot"), 0o600))
	off, err := conn.Info(t.Context(), "vm")
	require.NoError(t, err)
	assert.Equal(t, domain.StateShutOff, off.State)
	assert.Contains(t, do("reconcile", "--restore"), id)
	do("start", "vm")
	do("teardown", "vm")
	assert.Contains(t, do("status"), "No VM")
}

// TestSimulateLibvirtEnds: ctrl-C ends it although clients of its libvirt are connected,
// silent or waiting, and its socket goes. What waits for it is told.
func TestSimulateLibvirtEnds(t *testing.T) {
	for _, signal := range []os.Signal{os.Interrupt, syscall.SIGTERM} {
		dir := filepath.Join(t.TempDir(), "host")
		s := simulate(t, dir, "--board", "mtty", "--libvirt")
		silent, err := net.Dial("unix", dir+".sock")
		require.NoError(t, err)
		defer silent.Close()
		conn, err := virt.Open(t.Context(), virt.Config{URI: s.uri(t)})
		require.NoError(t, err)
		defer conn.Close()
		_, err = conn.Events(t.Context())
		require.NoError(t, err)
		flags := []string{"--root", dir, "--connect", s.uri(t)}
		status, _, text := vgpuctl(t, document, append(flags, "provision", "--domain", "-", "--vgpu", "type=mtty-1", "--start")...)
		require.Zero(t, status, text)
		require.NoError(t, os.WriteFile(filepath.Join(dir, "sim/control"), []byte("guest vm deaf"), 0o600))
		stop, stderr := program(t, append(flags, "stop", "vm", "--timeout", "1h")...)
		require.NoError(t, stop.Start())
		require.Eventually(t, func() bool {
			return len(unfinished(t, filepath.Join(dir, "var/lib/vgpukit"))) == 1
		}, time.Minute, 5*time.Millisecond, "it has not begun to stop the VM")

		s.end(t, signal)
		assert.Zero(t, s.cmd.ProcessState.ExitCode(), s.stderr)
		s.nothingLeft(t)
		_, err = silent.Read(make([]byte, 1))
		assert.ErrorIs(t, err, io.EOF)
		require.Error(t, stop.Wait())
		assert.Equal(t, exitFailed, stop.ProcessState.ExitCode())
		assert.Contains(t, stderr.String(), "stop vm: ")
	}
}

// uri is that of the flags that were printed, as a shell reads them.
func (s *simulation) uri(t *testing.T) string {
	t.Helper()
	_, flag, found := strings.Cut(s.told, " --connect ")
	require.True(t, found, s.told)
	word, err := exec.Command("sh", "-c", "printf %s "+flag).Output()
	require.NoError(t, err)
	return string(word)
}

// TestSimulateSocket: the socket that a killed simulation left is replaced; one that
// somebody listens on, and what is no socket, is refused, and stays.
func TestSimulateSocket(t *testing.T) {
	dir := t.TempDir()
	first, second, socket := filepath.Join(dir, "1"), filepath.Join(dir, "2"), filepath.Join(dir, "libvirt")
	killed := simulate(t, first, "--board", "mtty", "--libvirt", "--socket", socket)
	killed.end(t, syscall.SIGKILL)
	require.FileExists(t, socket)

	s := simulate(t, first, "--board", "mtty", "--libvirt", "--socket", socket)
	refused := func(says string, args ...string) {
		t.Helper()
		var stderr bytes.Buffer
		status := run(t.Context(), append([]string{"simulate", "--mount", second, "--board", "mtty"}, args...), nil, io.Discard, &stderr)
		assert.Equal(t, exitUsage, status)
		assert.Contains(t, stderr.String(), says)
		assert.NoDirExists(t, second)
	}
	refused("somebody listens", "--libvirt", "--socket", socket)
	conn, err := virt.Open(t.Context(), virt.Config{URI: s.uri(t)})
	require.NoError(t, err, "the first one's socket is gone")
	require.NoError(t, conn.Close())

	file := filepath.Join(dir, "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	refused("no socket", "--libvirt", "--socket", file)
	assert.FileExists(t, file)
	refused("107", "--libvirt", "--socket", filepath.Join(dir, strings.Repeat("x", 107)))
	refused("--socket", "--socket", socket)
}

// TestFlagsForShells: a path of any bytes comes back from the shell that reads the flags,
// and from the URI.
func TestFlagsForShells(t *testing.T) {
	for _, path := range []string{"/mnt/sim", "/a b", "/it's", `/"$x` + "`", "/a&b;c=d+e%20?f#g", "/ü", "", "/~", "/*"} {
		word, err := exec.Command("sh", "-c", "printf %s "+quoted(path)).Output()
		require.NoError(t, err)
		assert.Equal(t, path, string(word))
		uri := (&socket{path: path}).uri()
		require.NoError(t, virt.CheckURI(uri))
		parsed, err := url.Parse(uri)
		require.NoError(t, err)
		assert.Equal(t, path, parsed.Query().Get("socket"))
		assert.NotContains(t, uri, "+e", "libvirt takes a plus for a plus, others for a blank")
	}
}
