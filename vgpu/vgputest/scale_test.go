package vgputest_test

import (
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vgpukit/vgpukit/domain"
	"github.com/vgpukit/vgpukit/mdev"
	"github.com/vgpukit/vgpukit/mdev/mdevtest"
	"github.com/vgpukit/vgpukit/vgpu/vgputest"
)

const (
	fleet = 64 // VMs
	each  = 2  // vGPUs of one
)

// newFleet is a host with VMs that have vGPUs, all off.
func newFleet(t testing.TB) (libvirt *vgputest.Hypervisor, names []string) {
	var specs []string
	for bus := range fleet * each / 32 {
		specs = append(specs, fmt.Sprintf("l40s@0000:%02x:00.0,vfs=32", 0x41+bus))
	}
	sim, err := mdevtest.NewHost(specs...)
	require.NoError(t, err)
	host, err := mdev.Open(mdev.Config{FS: sim})
	require.NoError(t, err)
	libvirt = vgputest.New(sim)
	for n := range fleet {
		name, devices := fmt.Sprint("vm-", n), ""
		for range each {
			made, err := host.Create(t.Context(), mdev.CreateRequest{Type: "NVIDIA L40S-1Q"})
			require.NoError(t, err)
			var bus, slot, function int
			_, err = fmt.Sscanf(made.ID, "0000:%x:%x.%x", &bus, &slot, &function)
			require.NoError(t, err)
			devices += fmt.Sprintf("<hostdev mode='subsystem' type='pci' managed='no'><source><address domain='0x0000' bus='0x%02x' slot='0x%02x' function='0x%x'/></source></hostdev>", bus, slot, function)
		}
		_, err := libvirt.Define(t.Context(), "<domain type='kvm'><name>"+name+"</name><memory>1</memory><os><type>hvm</type></os><devices>"+devices+"</devices></domain>")
		require.NoError(t, err)
		names = append(names, name)
	}
	return libvirt, names
}

// TestDelaysAreSideBySide: 64 VMs with two vGPUs each, each of which takes 300 ms to
// start, are all up after 300 ms when they are started at once.
func TestDelaysAreSideBySide(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const delay = 300 * time.Millisecond
		libvirt, names := newFleet(t)
		libvirt.Fail(vgputest.Fault{Method: "Start", Delay: delay})
		begun := time.Now()
		var all sync.WaitGroup
		for _, name := range names {
			all.Go(func() { assert.NoError(t, libvirt.Start(t.Context(), name)) })
		}
		all.Wait()
		require.Equal(t, delay, time.Since(begun))
	})
}

// TestSeveralLibvirts: two libvirts of one host, as of the system and of a session, and
// that of another host, know their own VMs only; of one host they share the vGPUs.
func TestSeveralLibvirts(t *testing.T) {
	w, other := newWorld(t, "mtty"), newWorld(t, "mtty")
	w.makeVGPUs(1)
	ctx := t.Context()
	session := vgputest.New(w.sim)
	session.SetURI("qemu:///session")
	for _, libvirt := range []*vgputest.Hypervisor{w.libvirt, session, other.libvirt} {
		_, err := libvirt.Define(ctx, machineWith("a", w.vgpus...))
		require.NoError(t, err)
	}
	assert.NotEqual(t, w.libvirt.URI(), session.URI())
	require.ErrorIs(t, other.libvirt.Start(ctx, "a"), domain.ErrNotFound)
	require.NoError(t, session.Start(ctx, "a"))
	require.ErrorIs(t, w.libvirt.Start(ctx, "a"), domain.ErrInUse)
	require.NoError(t, session.Destroy(ctx, "a"))
	require.NoError(t, w.libvirt.Start(ctx, "a"))
	other.sim.Reboot()
	w.holds("another host has rebooted")
	w.sim.Reboot()
	for _, libvirt := range []*vgputest.Hypervisor{w.libvirt, session} {
		info, err := libvirt.Info(ctx, "a")
		require.NoError(t, err)
		assert.Equal(t, domain.StateShutOff, info.State)
	}
}
