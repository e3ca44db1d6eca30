package vgputest_test

import (
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/vgpukit/vgpukit/domain"
	"github.com/vgpukit/vgpukit/mdev"
	"github.com/vgpukit/vgpukit/mdev/mdevtest"
	"github.com/vgpukit/vgpukit/vgpu/vgputest"
)

// FuzzDocuments: whatever is given as a document, a device or metadata is refused, or
// leaves documents that can be read, in which a VM's running vGPUs are those it has open.
func FuzzDocuments(f *testing.F) {
	const id = "5b3e4a52-5fb9-4c2f-8b0e-0a1d3c1f7e11"
	plain := "<domain type='kvm'><name>a</name><memory>1</memory><os><type>hvm</type></os></domain>"
	for _, seed := range [][3]string{
		{machineWith("a", id), element(id), "<a xmlns='https://example.org'/>"},
		{plain, element(id), ""},
		{plain, "<disk/>", "<a"},
		{strings.Replace(plain, "</domain>", "<devices/><metadata/></domain>", 1), element(id), "<m:a xmlns:m='u'><b/></m:a>"},
		{strings.Replace(plain, "<domain", "<domain id=\"7\"", 1), "<hostdev/>", "<!-- -->"},
		{"<?xml version='1.0'?><!-- <domain> -->" + plain, "<hostdev mode='subsystem' type='mdev' model='vfio-pci'><source><address uuid='" + strings.ToUpper(id) + "'/></source><alias name='ua-1'/></hostdev>", "<metadata/>"},
		{strings.ReplaceAll(machineWith("&lt;a&gt;", id), "'", "\""), "<interface type='hostdev'><source><address type='pci' domain='0' bus='0x1' slot='0' function='0'/></source></interface>", "<a/><b/>"},
		{"<d:domain xmlns:d='x' type='kvm'>" + plain[len("<domain type='kvm'>"):], "<x:video xmlns:x='y'/>", "<a/>"},
	} {
		f.Add(seed[0], seed[1], seed[2])
	}
	f.Fuzz(func(t *testing.T, document, device, metadata string) {
		board, err := mdevtest.NewBoard("mtty")
		require.NoError(t, err)
		w := &simulated{t: t, sim: mdevtest.New(board)}
		w.host, err = mdev.Open(mdev.Config{FS: w.sim})
		require.NoError(t, err)
		_, err = w.host.Create(t.Context(), mdev.CreateRequest{Type: "mtty-1", UUID: parseID(id)})
		require.NoError(t, err)
		w.vgpus, w.libvirt = []string{id}, vgputest.New(w.sim)
		ctx := t.Context()
		info, err := w.libvirt.Define(ctx, document)
		if err != nil {
			_, err = w.libvirt.Create(ctx, document)
			require.Error(t, err)
			return
		}
		vm := info.UUID.String()
		for _, do := range []func() error{
			func() error { return w.libvirt.SetMetadata(ctx, vm, metadata, domain.ScopeSaved) },
			func() error { return w.libvirt.Attach(ctx, vm, device, domain.ScopeSaved) },
			func() error { return w.libvirt.Snapshot(ctx, vm, device) },
			func() error { return w.libvirt.Start(ctx, vm) },
			func() error { return w.libvirt.SetMetadata(ctx, vm, metadata, domain.ScopeLive) },
			func() error { return w.libvirt.Attach(ctx, vm, device, domain.ScopeLive) },
			func() error { return w.libvirt.Detach(ctx, vm, device, domain.ScopeLive) },
			func() error { return w.libvirt.Attach(ctx, vm, device, domain.ScopeLive|domain.ScopeSaved) },
			func() error { _, err := w.libvirt.Clone(ctx, vm, metadata); return err },
			func() error { return w.libvirt.ManagedSave(ctx, vm) },
			func() error { return w.libvirt.Start(ctx, vm) },
			func() error { return w.libvirt.Save(ctx, vm, "/saved") },
			func() error { return w.libvirt.Restore(ctx, "/saved", document) },
			func() error { return w.libvirt.Revert(ctx, vm, device) },
			func() error { return w.libvirt.Destroy(ctx, vm) },
			func() error { return w.libvirt.Rename(ctx, vm, metadata) },
			func() error { return w.libvirt.Detach(ctx, vm, device, domain.ScopeSaved) },
		} {
			_ = do()
			w.holds(document)
			for _, form := range []func(context.Context, string) (string, error){w.libvirt.XML, w.libvirt.LiveXML, w.libvirt.MigratableXML} {
				xml, err := form(ctx, vm)
				require.NoError(t, err)
				read, err := domain.Parse([]byte(xml))
				require.NoError(t, err, xml)
				is, _ := read.UUID()
				require.Equal(t, info.UUID, is, xml)
			}
		}
		_ = w.libvirt.Destroy(ctx, vm)
		require.NoError(t, w.host.Remove(ctx, id), "it is in use when no VM runs")
	})
}
