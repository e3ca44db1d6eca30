package mdevtest_test

import (
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/vgpukit/vgpukit/mdev/mdevtest"
)

// Every board of the catalogue can be plugged, and again as a second one when
// it is a PCI device.
func TestEveryBoard(t *testing.T) {
	virtual := map[string]bool{"mtty": true, "mdpy": true, "mbochs": true, "ap-matrix": true, "ccw": true}
	for _, name := range mdevtest.Boards() {
		h := newHost(t, name)
		b, err := mdevtest.NewBoard(name)
		require.NoError(t, err)
		require.Equal(t, virtual[name], h.Plug(b) != nil, name)
		for _, gpu := range h.GPUs() {
			require.NoError(t, h.Unplug(gpu), gpu)
			require.Error(t, h.Unplug(gpu), gpu)
		}
		for _, dir := range []string{"sys/bus/pci/devices", "sys/kernel/iommu_groups"} {
			entries, err := h.ReadDir(dir)
			require.NoError(t, err)
			require.Empty(t, entries, name)
		}
	}
}

// What cannot be is refused, with a text that says why.
func TestImpossibleBoards(t *testing.T) {
	for spec, text := range map[string]string{
		"geforce":                           "not known; there are a10, a100, ",
		"a41":                               "did you mean ",
		"tesla-m61":                         "tesla-m60",
		"rtx-a600":                          "rtx-a6000",
		"a40,vfs=33":                        "it has 32",
		"a40,vfs=-1":                        "VFs",
		"tesla-m60,vfs=1":                   "it has 0",
		"tesla-m60,vendor-vfio":             "SR-IOV",
		"mtty,mixed":                        "no mixed-size mode",
		"a40,mig":                           "no MIG",
		"a40,mig=1g.5gb":                    "no MIG",
		"a100,mig=1g.5gb:8":                 "8 slices of 7",
		"a100,mig=1g.5gb:99":                "not a number of GPU instances",
		"a100,mig=1g.5gb:x":                 "not a number of GPU instances",
		"a100,mig=1g.6gb":                   "there are 1g.5gb, 1g.5gb+me, 1g.10gb, 2g.10gb, ",
		"a40,driver=old":                    "not a driver's release",
		"a40,driver=0.1":                    "not a driver's release",
		"mtty,driver=550.54.10":             "no driver of NVIDIA's",
		"l40,vendor-vfio,driver=535.154.02": "in drivers from 550 on",
		"a40,vfs=4,vfio-pci-types=5":        "5 of its 4 VFs",
		"a40,vfio-pci-types=-1":             "cannot have types named after vfio-pci",
		"l40s,vfio-pci-types=1":             "cannot have types named after vfio-pci",
		"a100,instance=3g.20gb":             "MIG mode",
		"a100,mig,instance=3g.21gb":         "no vGPU type",
		"a100-mig,instance=1g.5gb":          "8 slices of 7",
		"mtty@0000:05:00.0":                 "not a PCI device",
		"a40@0000:05:00.1":                  "cannot be at",
		"a40@5:0.0":                         "not a PCI address",
		"a40@05:00.0":                       "not a PCI address",
		"a40@100000000:41:00.0":             "not a PCI address",
		"a40,numa=-2":                       "NUMA",
		"a40,numa=x":                        "numa=x",
		"a40,colour=red":                    "no such option",
		"a40,clean-up=soon":                 "clean-up",
		"a40,clean-up=-1s":                  "clean-up of -1s",
	} {
		_, err := mdevtest.NewBoard(spec)
		require.ErrorContains(t, err, text, spec)
	}
	require.Panics(t, func() { mdevtest.New(mdevtest.Board{}) })
	require.Panics(t, func() { mdevtest.New().Advance(-1) })

	h := newHost(t, "tesla-m60@0000:05:00.0")
	b, err := mdevtest.NewBoard("tesla-p40@0000:06:00.0")
	require.NoError(t, err)
	require.ErrorContains(t, h.Plug(b), "taken")
}

// PCI ids, NUMA nodes, drivers and domains are where the kernel shows them.
func TestPCI(t *testing.T) {
	h := newHost(t, "l40s@0001:61:00.0,numa=1,vfs=32", "tesla-m60", "gvt-g")
	for name, want := range map[string]string{
		"0001:61:00.0/vendor": "0x10de\n", "0001:61:00.0/device": "0x26b9\n", "0001:61:00.0/numa_node": "1\n",
		"0001:61:00.0/sriov_numvfs": "32\n", "0001:61:04.3/device": "0x26b9\n", "0001:61:04.3/numa_node": "1\n",
		"0000:05:00.0/device": "0x13f2\n", "0000:05:00.0/numa_node": "-1\n", "0000:05:00.0/class": "0x030000\n",
		"0000:00:02.0/vendor": "0x8086\n",
	} {
		require.Equal(t, want, read(t, h, "sys/bus/pci/devices/"+name), name)
	}
	for name, want := range map[string]string{
		"0001:61:00.0/driver":    "../../../bus/pci/drivers/nvidia",
		"0001:61:04.3/physfn":    "../0001:61:00.0",
		"0001:61:00.0/virtfn31":  "../0001:61:04.3",
		"0000:00:02.0/subsystem": "../../../bus/pci",
	} {
		target, err := h.Readlink("sys/bus/pci/devices/" + name)
		require.NoError(t, err)
		require.Equal(t, want, target, name)
	}
	_, err := h.Stat("sys/bus/pci/devices/0001:61:04.4")
	require.ErrorIs(t, err, syscall.ENOENT)
	_, err = h.Stat("sys/bus/pci/devices/0001:61:00.4/vfio-dev/vfio0")
	require.NoError(t, err)
}

// Behind Intel's VMD, a PCI domain has more than 16 bits, and is another than that
// with the same lower half.
func TestLargePCIDomain(t *testing.T) {
	h := newHost(t, "l40s@10000:41:00.0,vfs=2", "l40s@0000:41:00.0", "tesla-m60@ffffffff:fe:00.0")
	require.Equal(t, []string{"10000:41:00.0", "0000:41:00.0", "ffffffff:fe:00.0", "ffffffff:ff:00.0"}, h.GPUs())
	for name, want := range map[string]string{
		"10000:41:00.4/physfn":  "../10000:41:00.0",
		"10000:41:00.0/virtfn1": "../10000:41:00.5",
	} {
		target, err := h.Readlink("sys/bus/pci/devices/" + name)
		require.NoError(t, err)
		require.Equal(t, want, target, name)
	}
	require.Contains(t, read(t, h, "sys/devices/pci10000:41/10000:41:00.4/uevent"), "PCI_SLOT_NAME=10000:41:00.4\n")
	for spec, text := range map[string]string{
		"l40s@10000:41:00.0":         "taken",
		"l40s@00010000:41:00.0":      "taken",
		"tesla-m60@ffffffff:fd:00.0": "taken",
		"tesla-m60@10000:ff:00.0":    "taken", // its second GPU would be on bus 0x100
	} {
		b, err := mdevtest.NewBoard(spec)
		require.NoError(t, err)
		require.ErrorContains(t, h.Plug(b), text, spec)
	}
}

// A GPU does not go while a VM uses it; a vanished one takes its devices along.
func TestUnplug(t *testing.T) {
	h := newHost(t, "tesla-m60")
	require.NoError(t, write(h, typeDir("0000:05:00.0", "nvidia-18")+"/create", uuid1))
	release, err := h.Use(uuid1, "desk1", 1)
	require.NoError(t, err)
	require.ErrorContains(t, h.Unplug("0000:05:00.0"), "desk1")
	release()
	require.NoError(t, h.Unplug("0000:05:00.0"))
	for _, gone := range []string{deviceDir(uuid1), "sys/class/mdev_bus/0000:05:00.0", "sys/bus/pci/devices/0000:05:00.0", "dev/vfio/0", "proc/1"} {
		_, err := h.Stat(gone)
		require.ErrorIs(t, err, syscall.ENOENT, gone)
	}
	_, err = h.Stat("sys/class/mdev_bus/0000:06:00.0")
	require.NoError(t, err)
}

// The process of a VM, as /proc shows it.
func TestProc(t *testing.T) {
	h := newHost(t, "mtty")
	require.NoError(t, write(h, typeDir("mtty", "mtty-1")+"/create", uuid1))
	release, err := h.Use(uuid1, "desk,1", 4242)
	require.NoError(t, err)
	require.Contains(t, read(t, h, "proc/4242/cmdline"), "\x00-name\x00guest=desk,,1,debug-threads=on\x00")
	require.Equal(t, "qemu-system-x86\n", read(t, h, "proc/4242/comm"))
	entries, err := h.ReadDir("proc/4242/fd")
	require.NoError(t, err)
	var targets []string
	for _, e := range entries {
		target, err := h.Readlink("proc/4242/fd/" + e.Name())
		require.NoError(t, err)
		targets = append(targets, target)
	}
	require.Contains(t, targets, "/dev/vfio/0")
	release()
	_, err = h.Stat("proc/4242")
	require.ErrorIs(t, err, syscall.ENOENT)
}

// Queues of an ap matrix belong to one device.
func TestAPMatrix(t *testing.T) {
	h := newHost(t, "ap-matrix")
	for _, id := range []string{uuid1, uuid2} {
		require.NoError(t, write(h, typeDir("matrix", "vfio_ap-passthrough")+"/create", id))
	}
	dir := deviceDir(uuid1)
	for _, w := range []struct {
		attr, value string
		want        error
	}{
		{"assign_adapter", "5", nil},
		{"assign_domain", "0x4", nil},
		{"assign_domain", "0xab", nil},
		{"assign_control_domain", "0xab", nil},
		{"assign_adapter", "256", syscall.ENODEV},
		{"assign_adapter", "five", syscall.EINVAL},
		{"unassign_domain", "4", nil},
	} {
		require.ErrorIs(t, write(h, dir+"/"+w.attr, w.value), w.want, w.attr)
	}
	require.Equal(t, "05.00ab\n", read(t, h, dir+"/matrix"))
	require.Equal(t, "00ab\n", read(t, h, dir+"/control_domains"))
	other := deviceDir(uuid2)
	require.NoError(t, write(h, other+"/assign_adapter", "5"))
	require.ErrorIs(t, write(h, other+"/assign_domain", "0xab"), syscall.EADDRINUSE)
	require.Equal(t, "05.\n", read(t, h, other+"/matrix"))
}
