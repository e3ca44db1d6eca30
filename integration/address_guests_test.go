//go:build integration

package integration

import (
	"fmt"
	"strings"

	"github.com/google/uuid"

	"github.com/vgpukit/vgpukit/domain"
)

// All guests are one to libvirt, each definition replacing the one before.
const (
	addressGuestName = "vgpukit-address"
	addressGuestUUID = "6b1d2c5e-7f0a-4c39-9d0e-3a5f8e21c704"
)

// addressGuest is a document with a place for more devices.
type addressGuest struct {
	machine string
	devices []string
	acpi    bool
}

// The guests that addresses are tried on: nothing but the machine; PCIe with
// everything that can be below it; PCI with bridges; with a video card that has
// no address; with neighbours; and full.
var addressGuests = map[string]addressGuest{
	"q35": {machine: "q35"},
	"q35 tree": {machine: "q35", devices: []string{
		pciController(0, "pcie-root", ""), pciController(1, "pcie-root-port", "00:02.0"),
		pciController(2, "pcie-switch-upstream-port", "01:00.0"), pciController(3, "pcie-switch-downstream-port", "02:00.0"),
		pciController(4, "pcie-root-port", "00:02.1"), pciController(5, "pcie-to-pci-bridge", "04:00.0"),
		pciController(6, "pci-bridge", "05:01.0"), pciController(7, "dmi-to-pci-bridge", "00:1e.0"),
		pciController(8, "pcie-expander-bus", "00:03.0", "<target busNr='200'/>"), pciController(9, "pcie-root-port", "08:00.0"),
		pciController(10, "pcie-root-port", "00:02.2", "<target hotplug='off'/>"),
	}},
	// As virt-install writes them.
	"q35 unnumbered": {machine: "q35", devices: unnumbered("pcie-root", "pcie-root-port", "pcie-root-port")},
	"pc unnumbered":  {machine: "pc", devices: unnumbered("pci-root", "pci-bridge")},

	"q35 gap":   {machine: "q35", devices: []string{pciController(3, "pcie-root-port", "00:02.0")}},
	"q35 video": {machine: "q35", devices: []string{"<graphics type='vnc' autoport='yes'/>", "<video><model type='vga'/></video>"}},
	"q35 beside": {machine: "q35", devices: []string{
		rngAt("00:08.0"), rngAt("00:09.0", "multifunction='on'"), rngAt("00:0a.0", "multifunction='off'"), rngAt("00:0b.1"),
	}},
	"pc":     {machine: "pc"},
	"pc usb": {machine: "pc", devices: []string{"<controller type='usb' index='0' model='piix3-uhci'/>"}},
	"pc tree": {machine: "pc", devices: []string{
		pciController(0, "pci-root", ""), pciController(1, "pci-bridge", "00:05.0"),
		pciController(2, "pci-expander-bus", "00:06.0", "<target busNr='200'/>"), pciController(3, "pci-bridge", "01:1f.0"),
		pciController(4, "pci-bridge", "02:05.0"),
	}},
	"pc video":  {machine: "pc", devices: []string{"<graphics type='vnc' autoport='yes'/>", "<video><model type='vga'/></video>"}},
	"pc beside": {machine: "pc", devices: []string{rngAt("00:08.0"), rngAt("00:09.0", "multifunction='on'"), rngAt("00:0a.0", "multifunction='off'")}},
	"pc full":   {machine: "pc", devices: append(rngs(2, 0x1e), rng(""))},
	"pc filled": {machine: "pc", devices: rngs(2, 0x1e)},
}

// Who refuses an address that we refuse.
const (
	accepted      = ""
	byDefine      = "libvirt refuses to define it"
	byMoving      = "libvirt puts the device elsewhere"
	byControllers = "libvirt adds controllers that nobody asked for"
	byVideo       = "libvirt moves the primary video card away"
	byStart       = "QEMU does not start"
	byGuest       = "the guest's firmware does not see the device"
)

var addressCases = []struct {
	guest, address, refused string
}{
	{"q35", "00:01.0", accepted},
	{"q35", "00:08.0", accepted},
	{"q35", "00:1e.0", accepted},
	{"q35", "00:1f.1", accepted},
	{"q35", "00:1f.7", accepted},
	{"q35", "00:00.0", byMoving},
	{"q35", "00:00.5", byMoving},
	{"q35", "00:1f.0", byDefine},
	{"q35", "00:1f.2", byDefine},
	{"q35", "00:1f.3", byDefine},
	{"q35", "0001:00:08.0", byDefine},
	{"q35", "01:00.0", byControllers},
	{"q35", "05:00.0", byControllers},
	{"q35", "01:01.0", byDefine},
	{"q35", "00:08.1", byGuest},
	{"q35 tree", "00:02.3", accepted},
	{"q35 tree", "00:08.0", accepted},
	{"q35 tree", "03:00.0", accepted},
	{"q35 tree", "05:02.0", accepted},
	{"q35 tree", "05:1f.0", accepted},
	{"q35 tree", "06:01.0", accepted},
	{"q35 tree", "06:1f.0", accepted},
	{"q35 tree", "07:00.0", accepted},
	{"q35 tree", "07:05.0", accepted},
	{"q35 tree", "09:00.0", accepted},
	{"q35 tree", "0a:00.0", accepted},
	{"q35 tree", "00:02.0", byDefine},
	{"q35 tree", "00:03.0", byDefine},
	{"q35 tree", "01:00.0", byDefine},
	{"q35 tree", "01:00.1", accepted},
	{"q35 tree", "02:01.0", byDefine},
	{"q35 tree", "03:01.0", byDefine},
	{"q35 tree", "05:00.0", byDefine},
	{"q35 tree", "06:00.0", byDefine},
	{"q35 tree", "08:01.0", byDefine},
	{"q35 tree", "0a:01.0", byDefine},
	{"q35 tree", "0b:00.0", byControllers},
	{"q35 unnumbered", "00:08.0", accepted},
	{"q35 unnumbered", "01:00.0", accepted},
	{"q35 unnumbered", "02:00.0", accepted},
	{"q35 unnumbered", "03:00.0", byControllers},
	{"q35 gap", "01:00.0", accepted},
	{"q35 gap", "03:00.0", accepted},
	{"q35 video", "00:02.0", accepted},
	{"q35 video", "00:01.0", byVideo},
	{"q35 video", "00:01.1", byVideo},
	{"q35 beside", "00:08.1", accepted},
	{"q35 beside", "00:09.7", accepted},
	{"q35 beside", "00:0b.0", accepted},
	{"q35 beside", "00:08.0", byDefine},
	{"q35 beside", "00:0a.1", byStart},
	{"pc", "00:02.0", accepted},
	{"pc", "00:08.0", accepted},
	{"pc", "00:1f.0", accepted},
	{"pc", "00:01.2", accepted},
	{"pc", "00:01.4", accepted},
	{"pc", "00:01.7", accepted},
	{"pc", "00:00.0", byMoving},
	{"pc", "00:01.0", byDefine},
	{"pc", "00:01.1", byStart},
	{"pc", "00:01.3", byDefine},
	{"pc", "01:01.0", byControllers},
	{"pc", "00:08.1", byGuest},
	{"pc usb", "00:01.2", byDefine},
	{"pc tree", "01:01.0", accepted},
	{"pc tree", "02:00.0", accepted},
	{"pc tree", "02:1f.0", accepted},
	{"pc tree", "03:01.0", accepted},
	{"pc tree", "01:00.0", byDefine},
	{"pc tree", "01:1f.0", byDefine},
	{"pc tree", "03:00.0", byDefine},
	{"pc tree", "04:01.0", accepted},
	{"pc tree", "05:01.0", byControllers},
	{"pc unnumbered", "01:01.0", accepted},
	{"pc unnumbered", "01:00.0", byDefine},
	{"pc unnumbered", "02:01.0", byControllers},
	{"pc video", "00:03.0", accepted},
	{"pc video", "00:02.0", byVideo},
	{"pc beside", "00:08.1", accepted},
	{"pc beside", "00:09.3", accepted},
	{"pc beside", "00:0a.1", byStart},
	{"pc full", "00:1f.0", byDefine},
	{"pc full", "00:1e.1", accepted},
	{"pc filled", "00:1f.0", accepted},
}

func (g addressGuest) text(more string) string {
	features := ""
	if g.acpi {
		features = "<features><acpi/></features>"
	}
	return `<domain type='qemu'>
  <name>` + addressGuestName + `</name>
  <uuid>` + addressGuestUUID + `</uuid>
  <memory unit='MiB'>64</memory>
  <vcpu>1</vcpu>
  <os>
    <type arch='x86_64' machine='` + g.machine + `'>hvm</type>
  </os>
  ` + features + `
  <devices>
    <emulator>/usr/bin/qemu-system-x86_64</emulator>
` + usbUnless(g.devices) + strings.Join(g.devices, "\n") + "\n" + more + `
    <memballoon model='none'/>
  </devices>
</domain>
`
}

func usbUnless(devices []string) string {
	for _, d := range devices {
		if strings.Contains(d, "type='usb'") {
			return ""
		}
	}
	return "<controller type='usb' index='0' model='none'/>\n"
}

func pciController(index int, model, address string, inner ...string) string {
	if address != "" {
		inner = append(inner, addressElement(address))
	}
	return fmt.Sprintf("<controller type='pci' index='%d' model='%s'>%s</controller>", index, model, strings.Join(inner, ""))
}

// unnumbered are controllers that leave their indexes to libvirt.
func unnumbered(models ...string) []string {
	var all []string
	for _, model := range models {
		all = append(all, "<controller type='pci' model='"+model+"'/>")
	}
	return all
}

func rngAt(address string, attrs ...string) string { return rng(addressElement(address, attrs...)) }

func rng(inner string) string {
	return "<rng model='virtio'><backend model='random'>/dev/urandom</backend>" + inner + "</rng>"
}

// rngs fills the slots of bus 0 from first to last.
func rngs(first, last int) []string {
	var all []string
	for slot := first; slot <= last; slot++ {
		all = append(all, rngAt(fmt.Sprintf("00:%02x.0", slot)))
	}
	return all
}

func hostdevElement(id uuid.UUID, address string) string {
	return "<hostdev mode='subsystem' type='mdev' model='vfio-pci'><source><address uuid='" + id.String() + "'/></source>" +
		addressElement(address) + "</hostdev>"
}

func addressElement(address string, attrs ...string) string {
	a, err := domain.ParseAddress(address)
	if err != nil {
		panic(err)
	}
	return fmt.Sprintf("<address type='pci' domain='%#04x' bus='%#02x' slot='%#02x' function='%#x' %s/>",
		a.Domain, a.Bus, a.Slot, a.Function, strings.Join(attrs, " "))
}
