package mdev

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// What is no regular file is neither read nor written, and nobody waits for it.
func TestOnlyRegularFilesAreOpened(t *testing.T) {
	root := t.TempDir()
	f := newOSFS(root)
	at := func(name string) string { return filepath.Join(root, name) }
	require.NoError(t, syscall.Mkfifo(at("fifo"), 0o666))
	require.NoError(t, os.Symlink("fifo", at("link")))
	require.NoError(t, os.Symlink("/dev/zero", at("device")))
	socket, err := net.ListenUnix("unix", &net.UnixAddr{Name: at("socket"), Net: "unix"})
	require.NoError(t, err)
	defer func() { _ = socket.Close() }()
	for _, name := range []string{"fifo", "link", "device", "socket"} {
		_, err := f.ReadFile(name)
		require.Error(t, err, name)
		require.Error(t, f.WriteAttr(name, []byte("1\n")), name)
		_, err = f.ReadDir(name)
		require.ErrorIs(t, err, syscall.ENOTDIR, name)
	}
	_, err = f.ReadFile("fifo")
	require.ErrorIs(t, err, syscall.EINVAL)
	assert.Equal(t, "read /fifo: it is not a regular file", explain("read", "/fifo", anyFile, err).Error())
	reader, err := os.OpenFile(at("fifo"), os.O_RDWR, 0) // somebody is at the other end
	require.NoError(t, err)
	defer func() { _ = reader.Close() }()
	require.ErrorIs(t, f.WriteAttr("fifo", []byte("1\n")), syscall.EINVAL)

	require.NoError(t, f.WriteFile("attr", nil, 0o600))
	require.NoError(t, os.Symlink("attr", at("to-attr")))
	require.ErrorIs(t, f.WriteAttr("to-attr", []byte("1\n")), syscall.ELOOP, "no link is written through")
	require.NoError(t, f.WriteAttr("attr", []byte("1\n")))
}

// A FIFO in the place of any file hangs nothing.
func TestFIFOHangsNothing(t *testing.T) {
	f := newTree(t)
	f.plantGPU("41", 1, 1)
	h, err := Open(Config{Root: f.root})
	require.NoError(t, err)
	writes := f.host()
	created, err := writes.Create(t.Context(), CreateRequest{Type: "nvidia-555", UUID: testUUID})
	require.NoError(t, err)
	f.file(created.Path+"/nvidia/vgpu_params", "\n")
	f.file("etc/machine-id", "5f0c1c2b3a4d4e5f8a9b0c1d2e3f4a5b\n")
	f.file(dmiFile, "4c4c4544-0042-3510-8051-b4c04f4d3332\n")
	f.file(bootFile, "x\n")
	f.file("proc/4711/comm", "qemu-system-x86\n")
	f.file("proc/4711/cmdline", "qemu\x00")
	f.link("proc/4711/fd/9", "dev/vfio/7")
	relink(f, "proc/4711/fd/9", "/dev/vfio/7")
	f.file("etc/mdevctl.d/mtty/"+testUUID.String(), "{}")
	var files []string
	require.NoError(t, filepath.WalkDir(f.root, func(name string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			files = append(files, name)
		}
		return err
	}))
	require.Greater(t, len(files), 15)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for _, name := range files {
		kept := name + ".kept"
		require.NoError(t, os.Rename(name, kept))
		require.NoError(t, syscall.Mkfifo(name, 0o644))
		_, errInventory := h.Inventory(ctx)
		_, errDevice := h.Device(ctx, created.ID)
		_, errMachine := h.Machine(ctx)
		_, errBoot := h.Boot(ctx)
		_, errDefinitions := h.Definitions(ctx)
		_, errParams := h.paramFiles(ctx, created.Device, []Param{{Name: "vgpu_params"}})
		require.NotErrorIs(t, errors.Join(errInventory, errDevice, errMachine, errBoot, errDefinitions, errParams), context.DeadlineExceeded, name)
		require.NoError(t, os.Remove(name))
		require.NoError(t, os.Rename(kept, name))
	}
}
