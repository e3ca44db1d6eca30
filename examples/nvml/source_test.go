package nvml

import (
	"strings"
	"testing"

	"github.com/NVIDIA/go-nvml/pkg/nvml"
	"github.com/NVIDIA/go-nvml/pkg/nvml/mock/dgxa100"
	"github.com/NVIDIA/go-nvml/pkg/nvml/mock/server"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vgpukit/vgpukit/mdev"
)

const address = "0000:00:00.0" // of the mock's first GPU

// board is a mock of a machine with A100s.
func board() (*server.Server, *server.Device) {
	machine := dgxa100.New()
	device := machine.Devices[0].(*server.Device)
	device.GetEccModeFunc = func() (nvml.EnableState, nvml.EnableState, nvml.Return) {
		return nvml.FEATURE_ENABLED, nvml.FEATURE_ENABLED, nvml.SUCCESS
	}
	machine.DeviceGetHandleByPciBusIdFunc = func(at string) (nvml.Device, nvml.Return) {
		if at != address {
			return nil, nvml.ERROR_NOT_FOUND
		}
		return device, nvml.SUCCESS
	}
	return machine, device
}

// A board out of MIG mode: what it has, and that the mode is off.
func TestFactsOutOfMIGMode(t *testing.T) {
	machine, _ := board()
	source, err := New(machine)
	require.NoError(t, err)
	facts, err := source.Facts(t.Context(), address)
	require.NoError(t, err)
	off, on := false, true
	assert.Equal(t, mdev.Facts{Driver: "550.54.15", Memory: 40 << 30, ECC: &on, MIG: &off}, facts)
	_, err = source.Facts(t.Context(), "0000:99:00.0")
	require.ErrorContains(t, err, "NVML does not know the GPU 0000:99:00.0")
	require.NoError(t, source.Close())
}

// A board in MIG mode: its GPU instances, by the names that nvidia-smi has for them.
func TestFactsInMIGMode(t *testing.T) {
	machine, device := board()
	device.SetMigMode(nvml.DEVICE_MIG_ENABLE)
	for _, kind := range []int{nvml.GPU_INSTANCE_PROFILE_3_SLICE, nvml.GPU_INSTANCE_PROFILE_1_SLICE, nvml.GPU_INSTANCE_PROFILE_1_SLICE_REV1} {
		profile, code := device.GetGpuInstanceProfileInfo(kind)
		require.Equal(t, nvml.SUCCESS, code)
		_, code = device.CreateGpuInstance(&profile)
		require.Equal(t, nvml.SUCCESS, code)
	}
	source, err := New(machine)
	require.NoError(t, err)
	facts, err := source.Facts(t.Context(), address)
	require.NoError(t, err)
	assert.True(t, *facts.MIG)
	profiles := map[string]int{}
	for _, i := range facts.Instances {
		profiles[i.Profile] = i.Slices
		assert.Positive(t, i.Memory)
	}
	assert.Equal(t, map[string]int{"3g.20gb": 3, "1g.5gb": 1, "1g.5gb+me": 1}, profiles)
	assert.Len(t, facts.Instances, 3)
}

// A board without MIG, and a library that fails.
func TestFactsOfOtherBoards(t *testing.T) {
	machine, device := board()
	device.GetMigModeFunc = func() (int, int, nvml.Return) { return 0, 0, nvml.ERROR_NOT_SUPPORTED }
	source, err := New(machine)
	require.NoError(t, err)
	facts, err := source.Facts(t.Context(), address)
	require.NoError(t, err)
	assert.Nil(t, facts.MIG)
	device.GetMigModeFunc = func() (int, int, nvml.Return) { return 0, 0, nvml.ERROR_GPU_IS_LOST }
	_, err = source.Facts(t.Context(), address)
	require.ErrorIs(t, err, nvml.ERROR_GPU_IS_LOST)
}

// Names of profiles are nvidia-smi's, by the sizes that NVML tells.
func TestProfileNames(t *testing.T) {
	for want, p := range map[string]struct {
		kind           int
		slices         uint32
		megabytes, all uint64
	}{
		"1g.24gb+gfx": {nvml.GPU_INSTANCE_PROFILE_1_SLICE_GFX, 1, 24192, 97887},
		"4g.96gb":     {nvml.GPU_INSTANCE_PROFILE_4_SLICE, 4, 97280, 97887},
		"1g.18gb":     {nvml.GPU_INSTANCE_PROFILE_1_SLICE, 1, 16384, 143771},
		"3g.71gb":     {nvml.GPU_INSTANCE_PROFILE_3_SLICE, 3, 71424, 143771},
		"1g.10gb":     {nvml.GPU_INSTANCE_PROFILE_1_SLICE_REV2, 1, 9856, 40960},
		"2g.12gb+me":  {nvml.GPU_INSTANCE_PROFILE_2_SLICE_REV1, 2, 11968, 24576},
	} {
		assert.Equal(t, want, name(p.kind, &nvml.GpuInstanceProfileInfo{SliceCount: p.slices, MemorySizeMB: p.megabytes}, p.all<<20))
	}
}

// A host without the library says so, and what to do.
func TestMissingLibrary(t *testing.T) {
	_, err := Open(nvml.WithLibraryPath("/nowhere/libnvidia-ml.so.1"))
	require.Error(t, err)
	assert.Contains(t, err.Error(), "install NVIDIA's host driver")
	assert.False(t, strings.Contains(err.Error(), "\n"))
}
