package mdev

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// No name leads out of the root.
func TestNamesDoNotEscape(t *testing.T) {
	f := newOSFS(t.TempDir())
	for _, name := range []string{"../etc/passwd", "/etc/passwd", "sys/../../x", "", "sys//x", "sys/./x", "a\x00b", "sys/"} {
		_, err := f.ReadFile(name)
		assert.ErrorIs(t, err, syscall.EINVAL, "%q", name)
		_, err = f.ReadDir(name)
		assert.ErrorIs(t, err, syscall.EINVAL, "%q", name)
		_, err = f.Readlink(name)
		assert.ErrorIs(t, err, syscall.EINVAL, "%q", name)
		_, err = f.Stat(name)
		assert.ErrorIs(t, err, syscall.EINVAL, "%q", name)
		assert.ErrorIs(t, f.WriteAttr(name, []byte("x")), syscall.EINVAL, "%q", name)
		_, err = f.OpenNode(name)
		assert.ErrorIs(t, err, syscall.EINVAL, "%q", name)
		assert.ErrorIs(t, f.WriteFile(name, nil, 0o644), syscall.EINVAL, "%q", name)
		assert.ErrorIs(t, f.RemoveFile(name), syscall.EINVAL, "%q", name)
		_, err = f.Run(t.Context(), name)
		assert.ErrorIs(t, err, syscall.EINVAL, "%q", name)
	}
}

func TestOperatingSystemsFiles(t *testing.T) {
	root := t.TempDir()
	f := newOSFS(root)
	large := strings.Repeat("x", 3*readBufferSize+1)
	require.NoError(t, f.WriteFile("etc/deep/large", []byte(large), 0o640))
	data, err := f.ReadFile("etc/deep/large")
	require.NoError(t, err)
	assert.Equal(t, large, string(data))
	info, err := f.Stat("etc/deep/large")
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o640), info.Mode())

	require.ErrorIs(t, f.WriteAttr("sys/create", []byte("x")), syscall.ENOENT, "attributes are never created")
	_, err = f.ReadFile("etc")
	require.ErrorIs(t, err, syscall.EISDIR)
	require.NoError(t, f.WriteFile("etc/a", nil, 0o600))
	entries, err := f.ReadDir("etc")
	require.NoError(t, err)
	require.Len(t, entries, 2)
	assert.Equal(t, "a", entries[0].Name())

	node, err := f.OpenNode("etc/a")
	require.NoError(t, err)
	require.NoError(t, node.Close())
	require.NoError(t, node.Close(), "closing twice closes no other's")

	require.NoError(t, f.RemoveFile("etc/a"))
	_, err = f.Stat("etc/a")
	require.ErrorIs(t, err, syscall.ENOENT)
}

func TestRunEndsWithItsContext(t *testing.T) {
	root := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(root, "tool"), []byte("#!/bin/sh\necho \"$@\"\nexec sleep 60\n"), 0o755))
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	start := time.Now()
	said, err := newOSFS("/").Run(ctx, root[1:]+"/tool", "-e", "ALL")
	require.Error(t, err)
	assert.Equal(t, "-e ALL\n", string(said))
	assert.Less(t, time.Since(start), 30*time.Second)
}

// A program of another root sees that root's files, not those of the machine.
func TestRunStaysInTheRoot(t *testing.T) {
	root := t.TempDir()
	for name, content := range map[string]string{"tool": "#!/bin/sh\nread who </sys/who\necho \"$who\"\n", "sys/who": "the other host\n"} {
		require.NoError(t, os.MkdirAll(filepath.Dir(filepath.Join(root, name)), 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(root, name), []byte(content), 0o755))
	}
	_, err := newOSFS(root).Run(t.Context(), "tool")
	if errors.Is(err, syscall.EPERM) {
		t.Skip("changing the root needs root")
	}
	require.ErrorIs(t, err, syscall.ENOENT, "the root has no shell")
	libraries, err := exec.Command("ldd", "/bin/sh").Output()
	if err != nil {
		t.Skip("no ldd to find what a shell needs")
	}
	for _, name := range append(strings.Fields(string(libraries)), "/bin/sh") {
		if data, err := os.ReadFile(name); err == nil && filepath.IsAbs(name) {
			require.NoError(t, os.MkdirAll(filepath.Join(root, filepath.Dir(name)), 0o755))
			require.NoError(t, os.WriteFile(filepath.Join(root, name), data, 0o755))
		}
	}
	said, err := newOSFS(root).Run(t.Context(), "tool")
	require.NoError(t, err)
	assert.Equal(t, "the other host\n", string(said))
}

// plantGPU writes an SR-IOV GPU whose virtual functions are parents.
func (f *tree) plantGPU(bus string, vfs, types int) {
	at := func(n int) string { return fmt.Sprintf("sys/devices/pci0000:%s/0000:%s:00.%d", bus, bus, n) }
	for n := range vfs + 1 {
		for name, content := range map[string]string{"vendor": "0x10de", "device": "0x2235", "class": "0x030200", "numa_node": "1"} {
			f.file(at(n)+"/"+name, content+"\n")
		}
		f.link(pciDevicesDir+"/"+filepath.Base(at(n)), at(n))
		if n == 0 {
			f.file(at(0)+"/sriov_totalvfs", fmt.Sprintln(vfs))
			continue
		}
		f.link(at(n)+"/physfn", at(0))
		f.link(fmt.Sprintf("%s/virtfn%d", at(0), n-1), at(n))
		names := make([]string, types)
		for t := range types {
			names[t] = fmt.Sprintf("nvidia-%d NVIDIA A40-%dQ", 555+t, t+1)
			f.file(fmt.Sprintf("%s/mdev_supported_types/nvidia-%d/description", at(n), 555+t), fmt.Sprintf("framebuffer=%dM, max_instance=%d\n", 1024*(t+1), 48/(t+1)))
		}
		f.parent(at(n), 1, names...)
	}
}

// The inventory is the same through directories held open, as on the operating
// system's files, and through an FS of someone else's.
func TestInventoryIsTheSameThroughAnyFS(t *testing.T) {
	f := newTree(t)
	f.plantGPU("41", 4, 5)
	f.plantGPU("61", 4, 5)
	one := f.host()
	two, err := Open(Config{Root: f.root})
	require.NoError(t, err)
	want, err := one.Inventory(t.Context())
	require.NoError(t, err)
	got, err := two.Inventory(t.Context())
	require.NoError(t, err)
	assert.Equal(t, want, got)
	assert.Len(t, got.GPUs, 2)
	assert.Equal(t, 4, got.GPUs[0].SRIOV.Enabled)
	assert.Equal(t, Capacity{Type: "nvidia-558", Name: "NVIDIA A40-4Q", Available: 4, Max: 12}, got.GPUs[0].Capacity[3])
}

func TestOpenRefusesARootThatIsNone(t *testing.T) {
	_, err := Open(Config{Root: filepath.Join(t.TempDir(), "nowhere")})
	require.ErrorIs(t, err, ErrNotFound)
	_, err = Open(Config{Root: os.Args[0]})
	require.ErrorIs(t, err, ErrInvalid)
}

// A kernel without iommufd, and nodes that are no devices, say so.
func TestBindOfWhatIsNoDevice(t *testing.T) {
	f := newTree(t)
	const node = "dev/vfio/devices/vfio0"
	require.ErrorIs(t, f.Bind(node), syscall.ENOENT)
	f.file("dev/iommu", "")
	require.ErrorIs(t, f.Bind(node), syscall.ENOENT)
	f.file(node, "")
	require.ErrorIs(t, f.Bind(node), syscall.ENOTTY)
	require.ErrorIs(t, f.Bind("dev/../x"), syscall.EINVAL)
}
