package domain

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// vmdVF is a virtual function behind Intel's VMD: its PCI domain needs 17 bits.
const vmdVF = "10000:41:00.4"

// A virtual function in a PCI domain above 0xffff is added, found, named in the
// metadata, exchanged and removed as any other.
func TestVFInALargePCIDomain(t *testing.T) {
	for name, given := range map[string]string{"as sysfs writes it": vmdVF, "with all digits": "00010000:41:00.4"} {
		t.Run(name, func(t *testing.T) {
			before := guest(t, "q35", root35)
			added, err := before.Add(Hostdev{VF: given})
			require.NoError(t, err)
			assert.Contains(t, added.src, "<address domain='0x10000' bus='0x41' slot='0x00' function='0x4'/>")
			assert.Equal(t, []Hostdev{{VF: vmdVF, Model: ModelPCI}}, added.Hostdevs())
			require.NoError(t, added.Check())
			_, err = added.Add(Hostdev{VF: vmdVF})
			requireError(t, err, ErrExists, "Hostdev already exists")

			with, err := added.WithMetadata(Metadata{VGPUs: []VGPU{{ID: vmdVF, Type: "1148", Parent: vmdVF}}})
			require.NoError(t, err)
			metadata, ok, err := mustParse(t, with.src).Metadata()
			require.NoError(t, err)
			require.True(t, ok)
			assert.Equal(t, vmdVF, metadata.VGPUs[0].ID)
			_, err = added.WithMetadata(Metadata{VGPUs: []VGPU{{ID: vmdVF}, {ID: "00010000:41:00.4"}}})
			requireError(t, err, ErrInvalid, "it is there twice")

			moved, err := added.Replace(map[string]string{given: "ffffffff:ff:1f.7"})
			require.NoError(t, err)
			assert.Equal(t, strings.Replace(added.src, "domain='0x10000' bus='0x41' slot='0x00' function='0x4'", "domain='0xffffffff' bus='0xff' slot='0x1f' function='0x7'", 1), moved.src)
			back, err := moved.Replace(map[string]string{"ffffffff:ff:1f.7": vmdVF})
			require.NoError(t, err)
			assert.Equal(t, added.src, back.src)

			removed, err := back.Remove(given)
			require.NoError(t, err)
			assert.Equal(t, before.src, removed.src)
		})
	}
}

// Two virtual functions whose addresses differ in the upper half of the domain
// only are two.
func TestTheWholePCIDomainCounts(t *testing.T) {
	doc, err := guest(t, "q35", root35, vfElement("")).Add(Hostdev{VF: vmdVF})
	require.NoError(t, err)
	assert.Equal(t, []Hostdev{{VF: firstVF, Model: ModelPCI}, {VF: vmdVF, Model: ModelPCI}}, doc.Hostdevs())
	doc, err = doc.Remove(firstVF)
	require.NoError(t, err)
	assert.Equal(t, []Hostdev{{VF: vmdVF, Model: ModelPCI}}, doc.Hostdevs())
}

// In the guest there is domain 0 only, for libvirt, and the error says so.
func TestGuestAddressInALargePCIDomain(t *testing.T) {
	doc := guest(t, "q35", root35)
	for _, text := range []string{"0001:00:08.0", "ffff:00:08.0", "10000:00:08.0", "ffffffff:00:08.0"} {
		address, err := ParseAddress(text)
		require.NoError(t, err)
		requireError(t, doc.CheckAddress(address), ErrInvalid, text+": the guest has PCI domain 0 only")
		_, err = doc.Add(Hostdev{VF: firstVF, Address: &address})
		requireError(t, err, ErrInvalid, "the guest has PCI domain 0 only")
		written := guest(t, "q35", root35, vfElement(pciAt(text)))
		require.NotNil(t, written.Hostdevs()[0].Address)
		assert.Equal(t, text, written.Hostdevs()[0].Address.String())
		written, err = written.WithMetadata(Metadata{VGPUs: []VGPU{{ID: "41:00.4"}}})
		require.NoError(t, err)
		requireError(t, written.Check(), ErrInvalid, "the guest has PCI domain 0 only")
	}
}

// The arguments are libvirt's. QEMU's host= takes no domain above 0xffff; what
// the documentation of VF says to write then gives it the device by its path.
func TestQEMUArgsInALargePCIDomain(t *testing.T) {
	doc, err := guest(t, "q35").Add(Hostdev{VF: vmdVF, Alias: "ua-gpu"})
	require.NoError(t, err)
	args, err := doc.QEMUArgs(QEMUOptions{Classic: true})
	require.NoError(t, err)
	assert.Equal(t, []string{"-device", "vfio-pci,host=10000:41:00.4,id=ua-gpu"}, args)

	doc = mustParse(t, strings.NewReplacer("<domain", "<domain xmlns:qemu='"+qemuSpace+"'", "</domain>", `<qemu:override><qemu:device alias='ua-gpu'><qemu:frontend>
      <qemu:property name='host' type='remove'/>
      <qemu:property name='sysfsdev' type='string' value='/sys/bus/pci/devices/10000:41:00.4'/>
    </qemu:frontend></qemu:device></qemu:override></domain>`).Replace(doc.src))
	args, err = doc.QEMUArgs(QEMUOptions{Classic: true})
	require.NoError(t, err)
	assert.Equal(t, []string{"-device", "vfio-pci,id=ua-gpu,sysfsdev=/sys/bus/pci/devices/10000:41:00.4"}, args)
}

// Whatever the virtual function's address, the document has the Hostdev that was
// added, also by its bytes alone, and Remove and Replace give back every byte.
func FuzzVFAddress(f *testing.F) {
	for _, text := range seeds() {
		f.Add([]byte(text), uint32(0x10000), uint8(0x41), uint8(0), uint8(4))
	}
	f.Add([]byte("<domain><devices/></domain>"), ^uint32(0), ^uint8(0), ^uint8(0), ^uint8(0))
	f.Fuzz(func(t *testing.T, text []byte, domain uint32, bus, slot, function uint8) {
		before, err := Parse(text)
		if err != nil {
			return
		}
		vf := Address{domain, bus, slot & 0x1f, function & 7}.String()
		want := Hostdev{VF: vf, Model: ModelPCI}
		added, err := before.Add(want)
		if err != nil {
			return
		}
		again := mustParse(t, added.src)
		hostdevs := again.Hostdevs()
		assert.Contains(t, hostdevs, want)
		assert.Len(t, hostdevs, len(before.Hostdevs())+1)
		reparse(t, added, before, func(d *Document) (*Document, error) { return d.Remove(vf) })

		other := Address{^domain, bus, slot & 0x1f, function & 7}.String()
		moved, err := again.Replace(map[string]string{vf: other})
		if err != nil {
			require.ErrorIs(t, err, ErrExists)
			return
		}
		reparse(t, moved, again, func(d *Document) (*Document, error) { return d.Replace(map[string]string{other: vf}) })
	})
}
