package mdev

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

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
	assert.Equal(t, &MIG{Enabled: true, Instances: []GPUInstance{
		{Instance: Instance{ID: 1}, VGPUs: []string{}}, {Instance: Instance{ID: 2}, VGPUs: []string{}},
	}}, inv.GPUs[0].MIG)
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
	synctest.Test(t, func(t *testing.T) {
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
	})
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

// vendorVFs adds a GPU with virtual functions of the vendor-specific framework
// that list these types.
func (f *tree) vendorVFs(n int, types ...string) {
	const bus = "sys/devices/pci0000:40/"
	f.file(bus+"0000:41:00.0/sriov_totalvfs", fmt.Sprintln(n))
	f.link(pciDevicesDir+"/0000:41:00.0", bus+"0000:41:00.0")
	for i := range n {
		vf := fmt.Sprintf("0000:41:00.%d", i+1)
		f.link(pciDevicesDir+"/"+vf, bus+vf)
		f.link(bus+vf+"/physfn", bus+"0000:41:00.0")
		f.link(bus+"0000:41:00.0/virtfn"+fmt.Sprint(i), bus+vf)
		f.link(bus+vf+"/iommu_group", "sys/kernel/iommu_groups/"+fmt.Sprint(i))
		f.file("dev/vfio/"+fmt.Sprint(i), "")
		f.file(bus+vf+"/"+currentFile, "0\n")
		f.list(vf, types...)
	}
}

// list is what a virtual function lists from now on.
func (f *tree) list(vf string, types ...string) {
	text := "ID    : vGPU Name\n"
	for i, name := range types {
		text += fmt.Sprintf("%-5d : %s\n", 2000+i, name)
	}
	f.file("sys/devices/pci0000:40/"+vf+"/"+creatableFile, text)
}

// The maximum of a board that no table has is learnt while its GPU is idle, and
// bounds the capacity also when a vGPU has cut the lists down.
func TestUnknownBoardIsLearntWhileItIsIdle(t *testing.T) {
	f := newTree(t)
	all := []string{"NVIDIA B900-12Q", "NVIDIA B900-48Q", "NVIDIA B900-96Q"}
	f.vendorVFs(7, all...)
	h := f.host()
	capacityOf := func(h *Host, typ string) Capacity {
		inv, err := h.Inventory(t.Context())
		require.NoError(t, err)
		require.Empty(t, inv.AllProblems())
		for _, c := range inv.GPUs[0].Capacity {
			if c.Name == typ {
				return c
			}
		}
		return Capacity{}
	}
	assert.Equal(t, Capacity{"2001", "NVIDIA B900-48Q", 2, 2}, capacityOf(h, "NVIDIA B900-48Q"))
	assert.Equal(t, Capacity{"2002", "NVIDIA B900-96Q", 1, 1}, capacityOf(h, "NVIDIA B900-96Q"))

	f.file("sys/devices/pci0000:40/0000:41:00.1/"+currentFile, "2001\n")
	f.list("0000:41:00.1")
	for i := range 6 {
		vf := fmt.Sprintf("0000:41:00.%d", i+2)
		f.file("sys/devices/pci0000:40/"+vf+"/"+creatableFile, "ID    : vGPU Name\n2001  : NVIDIA B900-48Q\n")
	}
	assert.Equal(t, Capacity{"2001", "NVIDIA B900-48Q", 1, 2}, capacityOf(h, "NVIDIA B900-48Q"))
	assert.Equal(t, Capacity{"2001", "NVIDIA B900-48Q", 6, 0}, capacityOf(f.host(), "NVIDIA B900-48Q"), "who has not seen it idle knows no maximum, and says so")
}

// knowsAll tells the same of every GPU that it is asked about.
type knowsAll struct{ facts Facts }

func (k knowsAll) Facts(context.Context, string) (Facts, error) { return k.facts, nil }

// Only NVIDIA's driver can be asked about a GPU; a source that knows nothing is as none.
func TestWhoseFactsAreKnown(t *testing.T) {
	told := Facts{Driver: "550.144.02"}
	for _, c := range []struct {
		name, driver string
		listed       bool // by the driver, under /proc
		tells        Facts
		known        bool
	}{
		{"by its driver", "nvidia", false, told, true},
		{"by the driver's list", "", true, told, true},
		{"given to a VM whole", "vfio-pci", false, told, false},
		{"bound to nothing", "", false, told, false},
		{"of another driver, listed of old", "nouveau", true, told, false},
		{"nothing is known", "nvidia", false, Facts{}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newTree(t)
			const gpu = "sys/devices/pci0000:40/0000:41:00.0"
			f.link(pciDevicesDir+"/0000:41:00.0", gpu)
			for name, content := range map[string]string{"vendor": "0x10de", "device": "0x2331", "class": "0x030200", "sriov_totalvfs": "16"} {
				f.file(gpu+"/"+name, content+"\n")
			}
			if c.driver != "" {
				f.link(gpu+"/driver", "sys/bus/pci/drivers/"+c.driver)
			}
			if c.listed {
				f.file("proc/driver/nvidia/gpus/0000:41:00.0/information", "Device Minor: \t 3\n")
			}
			h, err := Open(Config{FS: f, Source: knowsAll{c.tells}})
			require.NoError(t, err)
			inv, err := h.Inventory(t.Context())
			require.NoError(t, err)
			require.Len(t, inv.GPUs, 1)
			assert.Equal(t, c.known, inv.GPUs[0].Facts != nil)
		})
	}
}
