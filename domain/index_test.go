package domain

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// unnumbered are PCI controllers as virt-install writes them.
func unnumbered(models ...string) []string {
	var all []string
	for _, model := range models {
		all = append(all, "<controller type='pci' model='"+model+"'/>")
	}
	return all
}

// A controller without an index gets the lowest that none of its type has written, in the
// document's order; only USB 2 controllers share one.
func TestControllerIndexes(t *testing.T) {
	for name, test := range map[string]struct {
		controllers string // type, model and index of each
		want        []int
	}{
		"none written":          {"pci/pcie-root pci/pcie-root-port pci/pcie-root-port", []int{0, 1, 2}},
		"between written ones":  {"pci/pcie-root-port/1 pci/pcie-root pci/pcie-root-port pci/pcie-root-port/3 pci/pcie-root-port", []int{1, 0, 2, 3, 4}},
		"written behind":        {"pci/pcie-root-port pci/pcie-root/0", []int{1, 0}},
		"each type by itself":   {"usb/ pci/pcie-root scsi/ usb/nec-xhci scsi//0", []int{0, 0, 1, 1, 0}},
		"a number as C reads":   {"pci/pci-root/+0 pci/pci-bridge", []int{0, 1}},
		"one that is not valid": {"pci/pci-root/x pci/pci-bridge", []int{-1, 0}},
		"companions":            {"usb/ich9-ehci1 usb/ich9-uhci1 usb/ich9-uhci2 usb/ich9-uhci3 usb/nec-xhci", []int{0, 0, 0, 0, 1}},
		"two sets":              {"usb/ich9-ehci1 usb/ich9-uhci1 usb/ich9-ehci1 usb/ich9-uhci1", []int{0, 0, 1, 1}},
		"a chain that is cut":   {"usb/ich9-ehci1 usb/nec-xhci usb/ich9-uhci1", []int{0, 1, 2}},
		"others between":        {"usb/ich9-ehci1 pci/pcie-root usb/ich9-uhci1", []int{0, 0, 0}},
		"companion of a number": {"usb/ich9-ehci1/3 usb/ich9-uhci1", []int{3, 3}},
		"a number in between":   {"usb/ich9-ehci1 usb/nec-xhci/0 usb/ich9-uhci1", []int{1, 0, 2}},
	} {
		t.Run(name, func(t *testing.T) {
			var b strings.Builder
			for _, c := range strings.Fields(test.controllers) {
				part := append(strings.Split(c, "/"), "")
				b.WriteString("<controller type='" + part[0] + "' model='" + part[1] + "'")
				if len(part) == 4 {
					b.WriteString(" index='" + part[2] + "'")
				}
				b.WriteString("/>")
			}
			devices := devicesOf(mustParse(t, "<domain><devices>"+b.String()+"</devices></domain>").root)
			indexes := numberControllers(devices).index
			var got []int
			for _, c := range devices.Children {
				i, numbered := indexes[c]
				if !numbered {
					i = -1
				}
				got = append(got, i)
			}
			assert.Equal(t, test.want, got)
		})
	}
}

// A root port that is added to what virt-install writes is numbered behind its controllers,
// whose numbers stay, and no second root is written.
func TestAddRootPortToUnnumberedControllers(t *testing.T) {
	d := guest(t, "q35", unnumbered("pcie-root", "pcie-root-port", "pcie-root-port")...)
	got, a, err := d.AddRootPort(AddressRequest{})
	require.NoError(t, err)
	assert.Equal(t, "0000:03:00.0", a.String())
	assert.Equal(t, 1, strings.Count(got.String(), "'pcie-root'"))
	assert.Equal(t, 1, strings.Count(got.String(), "index="))
	again, b, err := got.AddRootPort(AddressRequest{})
	require.NoError(t, err)
	assert.Equal(t, "0000:04:00.0", b.String())
	require.NoError(t, again.CheckAddress(b))

	_, _, err = guest(t, "q35", unnumbered("pcie-root-port")...).AddRootPort(AddressRequest{})
	requireError(t, err, ErrUnsupported, "The PCI controller with index='0' must be model='pcie-root' for this machine type, but model='pcie-root-port' was found instead")
	_, err = guest(t, "pc", unnumbered("pci-bridge")...).Free(1, AddressRequest{})
	requireError(t, err, ErrUnsupported, "must be model='pci-root' for this machine type")
}
