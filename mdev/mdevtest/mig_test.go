package mdevtest_test

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/vgpukit/vgpukit/mdev"
	"github.com/vgpukit/vgpukit/mdev/mdevtest"
)

const gpu41 = "0000:41:00.0"

// instances are a GPU's, as NVML tells of them.
func instances(t testing.TB, h *mdevtest.Host) map[int]string {
	t.Helper()
	facts, err := h.Facts(ctx, gpu41)
	require.NoError(t, err)
	ids := map[int]string{}
	for _, i := range facts.Instances {
		ids[i.ID] = i.Profile
	}
	return ids
}

// Slices, parts of the memory, and each profile's number bound the GPU instances; ids are
// given by size and used again.
func TestInstancesThatFit(t *testing.T) {
	for _, c := range []struct {
		board string
		make  []string
		ids   map[int]string
		more  map[string]string // what fits no more, and why
	}{
		{
			"a100,mig",
			[]string{"3g.20gb", "3g.20gb"},
			map[int]string{1: "3g.20gb", 2: "3g.20gb"},
			map[string]string{"1g.5gb": "9 parts of 8 of its memory", "2g.10gb": "8 slices of 7", "3g.21gb": "no vGPU type"},
		},
		{
			"a100,mig",
			[]string{"1g.5gb", "1g.5gb+me", "2g.10gb"},
			map[int]string{3: "2g.10gb", 7: "1g.5gb", 8: "1g.5gb+me"},
			map[string]string{"1g.5gb+me": "room for 1 GPU instances", "4g.20gb": "8 slices of 7"},
		},
		{
			"h200,mig",
			[]string{"3g.71gb", "1g.35gb", "1g.18gb", "1g.18gb"},
			map[int]string{1: "3g.71gb", 3: "1g.35gb", 7: "1g.18gb", 8: "1g.18gb"},
			map[string]string{"1g.18gb": "9 parts of 8", "2g.35gb": "8 slices of 7"},
		},
		{
			"rtx-pro-6000,mig",
			[]string{"1g.24gb+gfx", "2g.48gb+gfx", "1g.24gb-me"},
			map[int]string{1: "2g.48gb+gfx", 3: "1g.24gb+gfx", 4: "1g.24gb-me"},
			map[string]string{"1g.24gb+gfx": "5 slices of 4", "3g.72gb": "there are 1g.24gb, "},
		},
	} {
		t.Run(strings.Join(append([]string{c.board}, c.make...), " "), func(t *testing.T) {
			h := newHost(t, c.board)
			for _, profile := range c.make {
				require.NoError(t, h.CreateGPUInstance(gpu41, profile))
			}
			require.Equal(t, c.ids, instances(t, h))
			for profile, why := range c.more {
				require.ErrorContains(t, h.CreateGPUInstance(gpu41, profile), why, profile)
			}
			require.Equal(t, c.ids, instances(t, h))
			for id, profile := range c.ids {
				require.NoError(t, h.DestroyGPUInstance(gpu41, id))
				require.ErrorContains(t, h.DestroyGPUInstance(gpu41, id), "there is none")
				require.NoError(t, h.CreateGPUInstance(gpu41, profile))
			}
			require.Equal(t, c.ids, instances(t, h), "ids are used again")
		})
	}
}

// On Blackwell vGPUs of one size share an instance, as many as its memory holds; on boards
// before, a vGPU has its instance for itself. What there is no room for is EIO, and its type
// in no list.
func TestRoomInInstances(t *testing.T) {
	for _, c := range []struct {
		board string
		steps []string // "TYPE", or "TYPE EIO"; each on the next VF
		left  []string // the types that a further VF lists
	}{
		{
			"rtx-pro-6000,mig=1g.24gb+gfx:2",
			[]string{"DC-1-12Q", "DC-1-12A", "DC-1-12C", "DC-1-12Q", "DC-1-12Q EIO", "DC-1-2Q EIO"},
			nil,
		},
		{
			"rtx-pro-6000,mig=1g.24gb+gfx,mig=2g.48gb+gfx",
			[]string{"DC-1-8Q", "DC-1-12Q EIO", "DC-1-8A", "DC-2-24Q", "DC-2-48C EIO", "DC-24Q EIO", "DC-4-24Q EIO"},
			[]string{"DC-1-8Q", "DC-1-8A", "DC-1-8C", "DC-2-24Q", "DC-2-24A", "DC-2-24C"},
		},
		{"rtx-pro-6000,mig=1g.24gb:4", []string{"DC-1-24Q EIO"}, nil}, // without graphics
		{"rtx-pro-6000,mig=4g.96gb+gfx", []string{"DC-4-96Q", "DC-4-96Q EIO"}, nil},
		{"rtx-pro-4500,mig=2g.32gb", []string{"DC-2-16C", "DC-2-16C", "DC-2-16C EIO"}, nil},
		{"a100,vendor-vfio,mig=1g.5gb:2,mig=1g.5gb+me", []string{"A100-1-5C", "A100-1-5CME", "A100-1-5C", "A100-1-5C EIO", "A100-1-5CME EIO", "A100-5C EIO"}, nil},
		{"h100,mig=3g.40gb:2", []string{"H100-3-40C", "H100-4-40C EIO", "H100-3-40C"}, nil},
		{"h200,mig=1g.18gb:7", []string{"H200X-1-18C", "H200X-1-35C EIO"}, []string{"H200X-1-18C"}},
		{"h200,mig", []string{"H200X-1-18C EIO", "H200X-141C EIO"}, nil}, // no instance
		{"h200", []string{"H200X-1-18C EIO", "H200X-141C"}, nil},
	} {
		t.Run(c.board, func(t *testing.T) {
			all := ids(t, strings.Split(c.board, ",")[0])
			h := newHost(t, c.board)
			n := 0
			for _, step := range c.steps {
				typ, fails := strings.CutSuffix(step, " EIO")
				require.NotEmpty(t, all[typ], typ)
				require.Equal(t, fails, !lists(t, h, n, typ), "%s is listed", step)
				err := write(h, vf(n)+"/current_vgpu_type", all[typ])
				if fails {
					require.ErrorIs(t, err, syscall.EIO, step)
					continue
				}
				require.NoError(t, err, step)
				n++
			}
			var left []string
			for _, line := range creatable(t, h, n) {
				left = append(left, short(line))
			}
			require.ElementsMatch(t, c.left, left)
		})
	}
}

// short is a type's name without brand: "A100-1-5C", "DC-1-24Q".
func short(name string) string { return name[strings.LastIndexByte(name, ' ')+1:] }

func lists(t testing.TB, h *mdevtest.Host, n int, typ string) bool {
	for _, line := range creatable(t, h, n) {
		if short(line) == typ {
			return true
		}
	}
	return false
}

// ids are the types of a board by their short names, MIG-backed ones too.
func ids(t testing.TB, board string) map[string]string {
	t.Helper()
	b, err := mdevtest.NewBoard(board)
	require.NoError(t, err)
	types, err := b.Types()
	require.NoError(t, err)
	all := map[string]string{}
	for _, typ := range types {
		all[short(typ.Name)] = strings.TrimPrefix(typ.ID, "nvidia-")
	}
	return all
}

// A vGPU tells its GPU instance, ENXIO before there is one, and moves to another that has
// room for it: EINVAL is no instance, EIO one that is full or other.
func TestChoosingAnInstance(t *testing.T) {
	h := newHost(t, "rtx-pro-6000,mig=1g.24gb+gfx:2,mig=2g.48gb+gfx")
	all := ids(t, "rtx-pro-6000")
	_, err := h.ReadFile(vf(0) + "/gpu_instance_id")
	require.ErrorIs(t, err, syscall.ENXIO)
	require.ErrorIs(t, write(h, vf(0)+"/gpu_instance_id", "3"), syscall.ENXIO)
	for n := range 3 {
		require.NoError(t, write(h, vf(n)+"/current_vgpu_type", all["DC-1-12Q"]))
	}
	for n, want := range []string{"3\n", "3\n", "4\n"} {
		require.Equal(t, want, read(t, h, vf(n)+"/gpu_instance_id"))
	}
	require.ErrorIs(t, write(h, vf(2)+"/gpu_instance_id", "3"), syscall.EIO, "full")
	require.NoError(t, write(h, vf(2)+"/gpu_instance_id", "4"), "its own")
	require.ErrorIs(t, write(h, vf(2)+"/gpu_instance_id", "1"), syscall.EIO, "another size")
	require.ErrorIs(t, write(h, vf(2)+"/gpu_instance_id", "5"), syscall.EINVAL, "no such")
	require.NoError(t, write(h, vf(0)+"/gpu_instance_id", "4"))
	require.NoError(t, write(h, vf(1)+"/current_vgpu_type", "0"))
	require.NoError(t, write(h, vf(1)+"/current_vgpu_type", all["DC-1-3Q"]), "3 is empty again")
	require.ErrorIs(t, write(h, vf(0)+"/gpu_instance_id", "3"), syscall.EIO, "of another size")

	require.ErrorIs(t, h.DestroyGPUInstance(gpu41, 4), syscall.EBUSY)
	require.ErrorIs(t, h.SetMIG(gpu41, false), syscall.EBUSY)
	require.NoError(t, h.DestroyGPUInstance(gpu41, 1))
	for n := range 3 {
		require.NoError(t, write(h, vf(n)+"/current_vgpu_type", "0"))
	}
	require.NoError(t, h.SetMIG(gpu41, false))
	require.Empty(t, instances(t, h))
	require.ErrorContains(t, h.CreateGPUInstance(gpu41, "1g.24gb+gfx"), "not in MIG mode")
	require.True(t, lists(t, h, 0, "DC-96Q"))
}

// Under the mdev framework the VFs' available_instances follow the instances.
func TestInstancesOfMdevVFs(t *testing.T) {
	h := newHost(t, "a100,mig=1g.5gb:2,vfs=4")
	available := func(n int, typ string) string {
		return strings.TrimSpace(read(t, h, typeDir(vfAddress(n), "nvidia-"+typ)+"/available_instances"))
	}
	const small, slice = "469", "474"
	for n, want := range []string{"1", "1", "0"} {
		require.Equal(t, want, available(3, slice))
		require.Equal(t, "0", available(3, small), "time-sliced")
		err := write(h, typeDir(vfAddress(n), "nvidia-"+slice)+"/create", fmt.Sprintf("%08d-0000-4000-8000-000000000000", n))
		require.Equal(t, want == "0", err != nil)
		if err != nil {
			require.ErrorIs(t, err, syscall.EIO)
		}
	}
	require.ErrorIs(t, write(h, typeDir(vfAddress(3), "nvidia-"+small)+"/create", uuid1), syscall.EIO)
}

// What NVML tells: a driver, a little less memory than the name says, and MIG only where the
// board has it.
func TestFacts(t *testing.T) {
	h := newHost(t, "tesla-m60", "a40,ecc", "rtx-pro-6000@0000:61:00.0,mig=1g.24gb+gfx", "mtty")
	on, off := true, false
	for address, want := range map[string]mdev.Facts{
		"0000:05:00.0": {Driver: "510.47.03", Memory: 8 << 30 * 63 / 64, ECC: &off},
		gpu41:          {Driver: "510.47.03", Memory: 48 << 30 * 63 / 64 * 15 / 16, ECC: &on},
		"0000:61:00.0": {
			Driver: "580.65.05", Memory: 96 << 30 * 63 / 64, ECC: &off, MIG: &on,
			Instances: []mdev.Instance{{ID: 3, Profile: "1g.24gb+gfx", Slices: 1, Memory: 24 << 30 * 63 / 64}},
		},
	} {
		got, err := h.Facts(ctx, address)
		require.NoError(t, err)
		require.Equal(t, want, got, address)
	}
	for _, address := range []string{"mtty", "0000:41:00.4", "0000:99:00.0"} {
		_, err := h.Facts(ctx, address)
		require.ErrorContains(t, err, address)
	}
	ended, cancel := context.WithCancel(ctx)
	cancel()
	_, err := h.Facts(ended, gpu41)
	require.ErrorIs(t, err, context.Canceled)
}

// proc/driver/nvidia tells the driver, each GPU and the GPU instances that can be opened.
func TestProcOfNVIDIA(t *testing.T) {
	h := newHost(t, "rtx-pro-6000,mig=1g.24gb+gfx:2", "tesla-m60")
	require.Contains(t, read(t, h, "proc/driver/nvidia/version"), " 580.65.05 ")
	require.Equal(t, "580.65.05\n", read(t, h, "sys/module/nvidia/version"))
	minors := map[string]string{}
	for i, address := range []string{gpu41, "0000:05:00.0", "0000:06:00.0"} {
		text := read(t, h, "proc/driver/nvidia/gpus/"+address+"/information")
		require.Contains(t, text, "Bus Location: \t "+address+"\n")
		require.Contains(t, text, "Device Minor: \t "+strconv.Itoa(i)+"\n")
		minors[address] = strconv.Itoa(i)
	}
	gi := func() []string {
		entries, err := h.ReadDir("proc/driver/nvidia/capabilities/gpu" + minors[gpu41] + "/mig")
		require.NoError(t, err)
		var names []string
		for _, e := range entries {
			names = append(names, e.Name())
			require.Contains(t, read(t, h, "proc/driver/nvidia/capabilities/gpu0/mig/"+e.Name()+"/access"), "DeviceFileMinor: ")
		}
		return names
	}
	require.Equal(t, []string{"gi3", "gi4"}, gi())
	require.NoError(t, h.DestroyGPUInstance(gpu41, 3))
	require.Equal(t, []string{"gi4"}, gi())
	require.NoError(t, h.Unplug("0000:05:00.0"))
	_, err := h.Stat("proc/driver/nvidia/gpus/0000:05:00.0")
	require.ErrorIs(t, err, syscall.ENOENT)
	h.Reboot()
	require.Equal(t, []string{"gi3", "gi4"}, gi())
	_, err = newHost(t, "mtty", "gvt-g").Stat("proc/driver/nvidia")
	require.ErrorIs(t, err, syscall.ENOENT)
}

// nvidia-smi refuses with a text and a status, and tells what there can be.
func TestNVIDIASMI(t *testing.T) {
	h := newHost(t, "a100,mig", "a40@0000:61:00.0", "mtty")
	for _, c := range []struct {
		args, says string
		fails      bool
	}{
		{"mig -i 00000000:41:00.0 -cgi 3g.20gb", "GPU instance ID  1 on GPU  0 using profile MIG 3g.20gb\n", false},
		{"mig -i 0 -cgi 1g.5gb,1g.5gb", "ID  8 on GPU  0", false},
		{"mig -i 0 -lgip", "MIG 1g.5gb          2/7          4.92\n", false},
		{"mig -i 0 -lgip", "MIG 7g.40gb         0/1         39.38\n", false},
		{"mig -i 0 -lgi", "MIG 1g.5gb                    8        4.92\n", false},
		{"mig -i 0 -cgi 4g.20gb", "9 slices of 7\n", true},
		{"mig -i 0 -dgi -gi 7,9", "destroyed GPU instance ID  7 from GPU  0\nthere is none\n", true},
		{"mig -i 0 -dgi -gi all", "invalid syntax", true},
		{"-i 0 -mig 0", "Disabled MIG Mode for GPU 0000:41:00.0\n", false},
		{"mig -i 0 -lgi", "No GPU instances found", false},
		{"mig -i 0 -cgi 3g.20gb", "not in MIG mode\n", true},
		{"-i 1 -mig 1", "it has no MIG\n", true},
		{"-i 7 -mig 1", "No devices were found\n", true},
		{"-i mtty -mig 1", "No devices were found\n", true},
		{"-L", "usage: ", true},
		{"mig -i 0 -cci", "usage: ", true},
	} {
		out, err := h.Run(ctx, "usr/bin/nvidia-smi", strings.Fields(c.args)...)
		require.Contains(t, string(out), c.says, c.args)
		require.Equal(t, c.fails, err != nil, c.args)
	}
	_, err := newHost(t, "mtty").Run(ctx, "usr/bin/nvidia-smi", "-L")
	require.ErrorIs(t, err, syscall.ENOENT)
}
