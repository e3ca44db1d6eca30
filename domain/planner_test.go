package domain

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// guest makes a document of a machine type ("q35", or with its architecture
// "aarch64/virt") and device elements.
func guest(t testing.TB, machine string, devices ...string) *Document {
	t.Helper()
	doc, err := Parse([]byte(guestText(machine, devices...)))
	require.NoError(t, err)
	return doc
}

func guestText(machine string, devices ...string) string {
	arch := "x86_64"
	if a, m, ok := strings.Cut(machine, "/"); ok {
		arch, machine = a, m
	}
	text := "<domain type='qemu'>\n  <name>guest</name>\n  <os>\n    <type arch='" + arch + "' machine='" + machine +
		"'>hvm</type>\n  </os>\n  <devices>\n"
	for _, dev := range devices {
		if dev == acpi {
			text = strings.Replace(text, "  <devices>", "  "+acpi+"\n  <devices>", 1)
			continue
		}
		text += "    " + dev + "\n"
	}
	return text + "  </devices>\n</domain>\n"
}

// at is a device with an address: any device will do.
func at(address string, attrs ...string) string {
	return "<rng model='virtio'>" + pciAt(address, attrs...) + "</rng>"
}

func pciAt(address string, attrs ...string) string {
	a, err := ParseAddress(address)
	if err != nil {
		panic(err)
	}
	return fmt.Sprintf("<address type='pci' domain='%#04x' bus='%#02x' slot='%#02x' function='%#x' %s/>",
		a.Domain, a.Bus, a.Slot, a.Function, strings.Join(attrs, " "))
}

func pciController(index int, model, address string, inner ...string) string {
	if address != "" {
		inner = append(inner, pciAt(address))
	}
	return fmt.Sprintf("<controller type='pci' index='%d' model='%s'>%s</controller>", index, model, strings.Join(inner, ""))
}

const (
	balloonNone = "<memballoon model='none'/>"
	acpi        = "<features><acpi/></features>" // goes before <devices>
	usbNone     = "<controller type='usb' model='none'/>"
)

// What is taken is what is written, and what QEMU and libvirt put there
// unwritten; each with the name of who has it.
func TestUsed(t *testing.T) {
	for _, test := range []struct {
		name, machine string
		devices       []string
		want          string
	}{
		{
			"q35 chipset", "q35", nil,
			"00:00.0 (q35 host bridge) 00:1f.0 (q35 ISA bridge) 00:1f.2 (q35 SATA controller) 00:1f.3 (q35 SMBus)",
		},
		{
			"written SATA", "pc-q35-9.2",
			[]string{"<controller type='sata' index='0'>" + pciAt("00:1f.2") + "</controller>"},
			"00:00.0 (q35 host bridge) 00:1f.0 (q35 ISA bridge) 00:1f.2 controller sata 0 00:1f.3 (q35 SMBus)",
		},
		{
			"i440fx chipset", "pc", nil,
			"00:00.0 (i440fx host bridge) 00:01.0 (i440fx ISA bridge) 00:01.1 (i440fx IDE controller) 00:01.2 (i440fx USB controller) 00:01.3 (i440fx power management)",
		},
		{
			"i440fx without USB", "pc-i440fx-9.2",
			[]string{usbNone},
			"00:00.0 (i440fx host bridge) 00:01.0 (i440fx ISA bridge) 00:01.1 (i440fx IDE controller) 00:01.3 (i440fx power management)",
		},
		{
			"i440fx with another USB", "pc",
			[]string{"<controller type='usb' index='0' model='qemu-xhci'/>"},
			"00:00.0 (i440fx host bridge) 00:01.0 (i440fx ISA bridge) 00:01.1 (i440fx IDE controller) 00:01.3 (i440fx power management)",
		},
		{"virt", "aarch64/virt-9.2", nil, "00:00.0 (virt host bridge)"},
		{"pseries", "ppc64/pseries", nil, ""},
		{"s390", "s390x/s390-ccw-virtio", nil, ""},
		{"microvm", "microvm", nil, ""},
		{"isapc", "isapc", nil, ""},
		{"video without an address", "aarch64/virt", []string{"<video><model type='virtio'/></video>"}, "00:00.0 (virt host bridge)"},
		{"who", "ppc64/pseries", []string{
			"<interface type='user'><mac address='52:54:00:12:34:56'/><source><address type='pci' bus='9' slot='9'/></source>" + pciAt("00:03.0") + "</interface>",
			"<disk type='file'><target dev='vda' bus='virtio'/>" + pciAt("00:02.0") + "</disk>",
			"<hostdev mode='subsystem' type='mdev' model='vfio-pci'><source><address uuid='C2177883-F1BB-47F0-914D-32A22E3A8804'/></source>" + pciAt("00:05.0") + "</hostdev>",
			"<hostdev mode='subsystem' type='pci'><source><address domain='0' bus='0x41' slot='0' function='4'/></source>" + pciAt("00:04.0") + "</hostdev>",
			"<memballoon model='virtio'>" + pciAt("00:06.0") + "</memballoon>",
			"<video><model type='vga'/>" + pciAt("00:01.0") + "</video>",
		}, "00:01.0 video vga 00:02.0 disk vda 00:03.0 interface 52:54:00:12:34:56 00:04.0 hostdev 0000:41:00.4 " +
			"00:05.0 hostdev c2177883-f1bb-47f0-914d-32a22e3a8804 00:06.0 memballoon virtio"},
		{"twice", "ppc64/pseries", []string{at("00:03.0"), at("00:03.0")}, "00:03.0 rng virtio 00:03.0 rng virtio"},
		{"not an address for libvirt", "ppc64/pseries", []string{
			"<rng model='virtio'><address type='pci'/></rng>", "<rng model='virtio'>" + pciAt("00:00.0") + "</rng>",
			"<rng model='virtio'><address type='ccw' cssid='0xfe' ssid='0' devno='1'/></rng>",
			"<rng model='virtio'><address type='pci' bus='0x100' slot='1'/></rng>",
			"<rng model='virtio'><address type='pci' bus='0' slot='08'/></rng>",
		}, ""},
		{
			"numbers as in C", "ppc64/pseries",
			[]string{"<rng model='virtio'><address type='pci' domain='0' bus='010' slot='0X1f' function='7'/></rng>"},
			"08:1f.7 rng virtio",
		},
		{"primary video on q35", "q35", []string{"<video><model type='vga'/></video>"}, // qemuDomainValidateDevicePCISlotsQ35
			"00:00.0 (q35 host bridge) 00:01.0 (primary video) 00:1f.0 (q35 ISA bridge) 00:1f.2 (q35 SATA controller) 00:1f.3 (q35 SMBus)"},
		{"graphics bring a video card", "pc", []string{usbNone, "<graphics type='vnc'/>"}, // virDomainDefAddImplicitVideo
			"00:00.0 (i440fx host bridge) 00:01.0 (i440fx ISA bridge) 00:01.1 (i440fx IDE controller) 00:01.3 (i440fx power management) 00:02.0 (primary video)"},
		{
			"no video", "pc",
			[]string{usbNone, "<graphics type='vnc'/>", "<video><model type='none'/></video>"},
			"00:00.0 (i440fx host bridge) 00:01.0 (i440fx ISA bridge) 00:01.1 (i440fx IDE controller) 00:01.3 (i440fx power management)",
		},
		{
			"the primary is marked", "pc",
			[]string{usbNone, "<video><model type='qxl'/></video>", "<video><model type='vga' primary='yes'/>" + pciAt("00:09.0") + "</video>"},
			"00:00.0 (i440fx host bridge) 00:01.0 (i440fx ISA bridge) 00:01.1 (i440fx IDE controller) 00:01.3 (i440fx power management) 00:09.0 video vga",
		},
		{
			"its place is taken", "pc",
			[]string{usbNone, "<video><model type='vga'/></video>", at("00:02.0")},
			"00:00.0 (i440fx host bridge) 00:01.0 (i440fx ISA bridge) 00:01.1 (i440fx IDE controller) 00:01.3 (i440fx power management) 00:02.0 rng virtio",
		},
		{"USB companions share a slot", "ppc64/pseries", []string{ // qemuDomainAssignDevicePCISlots
			"<controller type='usb' index='0' model='ich9-ehci1'>" + pciAt("00:04.7") + "</controller>",
			"<controller type='usb' index='0' model='ich9-uhci1'><master startport='0'/></controller>",
			"<controller type='usb' index='1' model='ich9-uhci2'><master startport='0'/></controller>",
		}, "00:04.0 (controller usb 0 ich9-uhci1) 00:04.7 controller usb 0 ich9-ehci1"},
		{"a console repeats a serial port", "ppc64/pseries", []string{
			"<serial type='pty'><target type='pci-serial' port='0'><model name='pci-serial'/></target><alias name='serial0'/>" + pciAt("00:04.0") + "</serial>",
			"<console type='pty'><target type='serial' port='0'/>" + pciAt("00:04.0") + "</console>",
		}, "00:04.0 serial serial0"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var got []string
			for _, u := range guest(t, test.machine, test.devices...).Used() {
				by := u.By
				if u.Implicit {
					by = "(" + by + ")"
				}
				got = append(got, strings.TrimPrefix(u.Address.String(), "0000:")+" "+by)
			}
			assert.Equal(t, test.want, strings.Join(got, " "))
		})
	}
}

// An address that libvirt or QEMU would not take is refused, with the reason;
// what they take is accepted. Each rule with its source in libvirt 11.3
// (da: conf/domain_addr.c, qa: qemu/qemu_domain_address.c) or QEMU 10.0.
func TestCheckAddress(t *testing.T) {
	switched := []string{
		pciController(0, "pcie-root", ""), pciController(1, "pcie-root-port", "00:02.0"),
		pciController(2, "pcie-switch-upstream-port", "01:00.0"), pciController(3, "pcie-switch-downstream-port", "02:00.0"),
		pciController(4, "pcie-root-port", "00:02.1"), pciController(5, "pcie-to-pci-bridge", "04:00.0"),
		pciController(6, "pci-bridge", "05:01.0"), pciController(7, "dmi-to-pci-bridge", "00:1e.0"),
		pciController(8, "pcie-expander-bus", "00:03.0"), pciController(9, "pcie-root-port", "08:00.0"),
	}
	bridged := []string{
		usbNone, pciController(0, "pci-root", ""), pciController(1, "pci-bridge", "00:05.0"),
		pciController(2, "pci-expander-bus", "00:06.0"),
	}
	const ok = ""
	for _, test := range []struct {
		name, machine string
		devices       []string
		address       string
		want          string // part of the error, or ok
		by            error
	}{
		{"the classic place", "q35", nil, "00:08.0", ok, nil},
		{"the classic place", "pc", nil, "00:08.0", ok, nil},
		{"first slot", "q35", nil, "00:01.0", ok, nil},
		{"last slot of i440fx", "pc", nil, "00:1f.0", ok, nil},
		{"another PCI domain", "q35", nil, "0001:00:08.0", "PCI domain 0 only", ErrInvalid}, // da virDomainPCIAddressValidate
		{"no such bus", "q35", nil, "01:00.0", "bus 1 does not exist", ErrInvalid},          // qa would add a root port
		{"no such bus", "pc", nil, "01:01.0", "bus 1 does not exist", ErrInvalid},           // qa would add a bridge
		{"stands for none", "q35", nil, "00:00.1", "no address", ErrInvalid},                // virPCIDeviceAddressIsEmpty
		{"host bridge", "q35", nil, "00:00.0", "in use by q35 host bridge", ErrInUse},
		{"ISA bridge", "q35", nil, "00:1f.0", "in use by q35 ISA bridge", ErrInUse}, // qa …SlotsQ35
		{"SATA", "q35", nil, "00:1f.2", "in use by q35 SATA controller", ErrInUse},
		{"SMBus", "q35", nil, "00:1f.3", "in use by q35 SMBus", ErrInUse},
		{"beside the chipset", "q35", nil, "00:1f.1", ok, nil},
		{"beside the chipset", "q35", nil, "00:1f.7", ok, nil},
		{"ISA bridge", "pc", nil, "00:01.0", "in use by i440fx ISA bridge", ErrInUse}, // qa …SlotsPIIX3
		{"IDE", "pc", nil, "00:01.1", "in use by i440fx IDE controller", ErrInUse},    // QEMU pc_piix.c
		{"USB", "pc", nil, "00:01.2", "in use by i440fx USB controller", ErrInUse},
		{"no USB", "pc", []string{usbNone}, "00:01.2", ok, nil},
		{"power management", "pc", nil, "00:01.3", "in use by i440fx power management", ErrInUse},
		{"beside the chipset", "pc", nil, "00:01.4", ok, nil},
		{"written", "q35", []string{at("00:08.0")}, "00:08.0", "in use by rng virtio", ErrInUse}, // da "double use"
		{"primary video", "q35", []string{"<video><model type='vga'/></video>"}, "00:01.0", "in use by primary video", ErrInUse},
		{"primary video's slot", "q35", []string{"<video><model type='vga'/></video>"}, "00:01.1", "in use by primary video", ErrInUse},
		{"primary video", "pc", []string{"<graphics type='vnc'/>"}, "00:02.0", "in use by primary video", ErrInUse},
		{"not the video's place", "pc", []string{"<graphics type='vnc'/>"}, "00:01.4", ok, nil},
		{"video elsewhere", "pc", []string{"<video><model type='vga'/>" + pciAt("00:05.0") + "</video>"}, "00:02.0", ok, nil},

		{"nothing on function 0", "q35", nil, "00:08.1", "nothing is on function 0", ErrInvalid},
		{"function 0 there", "q35", []string{at("00:08.0")}, "00:08.1", ok, nil}, // da virDomainPCIAddressSetAllMulti
		{"marked", "q35", []string{at("00:08.0", "multifunction='on'")}, "00:08.7", ok, nil},
		{"marked off", "q35", []string{at("00:08.0", "multifunction='off'")}, "00:08.1", "multifunction='off'", ErrInvalid}, // QEMU pci.c
		{"function 0 after others", "q35", []string{at("00:08.1")}, "00:08.0", ok, nil},
		{"beside root ports", "q35", switched, "00:02.2", ok, nil},

		{"root port", "q35", switched, "03:00.0", ok, nil},
		{"root port has one slot", "q35", switched, "09:01.0", "the last slot of bus 9", ErrInvalid}, // da …BusSetModel
		{"in a full root port", "q35", switched, "01:00.0", "in use by controller pci 2", ErrInUse},
		{"switch upstream", "q35", switched, "02:01.0", "takes controllers", ErrInvalid},
		{"switch downstream", "q35", switched, "03:00.0", ok, nil},
		{"switch downstream has one slot", "q35", switched, "03:01.0", "the last slot", ErrInvalid},
		{"PCIe to PCI, slot 0", "q35", switched, "05:00.0", "the first slot", ErrInvalid},
		{"PCIe to PCI", "q35", switched, "05:02.0", ok, nil},
		{"PCIe to PCI, last", "q35", switched, "05:1f.0", ok, nil},
		{"PCI bridge, slot 0", "q35", switched, "06:00.0", "the first slot", ErrInvalid},
		{"PCI bridge", "q35", switched, "06:1f.0", ok, nil},
		{"DMI to PCI, slot 0", "q35", switched, "07:00.0", ok, nil},
		{"PCIe expander", "q35", switched, "08:01.0", "takes controllers", ErrInvalid},
		{"behind the expander", "q35", switched, "09:00.0", ok, nil},
		{"behind the switches", "q35", switched, "0a:00.0", "bus 10 does not exist, the last is 9", ErrInvalid},
		{"PCI bridge", "pc", bridged, "01:01.0", ok, nil},
		{"PCI bridge, slot 0", "pc", bridged, "01:00.0", "the first slot", ErrInvalid},
		{"PCI expander, slot 0", "pc", bridged, "02:00.0", ok, nil},
		{"PCI expander", "pc", bridged, "02:1f.0", ok, nil},
		{"a bus that a gap leaves", "q35", []string{pciController(3, "pcie-root-port", "00:02.0")}, "02:00.0", ok, nil}, // qa qemuDomainPCIAddressSetCreate
		{"a bus that a device needs", "q35", []string{at("02:00.0")}, "01:00.0", ok, nil},                               // da virDomainPCIAddressSetGrow
		{"without index", "q35", unnumbered("pcie-root", "pcie-root-port"), "01:00.0", ok, nil},                         // virDomainAssignControllerIndexes
		{"without index, the root", "q35", unnumbered("pcie-root", "pcie-root-port"), "00:08.0", ok, nil},
		{"without index, the last", "q35", unnumbered("pcie-root", "pcie-root-port"), "02:00.0", "the last is 1", ErrInvalid},
		{"without index, after another", "q35", append(unnumbered("pcie-root", "pcie-root-port"), pciController(1, "pcie-root-port", "")), "02:00.0", ok, nil},
		{"without index, where the root belongs", "q35", unnumbered("pcie-root-port"), "00:08.0", "index 0 is none", ErrInvalid},
		{"bridges without index", "pc", unnumbered("pci-root", "pci-bridge"), "01:01.0", ok, nil},

		{"virt", "aarch64/virt", nil, "00:01.0", ok, nil},
		{"virt, host bridge", "aarch64/virt", nil, "00:00.0", "in use by virt host bridge", ErrInUse},
		{"riscv", "riscv64/virt", nil, "00:01.0", ok, nil},
		{"loongarch", "loongarch64/virt", nil, "00:1f.0", ok, nil},
		{"pseries", "ppc64/pseries", nil, "00:01.0", ok, nil},
		{"pseries, slot 0", "ppc64/pseries", nil, "00:00.0", "no address", ErrInvalid},
		{"second host bridge", "ppc64/pseries", []string{pciController(1, "pci-root", "")}, "01:01.0", ok, nil},
		{"no second host bridge", "ppc64/pseries", nil, "01:01.0", "does not exist", ErrInvalid},
		{"wrong root", "q35", []string{pciController(0, "pci-root", "")}, "00:08.0", "index 0 is none", ErrInvalid}, // qemuDomainDefAddDefaultDevices
		{"a second root", "q35", []string{pciController(1, "pcie-root", "")}, "01:08.0", "index 1 is none", ErrInvalid},
		{"s390 by zPCI", "s390x/s390-ccw-virtio", nil, "00:01.0", ok, nil},
		{"microvm", "microvm", nil, "00:01.0", "has no PCI bus", ErrInvalid},
		{"isapc", "isapc", nil, "00:01.0", "has no PCI bus", ErrInvalid},
	} {
		t.Run(test.machine+" "+test.name+" "+test.address, func(t *testing.T) {
			a, err := ParseAddress(test.address)
			require.NoError(t, err)
			err = guest(t, test.machine, test.devices...).CheckAddress(a)
			if test.want == ok {
				require.NoError(t, err)
				return
			}
			require.ErrorIs(t, err, test.by)
			require.ErrorContains(t, err, test.want)
			var e *Error
			require.ErrorAs(t, err, &e)
			assert.Contains(t, e.Object, a.String())
			assert.NotEmpty(t, e.Meaning)
			assert.NotEmpty(t, e.Hint())
		})
	}
}

// Slots and functions that cannot be are refused, whatever made the Address.
func TestCheckAddressOutOfRange(t *testing.T) {
	doc := guest(t, "q35")
	require.ErrorIs(t, doc.CheckAddress(Address{Slot: 0x20}), ErrInvalid)
	require.ErrorIs(t, doc.CheckAddress(Address{Slot: 8, Function: 8}), ErrInvalid)
	require.ErrorIs(t, doc.CheckAddress(Address{Bus: 0xff, Slot: 0xff, Function: 0xff}), ErrInvalid)
}

// The last slot of a PCI machine is not given away while a device still needs
// one: libvirt has nowhere to put a bridge then.
func TestCheckAddressLastSlot(t *testing.T) {
	devices := []string{usbNone, balloonNone}
	for slot := 2; slot < 0x1f; slot++ {
		devices = append(devices, at(fmt.Sprintf("00:%02x.0", slot)))
	}
	last := Address{Slot: 0x1f}
	require.NoError(t, guest(t, "pc", devices...).CheckAddress(last))
	waiting := append(devices[:len(devices):len(devices)], "<rng model='virtio'/>")
	require.ErrorIs(t, guest(t, "pc", waiting...).CheckAddress(last), ErrInvalid)
	_, err := guest(t, "pc", waiting...).Free(1, AddressRequest{})
	require.ErrorIs(t, err, ErrNotFound)
	// A function of a slot that is taken costs no slot.
	require.NoError(t, guest(t, "pc", waiting...).CheckAddress(Address{Slot: 3, Function: 1}))
	// A bridge with room ends the shortage.
	bridge := append([]string{pciController(1, "pci-bridge", "00:02.0")}, waiting[:2]...)
	bridge = append(bridge, waiting[3:]...)
	require.NoError(t, guest(t, "pc", bridge...).CheckAddress(last))
}

// A device's own address is no obstacle to itself, another's is.
func TestCheckAddressOfDevice(t *testing.T) {
	doc := guest(t, "q35", at("00:08.0"), at("00:09.0"), at("00:09.0"))
	devices := doc.root.Child("devices").Children
	require.NoError(t, doc.checkAddressOf(devices[0], Address{Slot: 8}))
	require.ErrorIs(t, doc.checkAddressOf(devices[1], Address{Slot: 9}), ErrInUse)
}

// Whatever is written, reading it does not fail.
func TestTopologyOfNonsense(t *testing.T) {
	for _, devices := range [][]string{
		{"<controller type='pci' index='-1' model='pcie-root-port'/>", "<controller type='pci' index='999999999999' model='x'/>"},
		{"<controller type='pci' index='1'/>", "<controller type='pci' index='1' model='pci-bridge'/>"},
		{pciController(1, "pcie-root-port", "02:00.0"), pciController(2, "pcie-root-port", "01:00.0")}, // a loop
		{pciController(255, "pci-bridge", ""), at("ff:1f.7"), at("ffff:ff:1f.7")},
		{"<controller type='pci' index='0' model='none such'/>"},
	} {
		for _, machine := range []string{"q35", "pc", "microvm", "ppc64/pseries"} {
			doc := guest(t, machine, devices...)
			doc.Used()
			node := 1
			for _, req := range []AddressRequest{{}, {Hotplug: true}, {NUMANode: &node}} {
				if _, err := doc.Free(3, req); err != nil && !errors.Is(err, ErrNotFound) && !errors.Is(err, ErrUnsupported) {
					t.Error(err)
				}
				if _, _, err := doc.AddRootPort(req); err != nil && !errors.Is(err, ErrNotFound) && !errors.Is(err, ErrUnsupported) {
					t.Error(err)
				}
			}
			for bus := range 256 {
				_ = doc.CheckAddress(Address{Bus: uint8(bus), Slot: 1})
			}
		}
	}
	doc, err := Parse([]byte("<domain/>"))
	require.NoError(t, err)
	assert.Len(t, doc.Used(), 5, "a document that says nothing is an i440fx")
}
