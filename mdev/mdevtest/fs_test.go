package mdevtest_test

import (
	"context"
	"io"
	"io/fs"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/vgpukit/vgpukit/mdev"
	"github.com/vgpukit/vgpukit/mdev/mdevtest"
)

// Names are resolved as the kernel resolves them.
func TestResolve(t *testing.T) {
	h := newHost(t, "mtty")
	for name, want := range map[string]error{
		".":                  nil,
		"":                   nil,
		"sys/":               nil,
		"sys//class":         nil,
		"sys/class/../class": nil,
		"../../sys":          nil,
		"sys/class/mdev_bus/mtty/../../mtty/mtty": nil, // .. of where the link leads
		"sys/class/mdev_bus/mtty/..":              nil,
		"sys/nothing":                             syscall.ENOENT,
		"sys/nothing/..":                          syscall.ENOENT,
		"proc/sys/kernel/osrelease/x":             syscall.ENOTDIR,
		"proc/sys/kernel/osrelease/..":            syscall.ENOTDIR,
	} {
		_, err := h.Stat(name)
		require.ErrorIs(t, err, want, name)
	}
	_, err := h.ReadFile("sys")
	require.ErrorIs(t, err, syscall.EISDIR)
	_, err = h.ReadDir("proc/sys/kernel/osrelease")
	require.ErrorIs(t, err, syscall.ENOTDIR)
	_, err = h.Readlink("sys")
	require.ErrorIs(t, err, syscall.EINVAL)
	require.ErrorIs(t, write(h, "sys", "x"), syscall.EISDIR)
	_, err = h.OpenNode("sys")
	require.ErrorIs(t, err, syscall.EISDIR)
	_, err = h.OpenNode("dev/vfio/99")
	require.ErrorIs(t, err, syscall.ENOENT)
	_, err = h.OpenNode(typeDir("mtty", "mtty-1") + "/name")
	require.ErrorIs(t, err, syscall.EACCES)
	node, err := h.OpenNode("dev/vfio/vfio")
	require.NoError(t, err)
	require.NoError(t, node.Close())
	_, err = h.ReadFile("dev/vfio/vfio")
	require.ErrorIs(t, err, syscall.EINVAL)
}

// What sysfs says of its files.
func TestStat(t *testing.T) {
	h := newHost(t, "mtty")
	for name, mode := range map[string]fs.FileMode{
		"create": 0o200, "name": 0o444, "available_instances": 0o444, "devices": fs.ModeDir | 0o755,
	} {
		info, err := h.Stat(typeDir("mtty", "mtty-1") + "/" + name)
		require.NoError(t, err)
		require.Equal(t, mode, info.Mode(), name)
		require.Equal(t, name, info.Name())
	}
	entries, err := h.ReadDir("sys/class/mdev_bus")
	require.NoError(t, err)
	require.Equal(t, fs.ModeSymlink, entries[0].Type())
}

// One write takes a page at most.
func TestLongWrite(t *testing.T) {
	h := newHost(t, "tesla-m60")
	require.NoError(t, write(h, typeDir("0000:05:00.0", "nvidia-18")+"/create", uuid1))
	require.ErrorIs(t, write(h, deviceDir(uuid1)+"/uevent", strings.Repeat("x", 5000)), io.ErrShortWrite)
	require.ErrorIs(t, write(h, deviceDir(uuid1)+"/nvidia/vgpu_params", strings.Repeat("x", 5000)), syscall.E2BIG)
}

// Files outside of sys, dev and proc can be written, and survive a reboot.
func TestStore(t *testing.T) {
	h := newHost(t)
	const name = "etc/mdevctl.d/mtty/" + uuid1
	require.ErrorIs(t, h.RemoveFile(name), syscall.ENOENT)
	require.NoError(t, h.WriteFile(name, []byte("one"), 0o644))
	require.NoError(t, h.WriteFile(name, []byte("two"), 0o600))
	h.Reboot()
	require.Equal(t, "two", read(t, h, name))
	require.ErrorIs(t, h.WriteFile("etc", nil, 0o644), syscall.EISDIR)
	require.ErrorIs(t, h.WriteFile(name+"/x", nil, 0o644), syscall.ENOTDIR)
	require.ErrorIs(t, h.WriteFile("sys/x", nil, 0o644), syscall.EACCES)
	require.ErrorIs(t, h.RemoveFile("etc/mdevctl.d"), syscall.EISDIR)
	require.NoError(t, h.RemoveFile(name))
	_, err := h.Stat(name)
	require.ErrorIs(t, err, syscall.ENOENT)
}

// A life of a device as udev sees it.
func TestUevents(t *testing.T) {
	h := newHost(t)
	watching, cancel := context.WithCancel(ctx)
	events, err := h.Uevents(watching)
	require.NoError(t, err)
	b, err := mdevtest.NewBoard("mtty")
	require.NoError(t, err)
	require.NoError(t, h.Plug(b))
	require.NoError(t, write(h, typeDir("mtty", "mtty-1")+"/create", uuid1))
	h.LoseUevents()
	require.NoError(t, write(h, deviceDir(uuid1)+"/remove", "1"))
	require.NoError(t, h.Unplug("mtty"))
	cancel()

	const path = "/devices/virtual/mtty/mtty"
	var got []mdev.Uevent
	for e := range events {
		got = append(got, e)
	}
	for i, want := range []struct {
		action, path, state string
		lost                bool
	}{
		{"change", path, "registered", false},
		{"add", path + "/" + uuid1, "", false},
		{"bind", path + "/" + uuid1, "", false},
		{"unbind", path + "/" + uuid1, "", true},
		{"remove", path + "/" + uuid1, "", false},
		{"change", path, "unregistered", false},
		{"remove", path, "", false},
	} {
		require.Greater(t, len(got), i)
		require.Equal(t, want.action, got[i].Action, "event %d", i)
		require.Equal(t, want.path, got[i].Path, "event %d", i)
		require.Equal(t, want.state, got[i].Env["MDEV_STATE"], "event %d", i)
		require.Equal(t, want.lost, got[i].Lost, "event %d", i)
	}
	require.Len(t, got, 7)
}
