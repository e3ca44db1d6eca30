package mdev

import (
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A GPU in MIG mode tells its instances, and a plan tells that they are wiped.
func TestMIGInstancesAreToldBeforeTheyAreWiped(t *testing.T) {
	f := newTree(t)
	const gpu = "sys/devices/pci0000:40/0000:41:00.0"
	f.link(pciDevicesDir+"/0000:41:00.0", gpu)
	for name, content := range map[string]string{"vendor": "0x10de", "device": "0x20b0", "class": "0x030200", "numa_node": "-1", "sriov_totalvfs": "16"} {
		f.file(gpu+"/"+name, content+"\n")
	}
	f.file("proc/driver/nvidia/gpus/0000:41:00.0/information", "Model: \t\t NVIDIA A100\nDevice Minor: \t 3\n")
	for _, instance := range []string{"gi1", "gi2"} {
		f.file("proc/driver/nvidia/capabilities/gpu3/mig/"+instance+"/access", "DeviceFileMinor: 30\n")
	}
	h := f.host()
	inv, err := h.Inventory(t.Context())
	require.NoError(t, err)
	require.Len(t, inv.GPUs, 1)
	assert.Equal(t, &MIG{Enabled: true, Instances: 2}, inv.GPUs[0].MIG)
	assert.Equal(t, &SRIOV{Total: 16, VFs: []string{}}, inv.GPUs[0].SRIOV)
	assert.Nil(t, inv.GPUs[0].NUMANode, "-1 is none")
	plan, err := h.PlanVFs(t.Context(), "0000:41:00.0", AllVFs)
	require.NoError(t, err)
	assert.Contains(t, strings.Join(plan.Wipes, ";"), "2 MIG GPU instances")

	f.file("proc/99/comm", "dcgm\n")
	f.link("proc/99/fd/4", "dev/nvidia3")
	relink(f, "proc/99/fd/4", "/dev/nvidia3")
	f.file("proc/98/comm", "nvidia-vgpu-mgr\n")
	f.link("proc/98/fd/4", "dev/nvidia3")
	relink(f, "proc/98/fd/4", "/dev/nvidia3")
	_, err = h.SetVFs(t.Context(), "0000:41:00.0", AllVFs)
	require.ErrorIs(t, err, ErrInUse)
	assert.Contains(t, err.Error(), "dcgm (pid 99)")
	assert.NotContains(t, err.Error(), "nvidia-vgpu-mgr")
}

// Other vendors' functions are set by the kernel's own file, through 0.
func TestNumVFsGoesThroughZero(t *testing.T) {
	f := newTree(t)
	const gpu = "sys/devices/pci0000:40/0000:41:00.0"
	f.link(pciDevicesDir+"/0000:41:00.0", gpu)
	for name, content := range map[string]string{"vendor": "0x1002", "device": "0x7461", "class": "0x030000", "sriov_totalvfs": "4", "sriov_numvfs": "1"} {
		f.file(gpu+"/"+name, content+"\n")
	}
	f.link(gpu+"/virtfn0", "sys/devices/pci0000:40/0000:41:00.1")
	ctx, cancel := contextSoon(t)
	defer cancel()
	_, err := f.host().SetVFs(ctx, "0000:41:00.0", 4)
	require.ErrorIs(t, err, ErrRefused, "this kernel makes no functions")
	assert.Equal(t, []string{"sriov_numvfs=0", "sriov_numvfs=4"}, f.writes)
}

// On another root, what is missing is said of that root, and nothing of the
// machine that we run on is touched.
func TestSRIOVManageOfAnotherRoot(t *testing.T) {
	f := newTree(t)
	const gpu = "sys/devices/pci0000:40/0000:41:00.0"
	f.link(pciDevicesDir+"/0000:41:00.0", gpu)
	for name, content := range map[string]string{"vendor": "0x10de", "device": "0x2235", "class": "0x030200", "sriov_totalvfs": "4"} {
		f.file(gpu+"/"+name, content+"\n")
	}
	h, err := Open(Config{Root: f.root})
	require.NoError(t, err)
	_, err = h.SetVFs(t.Context(), "0000:41:00.0", AllVFs)
	if errors.Is(err, ErrPermission) {
		t.Skip("changing the root needs root")
	}
	require.ErrorIs(t, err, ErrUnsupported)
	assert.Contains(t, err.Error(), "cannot be run in "+f.root)
}
