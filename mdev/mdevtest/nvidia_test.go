package mdevtest_test

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/vgpukit/vgpukit/mdev"
	"github.com/vgpukit/vgpukit/mdev/mdevtest"
)

func vf(n int) string {
	n += 4
	return fmt.Sprintf("sys/bus/pci/devices/0000:41:%02x.%x/nvidia", n>>3, n&7)
}

func vfAddress(n int) string { return strings.Split(vf(n), "/")[4] }

func creatable(t testing.TB, h *mdevtest.Host, n int) []string {
	lines := strings.Split(strings.TrimSuffix(read(t, h, vf(n)+"/creatable_vgpu_types"), "\n"), "\n")
	require.Equal(t, "ID    : vGPU Name", lines[0])
	return lines[1:]
}

// The sample of a real RTX A6000 with one 2Q: 2B, 2Q and 2A show 23 left,
// every other type 0.
func TestSameFramebufferRule(t *testing.T) {
	h := newHost(t, "rtx-a6000")
	require.NoError(t, write(h, typeDir("0000:05:00.0", "nvidia-525")+"/create", uuid1))
	entries, err := h.ReadDir("sys/class/mdev_bus/0000:05:00.0/mdev_supported_types")
	require.NoError(t, err)
	left := map[string]string{}
	for _, e := range entries {
		dir := typeDir("0000:05:00.0", e.Name())
		if n := read(t, h, dir+"/available_instances"); n != "0\n" {
			left[strings.TrimSpace(read(t, h, dir+"/name"))] = strings.TrimSpace(n)
		}
	}
	require.Equal(t, map[string]string{"NVIDIA RTXA6000-2B": "23", "NVIDIA RTXA6000-2Q": "23", "NVIDIA RTXA6000-2A": "23"}, left)
}

// The published rows of the M60, and one each of the other tables.
func TestDescriptions(t *testing.T) {
	for _, c := range []struct{ board, parent, typ, name, want string }{
		{"tesla-m60", "0000:05:00.0", "11", "GRID M60-0B", "2/45/512M/2560x1600/16"},
		{"tesla-m60", "0000:05:00.0", "12", "GRID M60-0Q", "2/60/512M/2560x1600/16"},
		{"tesla-m60", "0000:05:00.0", "13", "GRID M60-1A", "1/60/1024M/1280x1024/8"},
		{"tesla-m60", "0000:05:00.0", "14", "GRID M60-1B", "4/45/1024M/5120x2880/8"},
		{"tesla-m60", "0000:05:00.0", "15", "GRID M60-1Q", "4/60/1024M/5120x2880/8"},
		{"tesla-m60", "0000:05:00.0", "16", "GRID M60-2A", "1/60/2048M/1280x1024/4"},
		{"tesla-m60", "0000:05:00.0", "17", "GRID M60-2B", "4/45/2048M/5120x2880/4"},
		{"tesla-m60", "0000:06:00.0", "18", "GRID M60-2Q", "4/60/2048M/5120x2880/4"},
		{"tesla-m60", "0000:06:00.0", "19", "GRID M60-4A", "1/60/4096M/1280x1024/2"},
		{"tesla-m60", "0000:06:00.0", "20", "GRID M60-4Q", "4/60/4096M/5120x2880/2"},
		{"tesla-m60", "0000:06:00.0", "21", "GRID M60-8A", "1/60/8192M/1280x1024/1"},
		{"tesla-m60", "0000:06:00.0", "22", "GRID M60-8Q", "4/60/8192M/5120x2880/1"},
		{"tesla-m60", "0000:06:00.0", "210", "GRID M60-2B4", "4/45/2048M/5120x2880/4"},
		{"tesla-m60", "0000:06:00.0", "238", "GRID M60-1B4", "4/45/1024M/5120x2880/8"},
		{"tesla-v100", "0000:05:00.0", "105", "GRID V100-1Q", "4/60/1024M/5120x2880/16"},
		{"tesla-v100", "0000:05:00.0", "106", "GRID V100-2Q", "4/60/2048M/7680x4320/8"},
		{"tesla-v100", "0000:05:00.0", "301", "GRID V100-16C", "1/60/16384M/4096x2160/1"},
		{"tesla-p40", "0000:05:00.0", "46", "GRID P40-1Q", "4/60/1024M/5120x2880/24"},
		{"tesla-p40", "0000:05:00.0", "286", "GRID P40-12C", "1/60/12288M/4096x2160/2"},
		{"tesla-t4", "0000:05:00.0", "321", "GRID T4-16C", "1/60/16384M/4096x2160/1"},
		{"a40", "0000:41:04.3", "558", "NVIDIA A40-2Q", "4/60/2048M/7680x4320/24"},
		{"a40", "0000:41:04.3", "557", "NVIDIA A40-1Q", "4/60/1024M/5120x2880/32"},
		{"a100", "0000:41:00.4", "470", "GRID A100-8C", "1/60/8192M/4096x2160/5"},
		{"a100", "0000:41:02.3", "477", "GRID A100-4-20C", "1/60/20480M/4096x2160/1"},
		{"a100", "0000:41:02.3", "474", "GRID A100-1-5C", "1/60/5120M/4096x2160/7"},
		{"a100", "0000:41:02.3", "706", "GRID A100-1-5CME", "1/60/5120M/4096x2160/1"},
	} {
		h := newHost(t, c.board)
		dir := typeDir(c.parent, "nvidia-"+c.typ)
		require.Equal(t, c.name+"\n", read(t, h, dir+"/name"))
		f := strings.Split(c.want, "/")
		want := fmt.Sprintf("num_heads=%s, frl_config=%s, framebuffer=%s, max_resolution=%s, max_instance=%s\n", f[0], f[1], f[2], f[3], f[4])
		require.Equal(t, want, read(t, h, dir+"/description"), c.name)
	}
}

// VFs overcount: each shows 1, and the GPU takes max_instance of them.
func TestVFsOvercount(t *testing.T) {
	h := newHost(t, "a40")
	const typ = "nvidia-566" // 48Q: one a GPU
	for i := range 32 {
		require.Equal(t, "1\n", read(t, h, typeDir(vfAddress(i), typ)+"/available_instances"))
	}
	_, err := h.Stat("sys/class/mdev_bus/0000:41:00.0")
	require.ErrorIs(t, err, syscall.ENOENT, "PF and VFs are never parents at once")
	require.NoError(t, write(h, typeDir(vfAddress(7), typ)+"/create", uuid1))
	for i := range 32 {
		require.Equal(t, "0\n", read(t, h, typeDir(vfAddress(i), typ)+"/available_instances"))
		require.ErrorIs(t, write(h, typeDir(vfAddress(i), typ)+"/create", uuid2), syscall.EIO)
	}
}

// Writes to current_vgpu_type under the vendor-specific VFIO framework.
func TestCurrentVGPUType(t *testing.T) {
	h := newHost(t, "l40s,clean-up=1h")
	file := vf(0) + "/current_vgpu_type"
	require.Equal(t, "0\n", read(t, h, file))
	for data, want := range map[string]error{
		"abc": syscall.EINVAL, "\n": syscall.EINVAL, "99999999999": syscall.ERANGE, "0": syscall.EPERM, "7": syscall.EIO,
	} {
		require.ErrorIs(t, write(h, file, data), want, "%q", data)
		require.Equal(t, "0\n", read(t, h, file))
	}
	_, err := h.Use(vfAddress(0), "desk1", 1)
	require.ErrorIs(t, err, syscall.ENODEV, "no type")

	require.Len(t, creatable(t, h, 1), 23)
	require.NoError(t, write(h, file, "1148\n"))
	require.Equal(t, "1148\n", read(t, h, file))
	require.ErrorIs(t, write(h, file, "1148"), syscall.EPERM, "one exists")
	require.Empty(t, creatable(t, h, 0))
	require.Equal(t, []string{"1146  : NVIDIA L40S-2B", "1148  : NVIDIA L40S-2Q", "1158  : NVIDIA L40S-2A"}, creatable(t, h, 1), "siblings shrink")
	require.ErrorIs(t, write(h, vf(1)+"/current_vgpu_type", "1147"), syscall.EIO, "another size")
	require.Equal(t, "0\n", read(t, h, vf(1)+"/current_vgpu_type"))

	release, err := h.Use(vfAddress(0), "desk1", 1)
	require.NoError(t, err)
	require.ErrorIs(t, write(h, file, "0"), syscall.EPERM, "in use")
	release()
	require.ErrorIs(t, write(h, file, "0"), syscall.EBUSY, "the plugin is still ending")
	h.Advance(time.Hour)
	require.NoError(t, write(h, file, "0"))
	require.Equal(t, "0\n", read(t, h, file))
	require.Len(t, creatable(t, h, 1), 23)
}

// A full GPU: header only.
func TestCreatableTypesWhenFull(t *testing.T) {
	h := newHost(t, "l40s")
	require.NoError(t, write(h, vf(0)+"/current_vgpu_type", "1156"))
	require.Empty(t, creatable(t, h, 1))
	require.ErrorIs(t, write(h, vf(1)+"/current_vgpu_type", "1156"), syscall.EIO)
	_, err := h.Stat("sys/bus/pci/devices/0000:41:00.0/nvidia")
	require.ErrorIs(t, err, syscall.ENOENT, "the PF has none")
}

// vgpu_params: comma-separated, replaced as a whole, cleared with a space, the
// last character dropped; E2BIG, ENXIO, EPERM.
func TestVGPUParams(t *testing.T) {
	h := newHost(t, "l40s", "tesla-m60")
	onVF := vf(0) + "/vgpu_params"
	_, err := h.ReadFile(onVF)
	require.ErrorIs(t, err, syscall.ENXIO)
	require.ErrorIs(t, write(h, onVF, "disable_vnc=1\n"), syscall.ENXIO)
	require.NoError(t, write(h, vf(0)+"/current_vgpu_type", "1148"))
	require.NoError(t, write(h, typeDir("0000:05:00.0", "nvidia-18")+"/create", uuid1))
	for id, file := range map[string]string{vfAddress(0): onVF, uuid1: deviceDir(uuid1) + "/nvidia/vgpu_params"} {
		require.Equal(t, "\n", read(t, h, file))
		require.NoError(t, write(h, file, "frame_rate_limiter=0,disable_vnc=1\n"))
		require.Equal(t, "frame_rate_limiter=0,disable_vnc=1\n", read(t, h, file))
		require.NoError(t, write(h, file, "enable_uvm=1"))
		require.Equal(t, "enable_uvm=\n", read(t, h, file), "the last character is dropped")
		require.NoError(t, write(h, file, strings.Repeat("x", 1023)+"\n"))
		require.ErrorIs(t, write(h, file, strings.Repeat("x", 1024)+"\n"), syscall.E2BIG)
		require.NoError(t, write(h, file, " \n"))
		require.Equal(t, "\n", read(t, h, file))
		release, err := h.Use(id, "desk1", len(id))
		if err != nil { // NVIDIA does not let one VM have both
			release, err = h.Use(id, "desk2", 2)
		}
		require.NoError(t, err)
		require.ErrorIs(t, write(h, file, "disable_vnc=1\n"), syscall.EPERM)
		release()
	}
}

// placement_id and gpu_instance_id: ENXIO without a vGPU; the published ids.
func TestPlacement(t *testing.T) {
	h := newHost(t, "a100,vendor-vfio,mixed")
	file := vf(0) + "/placement_id"
	_, err := h.ReadFile(file)
	require.ErrorIs(t, err, syscall.ENXIO)
	require.ErrorIs(t, write(h, file, "0"), syscall.ENXIO)
	_, err = h.ReadFile(vf(0) + "/gpu_instance_id")
	require.ErrorIs(t, err, syscall.ENXIO)

	require.NoError(t, write(h, vf(0)+"/current_vgpu_type", "470")) // 8 GiB
	require.Equal(t, "0\n", read(t, h, file))
	require.ErrorIs(t, write(h, file, "8"), syscall.EINVAL)
	require.NoError(t, write(h, file, "12\n"))
	require.Equal(t, "12\n", read(t, h, file))
	require.NoError(t, write(h, vf(1)+"/current_vgpu_type", "472"), "another size, in mixed mode") // 20 GiB
	require.Equal(t, "20\n", read(t, h, vf(1)+"/placement_id"))
	require.ErrorIs(t, write(h, file, "20"), syscall.EIO, "taken")
	require.ErrorIs(t, write(h, vf(2)+"/current_vgpu_type", "472"), syscall.EIO)
	require.NoError(t, write(h, vf(2)+"/current_vgpu_type", "470"))
	require.Equal(t, "0\n", read(t, h, vf(2)+"/placement_id"))

	release, err := h.Use(vfAddress(0), "desk1", 1)
	require.NoError(t, err)
	require.ErrorIs(t, write(h, file, "12"), syscall.EPERM)
	release()

	_, err = newHost(t, "a100,vendor-vfio,old-driver").ReadFile(file)
	require.ErrorIs(t, err, syscall.ENOENT)
}

// MIG: vGPUs take GPU instances of their profile.
func TestGPUInstances(t *testing.T) {
	h := newHost(t, "a100,vendor-vfio,mig,instance=3g.20gb")
	require.NoError(t, h.CreateGPUInstance("0000:41:00.0", "3g.20gb"))
	require.Error(t, h.CreateGPUInstance("0000:41:00.0", "2g.10gb"), "7 slices")
	require.Error(t, h.CreateGPUInstance("0000:41:00.0", "9g.90gb"))
	require.Equal(t, []string{"476   : NVIDIA A100-3-20C"}, creatable(t, h, 0))
	require.NoError(t, write(h, vf(0)+"/current_vgpu_type", "476"))
	require.Equal(t, "1\n", read(t, h, vf(0)+"/gpu_instance_id"))
	require.NoError(t, write(h, vf(0)+"/gpu_instance_id", "2"))
	require.NoError(t, write(h, vf(1)+"/current_vgpu_type", "476"))
	require.ErrorIs(t, write(h, vf(1)+"/gpu_instance_id", "2"), syscall.EIO)
	require.ErrorIs(t, write(h, vf(1)+"/gpu_instance_id", "3"), syscall.EINVAL)
	require.ErrorIs(t, write(h, vf(2)+"/current_vgpu_type", "476"), syscall.EIO)
}

// VFs: raw writes are refused, sriov-manage wipes GPU instances and mixed mode,
// and exits with success though it failed.
func TestSRIOV(t *testing.T) {
	h := newHost(t, "a100-mig")
	const pf = "sys/bus/pci/devices/0000:41:00.0"
	require.Equal(t, "16\n", read(t, h, pf+"/sriov_numvfs"))
	for data, want := range map[string]error{"x": syscall.EINVAL, "17": syscall.ERANGE, "16": nil, "3": syscall.EBUSY, "0": syscall.ENOENT} {
		require.ErrorIs(t, write(h, pf+"/sriov_numvfs", data), want, data)
	}
	target, err := h.Readlink(pf + "/virtfn4")
	require.NoError(t, err)
	require.Equal(t, "../0000:41:01.0", target)

	require.NoError(t, write(h, typeDir(vfAddress(0), "nvidia-476")+"/create", uuid1))
	release, err := h.Use(uuid1, "desk1", 1)
	require.NoError(t, err)
	out, err := h.Run(ctx, "usr/lib/nvidia/sriov-manage", "-d", "0000:41:00.0")
	require.NoError(t, err)
	require.Contains(t, string(out), "Cannot obtain unbindLock for 0000:41:00.0")
	require.Equal(t, "16\n", read(t, h, pf+"/sriov_numvfs"))
	release()

	_, err = h.Run(ctx, "usr/lib/nvidia/sriov-manage", "-d", "ALL")
	require.NoError(t, err)
	require.Equal(t, "0\n", read(t, h, pf+"/sriov_numvfs"))
	for _, gone := range []string{deviceDir(uuid1), pf + "/virtfn0", "sys/class/mdev_bus/" + vfAddress(0), "sys/bus/pci/devices/" + vfAddress(0)} {
		_, err = h.Stat(gone)
		require.ErrorIs(t, err, syscall.ENOENT)
	}
	_, err = h.Run(ctx, "usr/lib/nvidia/sriov-manage", "-e", "ALL")
	require.NoError(t, err)
	require.Equal(t, "0\n", read(t, h, typeDir(vfAddress(0), "nvidia-476")+"/available_instances"), "instances are wiped")
	require.NoError(t, h.CreateGPUInstance("0000:41:00.0", "3g.20gb"))
	require.Equal(t, "1\n", read(t, h, typeDir(vfAddress(0), "nvidia-476")+"/available_instances"))
	_, err = h.Run(ctx, "usr/lib/nvidia/sriov-manage", "-x")
	require.Error(t, err)
}

// Which vGPUs one VM may have together.
func TestTogether(t *testing.T) {
	for _, c := range []struct {
		name, board  string
		first, other string // types
		want         error
	}{
		{"before Ampere, small", "tesla-m60", "nvidia-18", "nvidia-18", syscall.EIO},
		{"before Ampere, the largest Q", "tesla-m60", "nvidia-22", "nvidia-22", nil},
		{"SR-IOV, sizes differ", "a40", "nvidia-558", "nvidia-562", nil},
		{"SR-IOV, series differ", "a40", "nvidia-558", "nvidia-568", syscall.EIO},
	} {
		t.Run(c.name, func(t *testing.T) {
			parents := []string{"0000:05:00.0", "0000:06:00.0"}
			h := newHost(t, c.board)
			if c.board == "a40" {
				h = newHost(t, c.board, c.board)
				parents = []string{"0000:41:00.4", "0000:42:00.4"}
			}
			require.NoError(t, write(h, typeDir(parents[0], c.first)+"/create", uuid1))
			require.NoError(t, write(h, typeDir(parents[1], c.other)+"/create", uuid2))
			_, err := h.Use(uuid1, "desk1", 7)
			require.NoError(t, err)
			release, err := h.Use(uuid2, "desk1", 7)
			require.ErrorIs(t, err, c.want)
			if err == nil {
				require.Contains(t, read(t, h, "proc/7/cmdline"), uuid2)
				release()
				require.NotContains(t, read(t, h, "proc/7/cmdline"), uuid2)
			}
		})
	}
}

// What a driver promises for a device's state is told also while a VM has it open, and
// mtty's log of dirty pages breaks its promise; a device that is not there has neither.
func TestMigration(t *testing.T) {
	h := newHost(t, "mtty", "mdpy", "tesla-m60@0000:05:00.0", "l40s@0000:41:00.0,vfs=2")
	all := mdev.Migration{StopCopy: true, P2P: true, PreCopy: true, DirtyTracking: true}
	copies := mdev.Migration{StopCopy: true}
	for _, c := range []struct {
		id, make, data string
		want           mdev.Migration
	}{
		{uuid1, typeDir("mtty", "mtty-2") + "/create", uuid1, all},
		{uuid2, typeDir("mdpy", "mdpy-vga") + "/create", uuid2, mdev.Migration{}},
		{"aaaaaaaa-0000-4000-8000-000000000003", typeDir("0000:05:00.0", "nvidia-22") + "/create", "aaaaaaaa-0000-4000-8000-000000000003", copies},
		{"0000:41:00.4", vf(0) + "/current_vgpu_type", "1148", copies},
	} {
		_, err := h.Migration(c.id)
		require.Error(t, err)
		require.Error(t, h.DirtyLog(c.id))
		require.NoError(t, write(h, c.make, c.data))
		release, err := h.Use(strings.ToUpper(c.id), "desk1", 7)
		require.NoError(t, err)
		got, err := h.Migration(c.id)
		require.NoError(t, err)
		require.Equal(t, c.want, got, c.id)
		require.Equal(t, c.id == uuid1, errors.Is(h.DirtyLog(c.id), syscall.EOPNOTSUPP))
		group, ok := h.Group(c.id)
		require.True(t, ok)
		_, err = h.Stat(fmt.Sprintf("dev/vfio/%d", group))
		require.NoError(t, err)
		release()
	}
	_, ok := h.Group("0000:99:00.0")
	require.False(t, ok)
}
