package domain

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vgpukit/vgpukit/internal/devicexml"
)

// spelt are elements that give a VM firstVF or firstID, as libvirt 9.0 and 11.3 were seen
// to read them, and those that give it something else or nothing.
var spelt = []struct {
	device string
	id     string // "" for none
	yes    bool   // libvirt takes it from its driver
}{
	{"<hostdev type='pci' managed='yes'><source><address bus='0x41' function='4'/></source></hostdev>", firstVF, true},
	{"<hostdev type='pci' managed='YES'><source><address bus='0x41' function='4'/></source></hostdev>", firstVF, false},
	{"<hostdev mode='subsystem' type='pci'><source><address bus='+65' function=' +04'/></source></hostdev>", firstVF, false},
	{"<hostdev type='pci'><source><address bus='&#10;&#9;0101' function='0X4'/></source></hostdev>", firstVF, false},
	{"<hostdev type='pci'><source><address bus='0b1000001' function='4'/></source></hostdev>", firstVF, false},
	{"<hostdev type='pci'><source><address bus='65 ' function='4'/></source></hostdev>", "", false},
	{"<hostdev type='pci'><source><address bus='65' function='-4'/></source></hostdev>", "", false},
	{"<hostdev type='pci'><source><address bus='' function='4'/></source></hostdev>", "", false},
	{"<hostdev type='pci'><source><address type='usb' bus='65' function='4'/></source></hostdev>", firstVF, false},
	{"<hostdev type='pci'><source><address type='usb' bus='65' function='4'/></source><source><address bus='1'/></source></hostdev>", firstVF, false},
	{"<hostdev type='pci' managed='yes'><source/><source><address bus='65' function='4'/></source></hostdev>", firstVF, true},
	{"<hostdev type='pci'><source><vendor/><address bus='65' function='4'/><address bus='1'/></source></hostdev>", firstVF, false},
	{"<hostdev type='pci'><x:source><address bus='1'/></x:source><source><x:address bus='1'/><address bus='65' function='4'/></source></hostdev>", firstVF, false},
	{"<hostdev x:type='pci' type='usb' x:managed='yes' managed='no'><source><address x:bus='65' bus='1' function='4' x:function='5'/></source></hostdev>", firstVF, true},
	{"<hostdev type='pci' managed='no' x:managed='yes'><source><address bus='65' function='4'/></source></hostdev>", firstVF, false},
	{"<hostdev type='usb' x:type='pci'><source><address bus='65' function='4'/></source></hostdev>", "", false},
	{"<hostdev xml:type='pci' xml:managed='yes' managed='no'><source><address bus='65' function='4'/></source></hostdev>", firstVF, true},
	{"<hostdev x:mode='capabilities' mode='subsystem' type='pci'><source><address bus='65' function='4'/></source></hostdev>", "", false},
	{"<x:hostdev type='pci'><source><address bus='65' function='4'/></source></x:hostdev>", "", false},
	{"<hostdev type='pci '><source><address bus='65' function='4'/></source></hostdev>", "", false},
	{"<interface type='hostdev' managed='yes'><source><address type='pci' bus='65' function='4'/></source></interface>", firstVF, true},
	{"<interface type='hostdev' managed='yes'><source><address bus='65' function='4'/></source><source><address type='pci' bus='1'/></source></interface>", firstVF, true},
	{"<interface x:type='hostdev' type='user'><source><address type='pci' bus='65' function='4'/></source></interface>", firstVF, false},
	{"<interface type='hostdev'><source><address x:type='usb' type='pci' bus='65' function='4'/></source></interface>", firstVF, false},
	{"<interface type='hostdev'><source><address type='usb' bus='65' device='4'/></source></interface>", "", false},
	{"<interface type='network'><source><address type='pci' bus='65' function='4'/></source></interface>", "", false},
	{"<interface type='hostdev' model='vfio-pci'><source><address type='mdev' uuid='" + firstID + "'/></source></interface>", firstID, false},
	{"<interface type='hostdev'><source><address uuid='" + firstID + "'/></source></interface>", firstID, false},
	{"<hostdev type='mdev' model='vfio-pci'><source/><source><address uuid='" + firstID + "'/></source></hostdev>", firstID, false},
	{"<hostdev type='mdev' model='vfio-pci'><source><address/><address uuid='" + firstID + "'/></source></hostdev>", "", false},
	{"<hostdev type='mdev' model='vfio-pci'><source><address x:uuid=' C2177883F1BB47F0914D32A22E3A8804&#10;' uuid='c0ffee00-0000-4000-8000-000000000001'/></source></hostdev>", firstID, false},
}

func withDevice(t *testing.T, device string) *Document {
	t.Helper()
	return mustParse(t, "<domain type='kvm' xmlns:x='urn:x'><name>vm</name><os><type arch='x86_64' machine='q35'>hvm</type></os><devices><emulator/>"+device+"</devices></domain>")
}

// Which device an element is, is the same for what lists, guards, edits and detaches it,
// and is what libvirt takes it for.
func TestADeviceIsWhatLibvirtTakesItFor(t *testing.T) {
	for _, tt := range spelt {
		t.Run(tt.device, func(t *testing.T) {
			d := withDevice(t, tt.device)
			id := tt.id
			if id == "" {
				id = firstVF
			}
			attached, err := devicexml.Find(d.src, 2)
			require.NoError(t, err)
			require.NotEmpty(t, attached)
			listed := attached[len(attached)-1]
			assert.Equal(t, tt.id, listed.UUID+listed.PCI)
			named, err := d.WithMetadata(Metadata{VGPUs: []VGPU{{ID: id}}})
			require.NoError(t, err)
			guarded := named.Check()
			if tt.id == "" {
				assert.Empty(t, d.Hostdevs())
				_, err := d.Remove(id)
				require.ErrorIs(t, err, ErrNotFound)
				_, err = d.Replace(map[string]string{id: "0000:41:00.5"})
				require.ErrorIs(t, err, ErrNotFound)
				return
			}
			require.Len(t, d.Hostdevs(), 1)
			assert.Equal(t, id, d.Hostdevs()[0].ID())
			assert.Equal(t, tt.yes, guarded != nil && strings.Contains(guarded.Error(), "managed='yes'"), "%v", guarded)
			removed, err := d.Remove(id)
			require.NoError(t, err)
			assert.Equal(t, strings.Replace(d.src, tt.device, "", 1), removed.src)
			h := first()
			if id == firstVF {
				h = Hostdev{VF: firstVF}
			}
			_, err = d.Add(h)
			requireError(t, err, ErrExists, "Hostdev already exists")
			moved, err := d.Replace(map[string]string{id: "0000:41:00.5"})
			if strings.Count(tt.device, "<source") > 1 && err != nil {
				requireError(t, err, ErrInvalid, "more than one <source>")
				return
			}
			require.NoError(t, err)
			moved = mustParse(t, moved.src)
			require.Len(t, moved.Hostdevs(), 1)
			assert.Equal(t, "0000:41:00.5", moved.Hostdevs()[0].VF)
			back, err := moved.Replace(map[string]string{"0000:41:00.5": firstVF})
			require.NoError(t, err)
			assert.Equal(t, firstVF, mustParse(t, back.src).Hostdevs()[0].VF)
		})
	}
}

// An interface's address keeps its type, without which libvirt refuses it.
func TestReplaceOfAnInterface(t *testing.T) {
	d := withDevice(t, "<interface type='hostdev' managed='no'><source><address type='pci' bus='65' function='4'/></source></interface>")
	moved, err := d.Replace(map[string]string{firstVF: "0000:41:00.5"})
	require.NoError(t, err)
	assert.Contains(t, moved.src, "<source><address type='pci' domain='0x0000' bus='0x41' slot='0x00' function='0x5'/></source>")
}

// Guest addresses are read with the same numbers and prefixes, in each <devices>.
func TestUsedReadsAddressesAsLibvirtDoes(t *testing.T) {
	for _, address := range []string{
		"type='pci' slot='+8'", "type='pci' slot=' 010'", "x:type='pci' type='ccw' slot='0b1000'", "type='pci' x:slot='8' slot='9'",
	} {
		for _, between := range []string{"", "</devices><devices>"} {
			d := withDevice(t, between+"<rng model='virtio'><address "+address+"/><address type='pci' slot='9'/></rng>")
			slot := Address{Slot: 8}
			assert.Contains(t, d.Used(), Use{Address: slot, By: "rng virtio"}, address)
			requireError(t, d.CheckAddress(slot), ErrInUse, "in use by rng virtio")
		}
	}
	d := withDevice(t, "<controller type='pci' index=' +1' model='pcie-root-port'/></devices><devices><controller type='pci' index='2' model='pcie-root-port'><target chassis='+9'/></controller>")
	require.NoError(t, d.CheckAddress(Address{Bus: 2}))
	assert.Equal(t, map[uint]bool{9: true}, chassisOf(d.root))
	assert.Equal(t, uint(12), bootOrder(withDevice(t, "<hostdev><boot order=' +012'/></hostdev>").root.Child("devices").Child("hostdev")))
}

// The same devices are found after an edit as before it, whatever was edited.
func TestEditsAgreeOnDevices(t *testing.T) {
	for _, one := range spelt {
		for _, other := range spelt[:8] {
			second := strings.NewReplacer("65", "66", "+65", "66", "0x41", "0x42", "0101", "0102", "0b1000001", "66").Replace(other.device)
			d := withDevice(t, one.device+"</devices><devices>"+second)
			before := fmt.Sprint(d.Hostdevs())
			added, err := d.Add(Hostdev{VF: "0000:51:00.0"})
			require.NoError(t, err)
			added, err = added.WithMetadata(someMetadata())
			require.NoError(t, err)
			again := mustParse(t, added.src)
			assert.Len(t, again.Hostdevs(), len(d.Hostdevs())+1)
			again, err = again.Remove("51:00.0")
			require.NoError(t, err)
			assert.Equal(t, before, fmt.Sprint(mustParse(t, again.src).Hostdevs()))
			for _, h := range d.Hostdevs() {
				if one.id != "" && h.ID() == one.id {
					without, err := d.Remove(h.ID())
					require.NoError(t, err)
					assert.Len(t, mustParse(t, without.src).Hostdevs(), len(d.Hostdevs())-1)
				}
			}
		}
	}
}
