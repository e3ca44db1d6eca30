//go:build integration

package integration

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vgpukit/vgpukit/mdev"
	"github.com/vgpukit/vgpukit/vgpu"
	"github.com/vgpukit/vgpukit/vgpu/placement"
)

// knobs tell of GPUs what NVML does.
type knobs struct{}

func (knobs) Facts(_ context.Context, address string) (mdev.Facts, error) {
	dir := "/sys/bus/pci/devices/" + address + "/nvsim/"
	profiles, err := os.ReadFile(dir + "gpu_instance_profiles")
	if err != nil || len(profiles) == 0 {
		return mdev.Facts{}, err
	}
	mode, err := os.ReadFile(dir + "mig")
	if err != nil {
		return mdev.Facts{}, err
	}
	on := string(mode) == "1\n"
	facts := mdev.Facts{MIG: &on}
	instances, err := os.ReadFile(dir + "gpu_instances")
	for line := range strings.Lines(string(instances)) {
		var i mdev.Instance
		var gib uint64
		if _, err := fmt.Sscan(line, &i.ID, &i.Profile); err != nil {
			return mdev.Facts{}, err
		}
		if _, err := fmt.Sscanf(i.Profile, "%dg.%dgb", &i.Slices, &gib); err != nil {
			return mdev.Facts{}, err
		}
		i.Memory = gib << 30 * 63 / 64 // the driver keeps some
		facts.Instances = append(facts.Instances, i)
	}
	return facts, err
}

// asNVMLTells runs a test on a GPU in MIG mode, with and without what only NVML tells.
func asNVMLTells(t *testing.T, gpu string, test func(t *testing.T, r *rig, told bool)) {
	for name, told := range map[string]bool{"NVML": true, "files alone": false} {
		t.Run(name, func(t *testing.T) {
			r := nvidia(t, gpu)
			if !told {
				test(t, r, told)
				return
			}
			host, err := mdev.Open(mdev.Config{Source: knobs{}})
			require.NoError(t, err)
			r.host, r.m = host, r.manager(t, host, r.conn)
			test(t, r, told)
		})
	}
}

// operator runs a command that the library told its reader.
func operator(t *testing.T, command string) {
	t.Helper()
	out, err := exec.CommandContext(within(t, 30*time.Second), "sh", "-c", command).CombinedOutput()
	require.NoError(t, err, "%s: %s", command, out)
	t.Logf("# %s\n%s", command, out)
}

var makesInstance = regexp.MustCompile(`nvidia-smi mig -i \S+ -cgi [0-9a-z.+-]+`)

// refused sees one more vGPU refused, on this GPU and on any, for this reason. It returns the
// command that the refusal has for its reader.
func (r *rig) refused(t *testing.T, gpu, typ string, code placement.ReasonCode, text string) (command string) {
	t.Helper()
	const name = "vgpukit-test-refused"
	_, err := r.provision(t, name, gpu, typ)
	require.ErrorIs(t, err, vgpu.ErrNoCapacity)
	var refusal *placement.Refusal
	require.True(t, errors.As(err, &refusal), "%v", err)
	reasons := map[placement.ReasonCode]string{}
	for _, reason := range refusal.Reasons() {
		if reason.GPU == gpu {
			reasons[reason.Code] = reason.Text
		}
	}
	assert.Equal(t, text, reasons[code])
	command = makesInstance.FindString(vgpu.Hint(err))
	require.NotEmpty(t, command, "no command in %q", vgpu.Hint(err))
	_, err = r.provision(t, name, "", typ)
	require.ErrorIs(t, err, vgpu.ErrNoCapacity)
	assert.ErrorContains(t, err, text)
	return command
}

func (r *rig) provision(t *testing.T, name, gpu, typ string) (vgpu.VM, error) {
	return r.m.Provision(within(t, time.Minute), vgpu.ProvisionRequest{
		Domain: plain(name), VGPUs: []vgpu.Request{{Type: typ, Parent: gpu}},
	})
}

// inInstance tells which GPU instance a vGPU is in.
func (r *rig) inInstance(t *testing.T, id string) int {
	t.Helper()
	device, err := r.host.Device(t.Context(), id)
	require.NoError(t, err)
	require.NotNil(t, device.GPUInstance)
	return *device.GPUInstance
}

// TestMIGMainJob: the GPU instance that is missing is named with the command that makes it;
// once that is run, MIG-backed vGPUs are made, seen by their VMs' guests, and taken down.
func TestMIGMainJob(t *testing.T) {
	for _, c := range []struct {
		gpu, typ, command, guest string
		instance                 int
	}{
		{gpuA100, "NVIDIA A100-2-10C", "nvidia-smi mig -i 0000:81:00.0 -cgi 2g.10gb", "10de:20f1", 3},
		{gpuPro, "NVIDIA RTX Pro 6000 Blackwell DC-2-24Q", "nvidia-smi mig -i 0000:a1:00.0 -cgi 2g.48gb+gfx", "10de:2bb5", 1},
	} {
		asNVMLTells(t, c.gpu, func(t *testing.T, r *rig, _ bool) {
			ctx := within(t, 2*time.Minute)
			const name = "vgpukit-test-mig"
			command := r.refused(t, c.gpu, c.typ, placement.ReasonNoInstance, c.gpu+" is in MIG mode without GPU instances")
			require.Equal(t, c.command, command)
			operator(t, command)
			before := r.state(t)
			_, err := r.provision(t, name, c.gpu, c.typ)
			require.NoError(t, err)
			vm, err := r.m.Start(ctx, name, vgpu.StartOptions{})
			require.NoError(t, err)
			assert.Contains(t, guestSees(t, r, name, vm.VGPUs[0].Address), c.guest)
			assert.Equal(t, c.instance, r.inInstance(t, vm.VGPUs[0].ID))
			_, err = r.m.Stop(ctx, name, powerOff)
			require.NoError(t, err)
			require.NoError(t, r.m.Teardown(ctx, name, vgpu.TeardownOptions{Stop: powerOff}))
			assert.Equal(t, before, r.state(t))
		})
	}
}

// TestMIGShared: on a Blackwell board three VMs run in one GPU instance of 24 GiB with 8 GiB
// each. The fourth is refused, and so is another size, each with the reason; the capacity
// says so before. The room that one gives back another gets.
func TestMIGShared(t *testing.T) {
	const board = "NVIDIA RTX Pro 6000 Blackwell DC-"
	asNVMLTells(t, gpuPro, func(t *testing.T, r *rig, told bool) {
		ctx := within(t, 4*time.Minute)
		operator(t, "nvidia-smi mig -i "+gpuPro+" -cgi 1g.24gb+gfx")
		before := r.state(t)
		name := func(n int) string { return fmt.Sprintf("vgpukit-test-%d", n) }
		for n := range 3 {
			require.Equal(t, 3-n, room(t, r.host, board+"1-8Q"))
			_, err := r.provision(t, name(n), gpuPro, board+"1-8Q")
			require.NoError(t, err)
			vm, err := r.m.Start(ctx, name(n), vgpu.StartOptions{})
			require.NoError(t, err)
			require.Equal(t, vgpu.StateRunning, vm.State)
			require.Equal(t, 3, r.inInstance(t, vm.VGPUs[0].ID))
		}
		require.Zero(t, room(t, r.host, board+"1-8Q"))
		size := "a size that is not known"
		if told {
			size = "1g.24gb+gfx"
		}
		for typ, profile := range map[string]string{"1-8Q": "1g.24gb+gfx", "1-12Q": "1g.24gb+gfx", "2-24Q": "2g.48gb+gfx"} {
			code, text := placement.ReasonNoRoom, gpuPro+" has no room for another "+board+typ+" in its GPU instances (1 of "+size+") beside what they run (3)"
			if told && profile != size {
				code, text = placement.ReasonNoInstance, gpuPro+" has no GPU instance for "+board+typ+", which needs a "+profile+"; it has 1 of "+size
			}
			assert.Equal(t, "nvidia-smi mig -i "+gpuPro+" -cgi "+profile, r.refused(t, gpuPro, board+typ, code, text))
		}
		require.NoError(t, r.m.Teardown(ctx, name(1), vgpu.TeardownOptions{Stop: powerOff}))
		require.Equal(t, 1, room(t, r.host, board+"1-8Q"))
		_, err := r.provision(t, name(3), gpuPro, board+"1-8Q")
		require.NoError(t, err)
		for _, n := range []int{0, 2, 3} {
			require.NoError(t, r.m.Teardown(ctx, name(n), vgpu.TeardownOptions{Stop: powerOff}))
		}
		assert.Equal(t, before, r.state(t))
	})
}

// TestMIGOneEach: on a board of a generation before, a vGPU has its GPU instance for itself.
// One too many is refused; with the GPU instance that the refusal names it is made.
func TestMIGOneEach(t *testing.T) {
	const typ = "NVIDIA A100-1-5C"
	asNVMLTells(t, gpuA100, func(t *testing.T, r *rig, told bool) {
		ctx := within(t, 2*time.Minute)
		operator(t, "nvidia-smi mig -i "+gpuA100+" -cgi 1g.5gb")
		_, err := r.provision(t, "vgpukit-test-0", gpuA100, typ)
		require.NoError(t, err)
		size := "a size that is not known"
		if told {
			size = "1g.5gb"
		}
		operator(t, r.refused(t, gpuA100, typ, placement.ReasonNoRoom, gpuA100+" has no room for another "+typ+" in its GPU instances (1 of "+size+") beside what they run (1)"))
		vm, err := r.provision(t, "vgpukit-test-1", gpuA100, typ)
		require.NoError(t, err)
		assert.Equal(t, 8, r.inInstance(t, vm.VGPUs[0].ID))
		for n := range 2 {
			require.NoError(t, r.m.Teardown(ctx, fmt.Sprintf("vgpukit-test-%d", n), vgpu.TeardownOptions{Stop: powerOff}))
		}
	})
}
