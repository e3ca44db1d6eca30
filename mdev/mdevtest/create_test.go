package mdevtest_test

import (
	"fmt"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

func uuidN(n int) string { return fmt.Sprintf("00000000-0000-4000-8000-%012x", n) }

// The kernel's and the drivers' answers to "echo UUID > create", in the order
// of the ABI's table.
func TestCreateErrnos(t *testing.T) {
	full := func(n int, typ string) []string { // n devices of a type first
		var types []string
		for range n {
			types = append(types, typ)
		}
		return types
	}
	for _, c := range []struct {
		name   string
		board  string
		parent string
		before []string // types of devices that exist
		typ    string
		data   string
		want   error
	}{
		{"36 characters", "mtty", "mtty", nil, "mtty-2", uuid1, nil},
		{"37 with a newline", "mtty", "mtty", nil, "mtty-2", uuid1 + "\n", nil},
		{"37 with anything", "mtty", "mtty", nil, "mtty-2", uuid1 + "x", nil},
		{"upper case", "mtty", "mtty", nil, "mtty-2", "AAAAAAAA-1111-4111-8111-11111111111A", nil},
		{"35 characters", "mtty", "mtty", nil, "mtty-2", uuid1[:35], syscall.EINVAL},
		{"38 characters", "mtty", "mtty", nil, "mtty-2", uuid1 + "\n\n", syscall.EINVAL},
		{"no hyphens", "mtty", "mtty", nil, "mtty-2", strings.ReplaceAll(uuid1, "-", "0"), syscall.EINVAL},
		{"not hexadecimal", "mtty", "mtty", nil, "mtty-2", "g" + uuid1[1:], syscall.EINVAL},
		{"braces", "mtty", "mtty", nil, "mtty-2", "{" + uuid1[:34] + "}", syscall.EINVAL},
		{"nothing", "mtty", "mtty", nil, "mtty-2", "", nil},
		{"exists", "mtty", "mtty", []string{"mtty-1"}, "mtty-2", uuidN(0), syscall.EEXIST},
		{"exists, before there is no room", "mtty", "mtty", full(12, "mtty-2"), "mtty-2", uuidN(3), syscall.EEXIST},
		{"mtty's 13th of two ports", "mtty", "mtty", full(12, "mtty-2"), "mtty-2", uuid1, syscall.ENOSPC},
		{"mtty's last odd port", "mtty", "mtty", full(23, "mtty-1"), "mtty-2", uuid1, syscall.ENOSPC},
		{"mdpy's fifth", "mdpy", "mdpy", full(4, "mdpy-hd"), "mdpy-vga", uuid1, syscall.EUSERS},
		{"mbochs' fifth large", "mbochs", "mbochs", full(4, "mbochs-large"), "mbochs-small", uuid1, syscall.ENOSPC},
		{"ccw's second", "ccw", "0.0.0313", full(1, "vfio_ccw-io"), "vfio_ccw-io", uuid1, syscall.EUSERS},
		{"GVT-g's third", "gvt-g", "0000:00:02.0", full(2, "i915-GVTg_V5_8"), "i915-GVTg_V5_8", uuid1, syscall.ENOSPC},
		{"GVT-g, memory shared", "gvt-g", "0000:00:02.0", full(1, "i915-GVTg_V5_4"), "i915-GVTg_V5_8", uuid1, syscall.ENOSPC},
		{"NVIDIA, full", "tesla-m60", "0000:05:00.0", full(1, "nvidia-22"), "nvidia-22", uuid1, syscall.EIO},
		{"NVIDIA, another size", "tesla-m60", "0000:05:00.0", full(1, "nvidia-18"), "nvidia-22", uuid1, syscall.EIO},
		{"NVIDIA, same size", "tesla-m60", "0000:05:00.0", full(1, "nvidia-18"), "nvidia-17", uuid1, nil},
		{"NVIDIA's old driver, same size", "tesla-m60,old-driver", "0000:05:00.0", full(1, "nvidia-18"), "nvidia-17", uuid1, syscall.EIO},
		{"NVIDIA's old driver, same type", "tesla-m60,old-driver", "0000:05:00.0", full(1, "nvidia-18"), "nvidia-18", uuid1, nil},
		{"a VF holds one", "a40", "0000:41:00.4", full(1, "nvidia-558"), "nvidia-558", uuid1, syscall.EIO},
		{"MIG-backed without MIG", "a100", "0000:41:00.4", nil, "nvidia-474", uuid1, syscall.EIO},
		{"time-sliced with MIG", "a100-mig", "0000:41:00.4", nil, "nvidia-468", uuid1, syscall.EIO},
		{"MIG-backed without such an instance", "a100-mig", "0000:41:00.4", nil, "nvidia-474", uuid1, syscall.EIO},
		{"MIG-backed", "a100-mig", "0000:41:00.4", nil, "nvidia-477", uuid1, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHost(t, c.board)
			for i, typ := range c.before {
				require.NoError(t, write(h, typeDir(c.parent, typ)+"/create", uuidN(i)))
			}
			err := write(h, typeDir(c.parent, c.typ)+"/create", c.data)
			if c.want == nil {
				require.NoError(t, err)
				return
			}
			require.ErrorIs(t, err, c.want)
			entries, err := h.ReadDir("sys/bus/mdev/devices")
			require.NoError(t, err)
			require.Len(t, entries, len(c.before), "a refused create leaves nothing")
		})
	}
}

// One list of UUIDs for the whole host, not one for each parent.
func TestCreateExistsUnderOtherParent(t *testing.T) {
	h := newHost(t, "tesla-m60", "mtty")
	require.NoError(t, write(h, typeDir("0000:05:00.0", "nvidia-18")+"/create", uuid1))
	require.ErrorIs(t, write(h, typeDir("0000:06:00.0", "nvidia-18")+"/create", uuid1), syscall.EEXIST)
	require.ErrorIs(t, write(h, typeDir("mtty", "mtty-1")+"/create", uuid1), syscall.EEXIST)
}

// Kernels before 6.1 have other errnos where the core counts today.
func TestCreateOldKernel(t *testing.T) {
	h := newHost(t, "ccw", "mdpy")
	h.SetKernel(5, 15)
	require.NoError(t, write(h, typeDir("0.0.0313", "vfio_ccw-io")+"/create", uuid1))
	require.ErrorIs(t, write(h, typeDir("0.0.0313", "vfio_ccw-io")+"/create", uuid2), syscall.EPERM)
	for i := range 4 {
		require.NoError(t, write(h, typeDir("mdpy", "mdpy-hd")+"/create", uuidN(i)))
	}
	require.ErrorIs(t, write(h, typeDir("mdpy", "mdpy-hd")+"/create", uuid2), syscall.ENOMEM)
}

// What a device looks like, and what is left of it after its removal.
func TestCreateAndRemoveTree(t *testing.T) {
	h := newHost(t, "mtty")
	before := snapshot(t, h)
	require.NoError(t, write(h, typeDir("mtty", "mtty-2")+"/create", strings.ToUpper(uuid1)))
	for name, want := range map[string]string{
		deviceDir(uuid1):                                        "../../../devices/virtual/mtty/mtty/" + uuid1,
		deviceDir(uuid1) + "/mdev_type":                         "../mdev_supported_types/mtty-2",
		deviceDir(uuid1) + "/driver":                            "../../../../../bus/mdev/drivers/mtty",
		deviceDir(uuid1) + "/subsystem":                         "../../../../../bus/mdev",
		deviceDir(uuid1) + "/iommu_group":                       "../../../../../kernel/iommu_groups/0",
		typeDir("mtty", "mtty-2") + "/devices/" + uuid1:         "../../../" + uuid1,
		"sys/class/mdev_bus/mtty":                               "../../devices/virtual/mtty/mtty",
		"sys/bus/mdev/drivers/mtty/" + uuid1:                    "../../../../devices/virtual/mtty/mtty/" + uuid1,
		"sys/kernel/iommu_groups/0/devices/" + uuid1:            "../../../../devices/virtual/mtty/mtty/" + uuid1,
		"sys/class/vfio/0":                                      "../../devices/virtual/vfio/0",
		deviceDir(uuid1) + "/vfio-dev/vfio0/device":             "../../../" + uuid1,
		"sys/devices/virtual/mtty/mtty/" + uuid1 + "/driver":    "../../../../../bus/mdev/drivers/mtty",
		"sys/bus/mdev/../../class/mdev_bus/mtty/../mtty/driver": "",
	} {
		target, err := h.Readlink(name)
		if want == "" {
			require.ErrorIs(t, err, syscall.ENOENT, name)
			continue
		}
		require.NoError(t, err, name)
		require.Equal(t, want, target, name)
		_, err = h.Stat(name)
		require.NoError(t, err, name)
	}
	_, err := h.ReadFile(deviceDir(uuid1) + "/remove")
	require.ErrorIs(t, err, syscall.EACCES, "write-only, for root too")
	require.ErrorIs(t, write(h, deviceDir(uuid1)+"/mdev_type/name", "x"), syscall.EACCES)
	require.Equal(t, "This is MDEV "+uuid1+"\n", read(t, h, deviceDir(uuid1)+"/vendor/sample_mdev_dev"))

	require.NoError(t, write(h, deviceDir(uuid1)+"/remove", "1\n"))
	requireSame(t, before, snapshot(t, h))
}

// A host without a driver has no mdev bus, which is not an error.
func TestEmptyHost(t *testing.T) {
	for _, specs := range [][]string{nil, {"l40s"}} {
		h := newHost(t, specs...)
		for _, name := range []string{"sys/class/mdev_bus", "sys/bus/mdev"} {
			_, err := h.Stat(name)
			require.ErrorIs(t, err, syscall.ENOENT, name)
		}
	}
}
