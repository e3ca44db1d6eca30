package mdevtest_test

import (
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// What a driver lists depends on its release: the brand of the A100, the width of C types,
// and boards' C types themselves, which left the graphics driver's list.
func TestGenerations(t *testing.T) {
	for spec, want := range map[string]string{ // of the named type; "" is no such type
		"a100 468":                             "GRID A100-4C 4096x2160",
		"a100,driver=525.60.12 468":            "GRID A100-4C 4096x2400",
		"a100,driver=550.54.10 706":            "NVIDIA A100-1-5CME 4096x2400",
		"a100,vendor-vfio 477":                 "NVIDIA A100-4-20C",
		"a100-sxm4 457":                        "GRID A100X-4C 4096x2160",
		"a100-sxm4 467":                        "GRID A100X-7-40C 4096x2160",
		"a100-sxm4 704":                        "GRID A100X-1-5CME 4096x2160",
		"a100-sxm4,vendor-vfio 457":            "NVIDIA A100X-4C",
		"tesla-v100 301":                       "GRID V100-16C 4096x2160",
		"tesla-v100,driver=525.60.12 301":      "GRID V100-16C 4096x2400",
		"tesla-v100,driver=535.154.02 301":     "",
		"a40,driver=535.154.02 587":            "",
		"a40 587":                              "NVIDIA A40-48C 4096x2160",
		"l40s 2164":                            "NVIDIA L40S-3B",
		"l40s,driver=535.154.02 2164":          "",
		"l40s,driver=535.154.02 1145":          "NVIDIA L40S-1B 5120x2880", // with the mdev framework
		"l40,vendor-vfio,driver=550.54.10 869": "NVIDIA L40-1B",
		"rtx-pro-6000,driver=575.51.03 1513":   "NVIDIA RTX Pro 6000 Blackwell DC-1B",
		"tesla-m60,driver=535.154.02 22":       "GRID M60-8Q 5120x2880",
		"quadro-rtx8000p 434":                  "GRID RTX8000P-16A 1280x1024",
	} {
		board, id, _ := strings.Cut(spec, " ")
		got := ""
		for _, typ := range typesOf(t, board) {
			if strings.TrimPrefix(typ.ID, "nvidia-") == id {
				got = typ.Name
				if _, rest, ok := strings.Cut(typ.Description.Raw, "max_resolution="); ok && typ.ID != id {
					got += " " + strings.Split(rest, ",")[0]
				}
			}
		}
		require.Equal(t, want, got, spec)
	}
	for spec, device := range map[string]string{"a100": "0x20f1\n", "a100-sxm4": "0x20b0\n", "rtx-pro-6000": "0x2bb5\n", "h200": "0x2335\n"} {
		require.Equal(t, device, read(t, newHost(t, spec), "sys/bus/pci/devices/"+gpu41+"/device"), spec)
	}
}

// The files of placements and GPU instances came with driver 570.
func TestFilesOfNewDrivers(t *testing.T) {
	for spec, want := range map[string]error{
		"l40s": nil, "l40s,driver=570.133.10": nil, "l40s,driver=550.54.10": syscall.ENOENT, "a100,vendor-vfio": nil,
		"a100,vendor-vfio,old-driver": syscall.ENOENT, "a100,vendor-vfio,driver=550.54.10": syscall.ENOENT,
	} {
		h := newHost(t, spec)
		for _, name := range []string{"placement_id", "gpu_instance_id"} {
			_, err := h.Stat(vf(0) + "/" + name)
			require.ErrorIs(t, err, want, "%s of %s", name, spec)
		}
	}
}

// Virtual functions of one GPU may name their types' directories after another driver; a
// type is the same under either name.
func TestTypesNamedAfterVFIO(t *testing.T) {
	h := newHost(t, "a40,vfs=4,vfio-pci-types=3")
	for n, prefix := range []string{"nvidia-", "vfio-pci-", "vfio-pci-", "vfio-pci-"} {
		require.Equal(t, "NVIDIA A40-24A\n", read(t, h, typeDir(vfAddress(n), prefix+"575")+"/name"))
		require.Equal(t, "1\n", read(t, h, typeDir(vfAddress(n), prefix+"575")+"/available_instances"))
		entries, err := h.ReadDir("sys/class/mdev_bus/" + vfAddress(n) + "/mdev_supported_types")
		require.NoError(t, err)
		for _, e := range entries {
			require.True(t, strings.HasPrefix(e.Name(), prefix), e.Name())
		}
	}
	require.NoError(t, write(h, typeDir(vfAddress(0), "nvidia-575")+"/create", uuid1))
	require.NoError(t, write(h, typeDir(vfAddress(3), "vfio-pci-575")+"/create", uuid2))
	target, err := h.Readlink(deviceDir(uuid2) + "/mdev_type")
	require.NoError(t, err)
	require.Equal(t, "../mdev_supported_types/vfio-pci-575", target)
	require.Equal(t, "0\n", read(t, h, typeDir(vfAddress(1), "vfio-pci-575")+"/available_instances"), "two of two")
}
