package mdev_test

import (
	"path"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/vgpukit/vgpukit/mdev"
	"github.com/vgpukit/vgpukit/mdev/mdevtest"
)

// Nothing but a device's own parameters is written, whatever name is given: the refusal
// says what is allowed, and comes before anything is made.
func TestParamsLeadNowhereElse(t *testing.T) {
	everywhere := []string{
		"", ".", "..", "/", "../remove", "nvidia/..", "nvidia/../current_vgpu_type", "nvidia/./vgpu_params", "nvidia//vgpu_params", "nvidia/", "nvidia",
		"/sys/power/state", "nvidia/a/b", ".hidden", "remove", "nvidia/remove", "uevent", "driver", "driver/unbind", "driver_override", "power", "power/control",
		"subsystem/drivers_probe", "mdev_type/create", "iommu_group/type", "vfio-dev/vfio0", "vendor/sample_mdev_dev", "physfn/sriov_numvfs", "physfn/reset",
		"current_vgpu_type", "nvidia/current_vgpu_type", "creatable_vgpu_types", "nvidia/creatable_vgpu_types", "vgpu_params\x00", "a\nb",
	}
	for typ, more := range map[string][]string{
		"GRID M60-2Q":         nil,
		"NVIDIA L40S-2Q":      nil,
		"vfio_ap-passthrough": {"vgpu_params", "nvidia/assign_adapter", "matrix", "guest_matrix"},
		"mtty-1":              nil,
	} {
		sim, host := simulated(t, "tesla-m60", "l40s,vfs=2", "ap-matrix", "mtty")
		sim.Fail(mdevtest.Fault{Op: mdevtest.OpWrite, Do: func(a mdevtest.Access) error {
			t.Errorf("%s: %q was written to %s", typ, a.Data, a.Name)
			return nil
		}})
		for _, name := range append(more, everywhere...) {
			_, err := host.Create(t.Context(), mdev.CreateRequest{Type: typ, Params: []mdev.Param{{Name: name, Value: "a=1"}}})
			require.ErrorIs(t, err, mdev.ErrInvalid, "%s: %q", typ, name)
			var e *mdev.Error
			require.ErrorAs(t, err, &e)
			require.Contains(t, e.Hint(), "name ", "%q", name)
		}
	}
	for _, name := range everywhere {
		require.ErrorIs(t, mdev.Param{Name: name, Value: "1"}.Check(), mdev.ErrInvalid, "%q", name)
	}
}

// Files of a virtual function's PCI directory are no parameters, although they are its own.
func TestParamsOfAVirtualFunctionAreNVIDIAs(t *testing.T) {
	sim, host := simulated(t, "l40s,vfs=2")
	vf := inventory(t, host).GPUs[0].Parents[0]
	sim.Fail(mdevtest.Fault{Op: mdevtest.OpWrite, Do: func(a mdevtest.Access) error {
		t.Errorf("%q was written to %s", a.Data, a.Name)
		return nil
	}})
	for _, name := range []string{"vendor", "numa_node", "resource", "reset", "nvidia/numa_node", "assign_adapter"} {
		_, err := host.Create(t.Context(), mdev.CreateRequest{Type: "NVIDIA L40S-2Q", Parent: vf.Name, Params: []mdev.Param{{Name: name, Value: "1"}}})
		require.ErrorIs(t, err, mdev.ErrUnsupported, "%q", name)
	}
}

// Parameters have their names with or without the directory that they are in.
func TestParamsByEitherName(t *testing.T) {
	for _, c := range []struct{ typ, name string }{
		{"GRID M60-2Q", "vgpu_params"},
		{"NVIDIA L40S-2Q", "vgpu_params"},
	} {
		sim, host := simulated(t, "tesla-m60", "l40s,vfs=2")
		for _, name := range []string{c.name, path.Join("nvidia", c.name)} {
			created, err := host.Create(t.Context(), mdev.CreateRequest{Type: c.typ, Params: []mdev.Param{{Name: name, Value: "enable_uvm=1"}}})
			require.NoError(t, err)
			data, err := sim.ReadFile(created.Path + "/nvidia/" + c.name)
			require.NoError(t, err)
			require.Equal(t, "enable_uvm=1\n", string(data))
			require.NoError(t, host.Remove(t.Context(), created.ID))
		}
	}
}
