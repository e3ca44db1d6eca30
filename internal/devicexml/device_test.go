package devicexml

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const (
	mdevElement = `<hostdev mode='subsystem' type='mdev' model='vfio-pci'><source><address uuid='C0FFEE00-0000-4000-8000-000000000001'/></source></hostdev>`
	liveMdev    = `<domain type='kvm' id='1'><devices>
  <controller type='pci' index='0' model='pcie-root'><alias name='pcie.0'/></controller>
  <hostdev mode='subsystem' type='mdev' managed='no' model='vfio-pci' display='off'>
    <source><address uuid='c0ffee00-0000-4000-8000-000000000001'/></source>
    <alias name='hostdev0'/><address type='pci' domain='0x0000' bus='0x01' slot='0x00' function='0x0'/>
  </hostdev>
</devices></domain>`
)

// TestFind: each device with what it is known by, however an author writes it.
func TestFind(t *testing.T) {
	live, err := Find(liveMdev, 2)
	require.NoError(t, err)
	assert.Equal(t, []Device{
		{Kind: "controller", Offset: strings.Index(liveMdev, "<controller"), Alias: "pcie.0", Element: "<controller type='pci' index='0' model='pcie-root'><alias name='pcie.0'/></controller>"},
		{Kind: "hostdev", Offset: strings.Index(liveMdev, "<hostdev"), Alias: "hostdev0", UUID: "c0ffee00-0000-4000-8000-000000000001", Element: liveMdev[strings.Index(liveMdev, "<hostdev"):strings.Index(liveMdev, "\n</devices>")]},
	}, live)
	for _, tt := range []struct {
		device string
		want   Device
	}{
		{mdevElement, Device{UUID: "c0ffee00-0000-4000-8000-000000000001"}},
		{`<hostdev type='pci'><source><address domain='0' bus='0x41' slot='0x0' function='0x4'/></source></hostdev>`, Device{PCI: "0000:41:00.4"}},
		{`<hostdev type='pci'><source><address bus='65' slot='00' function='04'/></source></hostdev>`, Device{PCI: "0000:41:00.4"}},
		{`<hostdev type='pci'><source><address domain='0x10000' bus='0x41' slot='0x00' function='0x4'/></source></hostdev>`, Device{PCI: "10000:41:00.4"}},
		{`<hostdev type='pci'><source><address domain='65536' bus='065' slot='00' function='04'/></source></hostdev>`, Device{PCI: "10000:35:00.4"}},
		{`<hostdev type='pci'><source><address domain='0' bus='0x141' slot='0x0' function='0x4'/></source></hostdev>`, Device{}},
		{`<hostdev x:type='pci' type='usb' xmlns:x='u'><source/><source><address type='usb' bus='+65' function=' 04'/></source></hostdev>`, Device{PCI: "0000:41:00.4"}},
		{`<hostdev q:type='pci' type='mdev'><source><address uuid=' C0FFEE000000-4000-8000000000000001'/></source></hostdev>`, Device{UUID: "c0ffee00-0000-4000-8000-000000000001"}},
		{`<hostdev type='mdev'><source><address uuid='c0ffee'/></source></hostdev>`, Device{}},
		{`<interface type='hostdev'><alias/><alias name='ua-1'/><source><address type='pci' bus='0x41'/></source></interface>`, Device{PCI: "0000:41:00.0", Alias: "ua-1"}},
		{`<interface type='network'><source><address type='pci' bus='0x41' slot='0' function='0'/></source></interface>`, Device{}},
		{`<hostdev type='usb'><source><address bus='1' device='2'/></source></hostdev>`, Device{}},
		{`<hostdev><address uuid='not-the-source'/><other><alias name='deeper'/></other></hostdev>`, Device{}},
		{`<!-- c --><disk><alias name='ua-1'/><source file='x'/></disk>`, Device{Alias: "ua-1"}},
	} {
		got, err := Find(tt.device, 0)
		require.NoError(t, err)
		tt.want.Element = tt.device[strings.Index(tt.device, "<"):]
		tt.want.Element = strings.TrimPrefix(tt.want.Element, "<!-- c -->")
		require.Len(t, got, 1, tt.device)
		assert.Equal(t, tt.want.Element, tt.device[got[0].Offset:])
		got[0].Kind, got[0].Offset = "", 0
		assert.Equal(t, tt.want, got[0], tt.device)
	}
}

// What libvirt keeps as metadata is no reason to find no device.
func TestFindBesideOddMetadata(t *testing.T) {
	doc := strings.Replace(liveMdev, "<devices>", `<metadata><a:b:c q:d="&x;"><?e:f?><:g/></a:b:c></metadata><devices><q:hostdev xmlns:q="u"/></devices><devices>`, 1)
	found, err := Find(doc, 2)
	require.NoError(t, err)
	require.Len(t, found, 2)
	assert.Equal(t, "c0ffee00-0000-4000-8000-000000000001", found[1].UUID)
	assert.Equal(t, found[1].Element, doc[found[1].Offset:][:len(found[1].Element)])
	_, err = Find("<hostdev/><hostdev/>", 0)
	require.Error(t, err)
}

// No document makes the reader panic, and it finds no more than there is.
func FuzzFind(f *testing.F) {
	f.Add(liveMdev, 2)
	f.Add(mdevElement, 0)
	f.Add("<a><b><c/></b></a></a>", 1)
	f.Fuzz(func(t *testing.T, doc string, at int) {
		if at < 0 || at > 3 {
			return
		}
		found, err := Find(doc, at)
		if err == nil && len(found) > strings.Count(doc, "<") {
			t.Errorf("%d devices in %q", len(found), doc)
		}
		for _, d := range found {
			if err == nil && !(strings.HasPrefix(d.Element, "<") && strings.HasSuffix(d.Element, ">") && strings.Contains(doc, d.Element)) {
				t.Errorf("element %q in %q", d.Element, doc)
			}
		}
	})
}
