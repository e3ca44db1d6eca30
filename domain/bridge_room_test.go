package domain

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func virtioDisks(n int) []string {
	var disks []string
	for i := range n {
		disks = append(disks, fmt.Sprintf("<disk><target dev='vd%c%c' bus='virtio'/></disk>", 'a'+i/26, 'a'+i%26))
	}
	return disks
}

// libvirt adds a bridge for every 31 devices that find no slot, and then needs a slot for
// each bridge: as many vGPUs are planned as leave them, by what libvirt 11.3 defines.
func TestFreeLeavesSlotsForTheBridgesToCome(t *testing.T) {
	none := "<memballoon model='none'/>"
	for name, test := range map[string]struct {
		devices []string
		want    int // of the addresses on the root bus
	}{
		"no devices":                {[]string{none}, 30},
		"one, and what may come":    {append(virtioDisks(1), none), 30 - 1},
		"without a bridge":          {append(virtioDisks(20), none), 30 - 1},
		"105 disks":                 {append(virtioDisks(105), none), 14},
		"one device more":           {virtioDisks(105), 13},
		"a bridge that is there":    {append(virtioDisks(105), none, pciController(1, "pci-bridge", "00:03.0")), 14},
		"a bridge without address":  {append(virtioDisks(105), none, "<controller type='pci' index='1' model='pci-bridge'/>"), 14},
		"controllers of more disks": {append(virtioDisks(101), none, "<disk><target dev='sdz' bus='scsi'/></disk>"), 14},
		"channels, on one":          {append(virtioDisks(104), none, "<channel><target type='virtio'/></channel><channel><target type='virtio'/></channel>"), 14},
		"a screen, in its place":    {append(virtioDisks(105), none, "<video><model type='vga'/></video>"), 13},
		"a document that is full":   {append(virtioDisks(120), none), 0},
	} {
		t.Run(name, func(t *testing.T) {
			d := guest(t, "pc", test.devices...)
			var free []Address
			for n := 1; ; n++ {
				more, err := d.Free(n, AddressRequest{})
				if err != nil {
					break
				}
				free = more
			}
			assert.Len(t, free, test.want)
		})
	}
}

// The address that takes the slot of a bridge to come is refused by itself as well.
func TestCheckAddressLeavesSlotsForTheBridgesToCome(t *testing.T) {
	var vgpus []string
	for slot := 2; slot < 2+14; slot++ {
		vgpus = append(vgpus, at(fmt.Sprintf("00:%02x.0", slot)))
	}
	d := guest(t, "pc", append(append(virtioDisks(105), "<memballoon model='none'/>"), vgpus...)...)
	requireError(t, d.CheckAddress(Address{Slot: 0x10}), ErrInvalid, "no slot for the 105 devices without an address and the bridges for them")
	require.NoError(t, guest(t, "pc", append(append(virtioDisks(105), "<memballoon model='none'/>"), vgpus[1:]...)...).CheckAddress(Address{Slot: 2}))
}

// A PCI bridge without an address needs a PCIe port, which libvirt does not add for it: one
// is left for each, and for each switch that is numbered before one.
func TestFreeLeavesPortsForBridges(t *testing.T) {
	ports := unnumbered("pcie-root", "pcie-root-port", "pcie-root-port", "pcie-root-port")
	for models, want := range map[string]int{
		"": 3, "pcie-to-pci-bridge": 2, "pcie-switch-upstream-port": 3, "pcie-to-pci-bridge pcie-switch-upstream-port": 2,
		"pcie-switch-upstream-port pcie-to-pci-bridge": 1, "pcie-to-pci-bridge pcie-to-pci-bridge pcie-to-pci-bridge": 0,
	} {
		d := guest(t, "q35", append(ports, unnumbered(strings.Fields(models)...)...)...)
		behind := 0
		for _, a := range topologyOf(d.root, nil).free(AddressRequest{Hotplug: true}) {
			if a.Slot == 0 {
				behind++
			}
		}
		assert.Equal(t, want, behind, models)
		if err := d.CheckAddress(Address{Bus: 3}); want == 0 {
			requireError(t, err, ErrInvalid, "the last free PCIe ports are needed by the PCI bridges")
		} else {
			require.NoError(t, err, models)
		}
	}
	_, _, err := guest(t, "q35", unnumbered("pcie-root", "pcie-to-pci-bridge")...).AddRootPort(AddressRequest{})
	requireError(t, err, ErrInvalid, "fewer free PCIe ports than PCI bridges")
}
