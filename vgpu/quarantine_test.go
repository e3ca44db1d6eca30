package vgpu

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vgpukit/vgpukit/domain"
	"github.com/vgpukit/vgpukit/mdev"
	"github.com/vgpukit/vgpukit/mdev/mdevtest"
	"github.com/vgpukit/vgpukit/vgpu/vgputest"
)

const sickVF = "0000:41:00.4"

// sicken lets the driver refuse each vGPU on a virtual function, until the function that it
// returns is called. tried counts.
func (r *rig) sicken(vf string, tried *int) (mend func()) {
	return r.sim.Fail(mdevtest.Fault{Op: mdevtest.OpWrite, Do: func(a mdevtest.Access) error {
		if strings.Contains(a.Name, vf) && a.Data != "0" {
			*tried++
			return syscall.EIO
		}
		return nil
	}})
}

// sickenFirst lets the driver refuse each vGPU on the first virtual function that is free, if there
// are several.
func (r *rig) sickenFirst() {
	inv, err := r.host.Inventory(r.t.Context())
	require.NoError(r.t, err)
	for _, p := range inv.GPUs[0].Parents {
		if p.Name != p.GPU && len(p.Devices) == 0 {
			r.sicken(p.Name, new(int))
			return
		}
	}
}

// only is the policy of the only GPU that has one.
func (r *rig) only() GPUPolicy {
	r.t.Helper()
	list, err := r.m.Policies(r.t.Context())
	require.NoError(r.t, err)
	if len(list) == 0 {
		return GPUPolicy{}
	}
	require.Len(r.t, list, 1)
	return list[0]
}

// TestQuarantine: a virtual function whose driver refuses a vGPU, though it shows room, gets none
// any more after it did so for two VMs; not after it did so for one, however often. It is told,
// and released on request.
func TestQuarantine(t *testing.T) {
	r := newRig(t, "l40s@0000:41:00.0,vfs=4")
	var seen []string
	r.m = r.manager(Observer{StepEnded: func(_ context.Context, s Step, _ error) {
		if s.Name == "quarantine" {
			seen = append(seen, s.Object)
		}
	}})
	tried := 0
	mend := r.sicken(sickVF, &tried)
	provision := func(vm string) string {
		t.Helper()
		req := request(vm, "NVIDIA L40S-4Q", 1)
		req.VGPUs[0].Parent = sickVF
		if strings.HasPrefix(vm, "other") {
			req.VGPUs[0].Parent = ""
		}
		made, err := r.m.Provision(t.Context(), req)
		if err != nil {
			require.ErrorIs(t, err, ErrNoCapacity)
			return ""
		}
		return made.VGPUs[0].Parent
	}
	for range 3 {
		require.Empty(t, provision("one"))
	}
	p := r.only()
	require.Len(t, p.Failures[sickVF], 1)
	assert.Equal(t, "one", p.Failures[sickVF][0].VM)
	assert.Equal(t, "refused (EIO)", p.Failures[sickVF][0].Reason)
	assert.Empty(t, p.Quarantined)

	require.Empty(t, provision("two"))
	assert.Equal(t, "it failed for the VMs one, two: refused (EIO)", r.only().Quarantined[sickVF])
	assert.Equal(t, []string{sickVF}, seen)
	record, err := os.ReadFile(filepath.Join(r.dir, "record.log"))
	require.NoError(t, err)
	assert.Contains(t, string(record), `"what":"quarantined","op":"provision","vm":"two"`)

	before := tried
	require.Empty(t, provision("three"))
	for i := range 3 {
		require.NotEqual(t, sickVF, provision(fmt.Sprint("other", i)))
	}
	assert.Equal(t, before, tried, "it is not asked any more")
	mend()
	require.Empty(t, provision("three"))
	p = r.policy(sickVF, func(p *GPUPolicy) { delete(p.Quarantined, sickVF) })
	assert.Empty(t, p.Failures)
	require.Equal(t, sickVF, provision("three"))
	assert.NoFileExists(t, r.m.store.policies.Path("0000:41:00.0"))
}

// TestFailuresEnd: a VM that starts on a parent ends its failures.
func TestFailuresEnd(t *testing.T) {
	r := newRig(t, "l40s@0000:41:00.0,vfs=1")
	tried := 0
	mend := r.sicken(sickVF, &tried)
	_, err := r.m.Provision(t.Context(), request("one", "NVIDIA L40S-4Q", 1))
	require.ErrorIs(t, err, ErrNoCapacity)
	require.Len(t, r.only().Failures[sickVF], 1)
	mend()
	r.provisionVM("NVIDIA L40S-4Q", Reserved)
	require.Len(t, r.only().Failures[sickVF], 1)
	_, err = r.m.Start(t.Context(), "vm", StartOptions{})
	require.NoError(t, err)
	assert.Empty(t, r.only())
}

// TestOthersAreNoFailure: a parent that refused because another program took its GPU's room is
// not blamed.
func TestOthersAreNoFailure(t *testing.T) {
	r := newRig(t, "l40s@0000:41:00.0,vfs=4")
	mend := r.sim.Fail(mdevtest.Fault{Op: mdevtest.OpWrite, Do: func(a mdevtest.Access) error {
		if !strings.Contains(a.Name, sickVF) || a.Data == "0" {
			return nil
		}
		theirs, err := mdev.Open(mdev.Config{FS: r.sim})
		if err == nil {
			_, err = theirs.Create(context.Background(), mdev.CreateRequest{Type: "NVIDIA L40S-4Q", Parent: "0000:41:00.6"})
		}
		return errors.Join(err, syscall.EIO)
	}})
	req := request("vm", "NVIDIA L40S-4Q", 1)
	req.VGPUs[0].Parent = sickVF
	_, err := r.m.Provision(t.Context(), req)
	require.Error(t, err)
	mend()
	require.Contains(t, r.sim.Devices(), "0000:41:00.6")
	assert.Empty(t, r.only())
}

// TestQuarantineByStart: a parent whose vGPU libvirt cannot get for two VMs is quarantined.
func TestQuarantineByStart(t *testing.T) {
	r := newRig(t, "l40s@0000:41:00.0,vfs=4")
	for _, vm := range []string{"one", "two"} {
		req := request(vm, "NVIDIA L40S-4Q", 1)
		req.Lifetime, req.VGPUs[0].Parent = WhileRunning, sickVF
		_, err := r.m.Provision(t.Context(), req)
		require.NoError(t, err)
		undo := r.hyper.Fail(vgputest.Fault{Method: "Start", Err: errors.New("internal error: process exited: vfio " + sickVF + ": error getting device from group 7: Input/output error")})
		_, err = r.m.Start(t.Context(), vm, StartOptions{})
		require.ErrorContains(t, err, "error getting device")
		undo()
	}
	assert.Contains(t, r.only().Quarantined[sickVF], "it failed for the VMs one, two: libvirt could not get the vGPU")
}

// TestBlame: a vGPU is blamed for a start only if libvirt's words name it, and not for what is
// the VM's fault or another's.
func TestBlame(t *testing.T) {
	one, two := device{ID: sickVF}, device{ID: "98d19132-f8f0-4d19-8743-9efa23e6c493"}
	for text, blamed := range map[string]string{
		"vfio 0000:41:00.4: error getting device from group 7: Input/output error\nVerify all devices in group 7 are bound to vfio-<bus> or pci-stub and not already in use": one.ID,
		"vfio 98D19132-F8F0-4D19-8743-9EFA23E6C493: failed to reset":                    two.ID,
		"vfio 0000:41:00.4: error getting device from group 7: Permission denied":       "",
		"vfio 0000:41:00.4: error getting device from group 7: No such device":          "",
		"vfio 0000:41:00.4: vfio_container_dma_map(0x1) = -12 (Cannot allocate memory)": "",
		"vfio 0000:41:00.4: Could not open '/dev/vfio/7': Device or resource busy":      "",
		"PCI device 0000:41:00.4 is in use by driver QEMU, domain desk2":                "",
		"error getting device from group 7: Input/output error":                         "",
		"no space left on device": "",
	} {
		d, ok := blame([]device{one, two}, fmt.Errorf("start: %w", errors.New(text)))
		assert.Equal(t, blamed != "", ok, text)
		assert.Equal(t, blamed, d.ID, text)
	}
	_, ok := blame([]device{one}, errors.New("error getting device from group 7: Input/output error"))
	assert.True(t, ok, "it can be no other")
	for _, kind := range []error{domain.ErrInUse, domain.ErrNotFound, domain.ErrPermission, domain.ErrState} {
		_, ok := blame([]device{one}, fmt.Errorf("%w: vfio %s", kind, one.ID))
		assert.False(t, ok, "%v", kind)
	}
	assert.False(t, slices.ContainsFunc(notTheDevice, func(words string) bool { return words != strings.ToLower(words) }))
}
