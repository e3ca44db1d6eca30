package vgputest_test

import (
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vgpukit/vgpukit/domain"
	"github.com/vgpukit/vgpukit/vgpu/vgputest"
)

// TestAttachWithoutDevices: a document without <devices>, as libvirt accepts it, takes a
// device all the same.
func TestAttachWithoutDevices(t *testing.T) {
	w := newWorld(t, "mtty")
	w.makeVGPUs(1)
	_, err := w.libvirt.Define(t.Context(), "<domain type='kvm'><name>a</name><memory>1</memory><os><type>hvm</type></os></domain>")
	require.NoError(t, err)
	require.NoError(t, w.libvirt.Attach(t.Context(), "a", element(w.vgpus[0]), domain.ScopeSaved))
	xml, err := w.libvirt.XML(t.Context(), "a")
	require.NoError(t, err)
	doc, err := domain.Parse([]byte(xml))
	require.NoError(t, err)
	assert.Len(t, doc.Hostdevs(), 1)
	require.NoError(t, w.libvirt.Start(t.Context(), "a"))
	w.holds("the VM has it")
}

// TestAttachOther: devices that are none of the host's are written down, and opened
// nowhere; by their alias they are let go.
func TestAttachOther(t *testing.T) {
	for alias, device := range map[string]string{
		"disk0":      "<disk type='file'><source file='/x'/><target dev='vdb'/></disk>",
		"interface0": "<interface type='network'><source network='default'/></interface>",
		"hostdev0":   "<hostdev mode='subsystem' type='usb'><source><vendor id='0x1'/><product id='0x2'/></source><alias name='hostdev0'/></hostdev>",
		"video0":     "<video/>",
	} {
		w := newWorld(t, "mtty")
		_, err := w.libvirt.Create(t.Context(), machineWith("a"))
		require.NoError(t, err)
		before, err := w.libvirt.LiveXML(t.Context(), "a")
		require.NoError(t, err)
		require.NoError(t, w.libvirt.Attach(t.Context(), "a", device, domain.ScopeLive), device)
		require.ErrorIs(t, w.libvirt.Detach(t.Context(), "a", "<video/>", domain.ScopeLive), domain.ErrInvalid, "it says not which")
		require.NoError(t, w.libvirt.Detach(t.Context(), "a", alias, domain.ScopeLive), device)
		after, err := w.libvirt.LiveXML(t.Context(), "a")
		require.NoError(t, err)
		assert.Equal(t, before, after)
	}
}

// TestAttachRefuses: what libvirt does not take as a device changes nothing.
func TestAttachRefuses(t *testing.T) {
	w := newWorld(t, "mtty")
	w.makeVGPUs(1)
	_, err := w.libvirt.Define(t.Context(), machineWith("a"))
	require.NoError(t, err)
	require.NoError(t, w.libvirt.Start(t.Context(), "a"))
	source := "<source><address uuid='" + w.vgpus[0] + "'/></source>"
	at := "<address type='pci' bus='0' slot='9' function='0'/>"
	require.NoError(t, w.libvirt.Attach(t.Context(), "a", "<video>"+at+"</video>", domain.ScopeLive|domain.ScopeSaved))
	for device, kind := range map[string]error{
		"<hostdev mode='subsystem'>" + source + "</hostdev>":                                                      domain.ErrInvalid,
		"<hostdev mode='subsystem' type='mdef' model='vfio-pci'>" + source + "</hostdev>":                         domain.ErrInvalid,
		"<hostdev mode='system' type='mdev' model='vfio-pci'>" + source + "</hostdev>":                            domain.ErrInvalid,
		"<hostdev mode='capabilities' type='mdev' model='vfio-pci'>" + source + "</hostdev>":                      domain.ErrUnsupported,
		"<hostdev mode='subsystem' type='mdev'>" + source + "</hostdev>":                                          domain.ErrInvalid,
		"<hostdev mode='subsystem' type='mdev' model='vfio-pci'/>":                                                domain.ErrInvalid,
		"<hostdev mode='subsystem' type='mdev' model='vfio-pci'><source><address type='pci'/></source></hostdev>": domain.ErrInvalid,
		"<hostdev mode='subsystem' type='mdev' model='vfio-pci'>" + source + at + "</hostdev>":                    domain.ErrInUse,
	} {
		for _, scope := range []domain.Scope{domain.ScopeLive, domain.ScopeSaved, domain.ScopeLive | domain.ScopeSaved} {
			err := w.libvirt.Attach(t.Context(), "a", device, scope)
			require.Error(t, err, device)
			require.ErrorIs(t, err, kind, device)
		}
		w.holds(device)
	}
}

// TestDetachFromOne: to detach a device from the running VM and its definition is a
// success where one of them has it, as with domain/virt.
func TestDetachFromOne(t *testing.T) {
	for _, has := range []domain.Scope{domain.ScopeLive, domain.ScopeSaved} {
		w := newWorld(t, "mtty")
		w.makeVGPUs(1)
		_, err := w.libvirt.Define(t.Context(), machineWith("a"))
		require.NoError(t, err)
		require.NoError(t, w.libvirt.Start(t.Context(), "a"))
		require.NoError(t, w.libvirt.Attach(t.Context(), "a", element(w.vgpus[0]), has))
		require.NoError(t, w.libvirt.Detach(t.Context(), "a", element(w.vgpus[0]), domain.ScopeLive|domain.ScopeSaved))
		require.ErrorIs(t, w.libvirt.Detach(t.Context(), "a", element(w.vgpus[0]), domain.ScopeLive|domain.ScopeSaved), domain.ErrNotFound)
		w.holds("detached")
	}
}

// TestDetachHasALimit: without a deadline Detach waits as long as domain/virt does.
func TestDetachHasALimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "mtty")
		w.makeVGPUs(1)
		w.libvirt.SetGuest("", vgputest.Guest{Deaf: true})
		_, err := w.libvirt.Create(t.Context(), machineWith("a", w.vgpus...))
		require.NoError(t, err)
		require.ErrorIs(t, w.libvirt.Detach(t.Context(), "a", element(w.vgpus[0]), domain.ScopeLive), domain.ErrInUse)
	})
}
