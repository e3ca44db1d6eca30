package nvml

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/NVIDIA/go-nvml/pkg/nvml"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vgpukit/vgpukit/mdev"
)

// TestLoadedLibrary: what a library that is loaded tells of each GPU is what nvidia-smi says. With
// VGPUKIT_NVML it is this machine's, else one that lacks what newer ones have.
func TestLoadedLibrary(t *testing.T) {
	var options []nvml.LibraryOption
	said := "00000000:05:00.0, 7680 MiB, Enabled, [N/A], 418.226.00\n"
	if os.Getenv("VGPUKIT_NVML") == "" {
		old := filepath.Join(t.TempDir(), "libnvidia-ml.so.1")
		out, err := exec.Command("cc", "-shared", "-fPIC", "-o", old, "testdata/old.c").CombinedOutput()
		require.NoError(t, err, string(out))
		options = append(options, nvml.WithLibraryPath(old))
	} else {
		out, err := exec.Command("nvidia-smi", "--format=csv,noheader",
			"--query-gpu=pci.bus_id,memory.total,ecc.mode.current,mig.mode.current,driver_version").CombinedOutput()
		require.NoError(t, err, string(out))
		said = string(out)
	}
	source, err := Open(options...)
	require.NoError(t, err)
	defer func() { assert.NoError(t, source.Close()) }()
	for line := range strings.Lines(said) {
		fields := strings.Split(strings.TrimSpace(line), ", ")
		require.Len(t, fields, 5, line)
		address, err := mdev.ParsePCIAddress(fields[0])
		require.NoError(t, err)
		facts, err := source.Facts(t.Context(), address.String())
		require.NoError(t, err)
		assert.Equal(t, fields[1:], asNvidiaSMI(facts), "%v", address)
		text, err := json.Marshal(facts)
		require.NoError(t, err)
		t.Logf("%v: %s", address, text)
		for own, ours := range profileNames(t, source, address.String(), facts.Memory) {
			assert.Equal(t, own, ours, "%v", address)
		}
	}
	_, err = source.Facts(t.Context(), "0000:ff:1f.7")
	require.ErrorContains(t, err, "NVML does not know the GPU 0000:ff:1f.7") // "not found" or "invalid argument", by the library
}

// asNvidiaSMI writes facts as nvidia-smi does.
func asNvidiaSMI(f mdev.Facts) []string {
	mode := func(on *bool) string {
		switch {
		case on == nil:
			return "[N/A]"
		case *on:
			return "Enabled"
		}
		return "Disabled"
	}
	return []string{strconv.FormatUint(f.Memory>>20, 10) + " MiB", mode(f.ECC), mode(f.MIG), f.Driver}
}

// profileNames are the names of a GPU's profiles as libraries of later drivers have them, each with
// the one that is worked out here for those that have none.
func profileNames(t *testing.T, s *Source, address string, memory uint64) map[string]string {
	t.Helper()
	names := map[string]string{}
	if s.library.Extensions().LookupSymbol("nvmlDeviceGetGpuInstanceProfileInfoV") != nil {
		return names
	}
	device, code := s.library.DeviceGetHandleByPciBusId(address)
	require.Equal(t, nvml.SUCCESS, code)
	for kind := range nvml.GPU_INSTANCE_PROFILE_COUNT {
		plain, code := device.GetGpuInstanceProfileInfo(kind)
		named, codeNamed := device.GetGpuInstanceProfileInfoV(kind).V2()
		if code != nvml.SUCCESS || codeNamed != nvml.SUCCESS {
			continue
		}
		var own []byte
		for _, c := range named.Name {
			own = append(own, byte(c))
		}
		names[strings.TrimPrefix(string(bytes.TrimRight(own, "\x00")), "MIG ")] = name(kind, &plain, memory)
	}
	t.Logf("%s: profiles %v", address, names)
	return names
}
