//go:build integration

package integration

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image/png"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vgpukit/vgpukit/domain"
	"github.com/vgpukit/vgpukit/mdev"
	"github.com/vgpukit/vgpukit/vgpu"
)

// talkUUID is the UUID of the classic session at the shell.
const talkUUID = "98d19132-f8f0-4d19-8743-9efa23e6c493"

// The GPUs that NVIDIA's drivers are tried with.
const (
	gpuM60  = "0000:05:00.0"
	gpuA40  = "0000:41:00.0"
	gpuL40S = "0000:61:00.0"
	gpuA100 = "0000:81:00.0" // in MIG mode
	gpuPro  = "0000:a1:00.0" // an RTX PRO 6000 Blackwell, in MIG mode
)

// nvidia is a rig on a host with these GPUs, whose virtual functions are enabled.
func nvidia(t *testing.T, gpus ...string) *rig {
	t.Helper()
	r := newRig(t)
	t.Cleanup(enableVFs(t, r.host, gpus...))
	return r
}

// enableVFs lets GPUs have their virtual functions, if they can have any; undo takes
// away those that were made. It takes a while, so that tests name what they need.
func enableVFs(t *testing.T, host *mdev.Host, gpus ...string) (undo func()) {
	t.Helper()
	inv, err := host.Inventory(t.Context())
	require.NoError(t, err)
	var made []string
	for _, name := range gpus {
		at := slices.IndexFunc(inv.GPUs, func(gpu mdev.GPU) bool { return gpu.Name == name })
		if at < 0 {
			lacking(t, "the board at "+name)
		}
		if sriov := inv.GPUs[at].SRIOV; sriov != nil && sriov.Enabled == 0 {
			_, err := host.SetVFs(t.Context(), name, sriov.Total)
			require.NoError(t, err)
			made = append(made, name)
		}
	}
	return func() {
		for _, gpu := range made {
			_, err := host.SetVFs(context.Background(), gpu, 0)
			require.NoError(t, err)
		}
	}
}

// overridden is a VM whose vGPU of the alias ua-vgpu is displayed, be it an mdev or
// a virtual function.
func overridden(name string) string {
	return strings.NewReplacer(
		"<domain type='qemu'>", "<domain type='qemu' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>",
		"</domain>", "  <qemu:override><qemu:device alias='ua-vgpu'><qemu:frontend><qemu:property name='display' type='string' value='on'/></qemu:frontend></qemu:device></qemu:override>\n</domain>",
	).Replace(document(name))
}

// caption is the text that the simulated GPU writes into the first row of its
// picture, for readers without eyes: the bytes of its pixels in order.
func caption(t *testing.T, picture []byte) string {
	t.Helper()
	img, err := png.Decode(bytes.NewReader(picture))
	require.NoError(t, err)
	var text strings.Builder
	for x := range img.Bounds().Dx() {
		red, green, blue, _ := img.At(x, 0).RGBA()
		for _, v := range []uint32{red, green, blue} {
			if v>>8 == 0 {
				return text.String()
			}
			text.WriteByte(byte(v >> 8))
		}
	}
	return text.String()
}

// TestNvidiaOneProgram: the same program gives a VM a vGPU of each of NVIDIA's
// frameworks, and the picture on the VM's display proves which one it has.
func TestNvidiaOneProgram(t *testing.T) {
	for _, c := range []struct{ typ, gpu, guest string }{
		{"GRID M60-8Q", gpuM60, "VGA controller: PCI device 10de:13f2"},
		{"NVIDIA A40-8Q", gpuA40, "3D controller: PCI device 10de:2235"},
		{"NVIDIA L40S-8Q", gpuL40S, "3D controller: PCI device 10de:26b9"},
	} {
		t.Run(c.typ, func(t *testing.T) {
			r := nvidia(t, c.gpu)
			ctx := within(t, 2*time.Minute)
			before := r.state(t)
			vm, err := r.m.Provision(ctx, vgpu.ProvisionRequest{
				Domain: overridden("vgpukit-test-nvidia"),
				VGPUs:  []vgpu.Request{{Type: c.typ, Address: "0000:00:08.0", Alias: "ua-vgpu"}},
			})
			require.NoError(t, err)
			assert.Equal(t, c.gpu, vm.VGPUs[0].GPU)
			_, err = r.m.Start(ctx, vm.Name, vgpu.StartOptions{})
			require.NoError(t, err)
			assert.Contains(t, guestSees(t, r, vm.Name, "0000:00:08.0"), c.guest)
			picture, _, err := r.conn.Screenshot(ctx, vm.Name, 0)
			require.NoError(t, err)
			text := strings.ToUpper(caption(t, picture))
			assert.Contains(t, text, strings.ToUpper(c.typ))
			assert.Contains(t, text, strings.ToUpper(vm.VGPUs[0].ID))
			assert.Contains(t, text, "VGPUKIT-TEST-NVIDIA")
			device, err := r.host.Device(ctx, vm.VGPUs[0].ID)
			require.NoError(t, err)
			require.NotNil(t, device.Holder)
			assert.Equal(t, vm.Name, device.Holder.VM)
			require.ErrorIs(t, r.host.Remove(ctx, device.ID), mdev.ErrInUse)
			_, err = r.m.Stop(ctx, vm.Name, powerOff)
			require.NoError(t, err)
			require.NoError(t, r.m.Teardown(ctx, vm.Name, vgpu.TeardownOptions{Stop: powerOff}))
			assert.Equal(t, before, r.state(t))
		})
	}
}

// TestNvidiaSeveralInOneVM: one VM has two vGPUs of one L40S.
func TestNvidiaSeveralInOneVM(t *testing.T) {
	r := nvidia(t, gpuL40S)
	ctx := within(t, 2*time.Minute)
	before := r.state(t)
	vm, err := r.m.Provision(ctx, vgpu.ProvisionRequest{
		Domain: document("vgpukit-test-nvidia"), Lifetime: vgpu.WhileRunning,
		VGPUs: []vgpu.Request{{Type: "NVIDIA L40S-4Q"}, {Type: "NVIDIA L40S-4Q"}},
	})
	require.NoError(t, err)
	vm, err = r.m.Start(ctx, vm.Name, vgpu.StartOptions{})
	require.NoError(t, err)
	assert.NotEqual(t, vm.VGPUs[0].ID, vm.VGPUs[1].ID)
	for _, g := range vm.VGPUs {
		assert.Equal(t, gpuL40S, g.GPU)
		assert.Contains(t, guestSees(t, r, vm.Name, g.Address), "10de:26b9")
	}
	require.NoError(t, r.m.Teardown(ctx, vm.Name, vgpu.TeardownOptions{Stop: powerOff}))
	assert.Equal(t, before, r.state(t))
}

// TestNvidiaDensity: eight VMs run on one M60 GPU; the ninth is refused with the
// reason, and so is another size.
func TestNvidiaDensity(t *testing.T) {
	r := nvidia(t, gpuM60)
	ctx := within(t, 4*time.Minute)
	before := r.state(t)
	one := func(n int, typ string) vgpu.ProvisionRequest {
		return vgpu.ProvisionRequest{Domain: document(fmt.Sprintf("vgpukit-test-%d", n)), VGPUs: []vgpu.Request{{Type: typ, Parent: gpuM60}}}
	}
	for n := range 8 {
		_, err := r.m.Provision(ctx, one(n, "GRID M60-1Q"))
		require.NoError(t, err)
		vm, err := r.m.Start(ctx, fmt.Sprintf("vgpukit-test-%d", n), vgpu.StartOptions{})
		require.NoError(t, err)
		require.Equal(t, vgpu.StateRunning, vm.State)
	}
	_, err := r.m.Provision(ctx, one(8, "GRID M60-1Q"))
	require.ErrorIs(t, err, vgpu.ErrNoCapacity)
	assert.ErrorContains(t, err, gpuM60, "the reason names the GPU")
	_, err = r.m.Provision(ctx, one(8, "GRID M60-2Q"))
	require.ErrorIs(t, err, vgpu.ErrNoCapacity)
	t.Log(err)
	for n := range 8 {
		require.NoError(t, r.m.Teardown(ctx, fmt.Sprintf("vgpukit-test-%d", n), vgpu.TeardownOptions{Stop: powerOff}))
	}
	assert.Equal(t, before, r.state(t))
}

// TestNvidiaManagedIsRefused: a virtual function that libvirt would rebind to
// vfio-pci, and so destroy its vGPU, is refused with the reason.
func TestNvidiaManagedIsRefused(t *testing.T) {
	r := nvidia(t, gpuL40S)
	before := r.state(t)
	managed := strings.Replace(document("vgpukit-test-nvidia"), "</devices>",
		"<hostdev mode='subsystem' type='pci' managed='yes'><source><address domain='0' bus='0x61' slot='0' function='4'/></source></hostdev></devices>", 1)
	_, err := r.m.Provision(t.Context(), vgpu.ProvisionRequest{Domain: managed, VGPUs: []vgpu.Request{{Type: "NVIDIA L40S-4Q"}}})
	require.ErrorIs(t, err, vgpu.ErrInvalid)
	assert.ErrorContains(t, err, "managed")
	assert.Equal(t, before, r.state(t))
}

// TestNvidiaLingering: the driver's own clean-up after a VM is waited for, and the
// vGPU is given back.
func TestNvidiaLingering(t *testing.T) {
	r := nvidia(t, gpuM60, gpuL40S)
	ctx := within(t, 2*time.Minute)
	linger(t, 2*time.Second)
	before := r.state(t)
	for _, typ := range []string{"GRID M60-8Q", "NVIDIA L40S-4Q"} {
		_, err := r.m.Provision(ctx, vgpu.ProvisionRequest{
			Domain: document("vgpukit-test-nvidia"), Lifetime: vgpu.WhileRunning, VGPUs: []vgpu.Request{{Type: typ}},
		})
		require.NoError(t, err)
		_, err = r.m.Start(ctx, "vgpukit-test-nvidia", vgpu.StartOptions{})
		require.NoError(t, err)
		vm, err := r.m.Stop(ctx, "vgpukit-test-nvidia", powerOff)
		require.NoError(t, err)
		assert.False(t, vm.VGPUs[0].Present, "given back")
		require.NoError(t, r.m.Teardown(ctx, "vgpukit-test-nvidia", vgpu.TeardownOptions{Stop: powerOff}))
	}
	assert.Equal(t, before, r.state(t))
}

// TestNvidiaTalk: the session that people know from the shell works as they know
// it; the library sees what it made, and libvirt starts a VM with it.
func TestNvidiaTalk(t *testing.T) {
	r := nvidia(t, gpuM60)
	ctx := within(t, 2*time.Minute)
	sh := func(line string) string {
		out, err := exec.CommandContext(ctx, "sh", "-c", line).CombinedOutput()
		require.NoError(t, err, "%s\n%s", line, out)
		t.Logf("# %s\n%s", line, out)
		return string(out)
	}
	t.Cleanup(func() { // also if the session ends early
		if err := r.host.Remove(context.Background(), talkUUID); !errors.Is(err, mdev.ErrNotFound) {
			require.NoError(t, err)
		}
	})
	sh("echo " + talkUUID + " > /sys/bus/pci/drivers/nvidia/0000:05:00.0/mdev_supported_types/nvidia-22/create")
	assert.Contains(t, sh("dmesg | grep "+talkUUID+" | tail -n 1"), "nvidia-vgpu-vfio "+talkUUID+": Adding to iommu group")
	types := sh("virsh nodedev-dumpxml pci_0000_05_00_0")
	assert.Contains(t, types, "<type id='nvidia-22'>")
	assert.Contains(t, types, "<name>GRID M60-8Q</name>")
	device, err := r.host.Device(ctx, talkUUID)
	require.NoError(t, err)
	assert.Equal(t, "nvidia-22", device.Type)
	doc, err := domain.Parse([]byte(document("vgpukit-test-talk")))
	require.NoError(t, err)
	address, err := domain.ParseAddress("0000:00:08.0")
	require.NoError(t, err)
	doc, err = doc.Add(domain.Hostdev{UUID: uuid.MustParse(talkUUID), Display: "on", Address: &address})
	require.NoError(t, err)
	t.Logf("%s", doc.Bytes())
	_, err = r.conn.Define(ctx, string(doc.Bytes()))
	require.NoError(t, err)
	require.NoError(t, r.conn.Start(ctx, "vgpukit-test-talk"))
	assert.Contains(t, guestSees(t, r, "vgpukit-test-talk", "0000:00:08.0"), "VGA controller: PCI device 10de:13f2")
	require.NoError(t, r.conn.Terminate(ctx, "vgpukit-test-talk"))
	require.NoError(t, r.conn.Undefine(ctx, "vgpukit-test-talk", domain.UndefineOptions{}))
	sh("echo 1 > /sys/bus/mdev/devices/" + talkUUID + "/remove")
}

// TestNvidiaMoved: a VM whose virtual function another VM has by now starts with the
// next one, at the same place in the guest, and its document keeps its passwords and
// the order of its devices.
func TestNvidiaMoved(t *testing.T) {
	r := nvidia(t, gpuL40S)
	ctx := within(t, 2*time.Minute)
	before := r.state(t)
	const name = "vgpukit-test-nvidia"
	text := strings.Replace(document(name), "<graphics type='vnc' ", "<graphics type='vnc' passwd='secret' ", 1)
	vm, err := r.m.Provision(ctx, vgpu.ProvisionRequest{
		Domain: text, Lifetime: vgpu.WhileRunning, VGPUs: []vgpu.Request{{Type: "NVIDIA L40S-4Q"}, {Type: "NVIDIA L40S-4Q"}},
	})
	require.NoError(t, err)
	theirs, err := r.host.Create(ctx, mdev.CreateRequest{Type: "NVIDIA L40S-4Q", Parent: vm.VGPUs[0].ID})
	require.NoError(t, err)
	moved, err := r.m.Start(ctx, name, vgpu.StartOptions{})
	require.NoError(t, err)
	assert.NotEqual(t, theirs.ID, moved.VGPUs[0].ID)
	for i, g := range moved.VGPUs {
		assert.Equal(t, vm.VGPUs[i].Address, g.Address)
		assert.Contains(t, guestSees(t, r, name, g.Address), "10de:26b9")
	}
	_, err = r.m.Stop(ctx, name, powerOff)
	require.NoError(t, err)
	now, err := r.conn.Definition(ctx, name)
	require.NoError(t, err)
	assert.Contains(t, now.XML, "passwd='secret'")
	doc, err := domain.Parse([]byte(now.XML))
	require.NoError(t, err)
	for i, h := range doc.Hostdevs() {
		assert.Equal(t, moved.VGPUs[i].ID, h.ID(), "the devices are in their order")
	}
	require.NoError(t, r.m.Teardown(ctx, name, vgpu.TeardownOptions{Stop: powerOff}))
	require.NoError(t, r.host.Remove(ctx, theirs.ID))
	assert.Equal(t, before, r.state(t))
}
