package domain

import (
	"testing"
)

// On no document does the planner fail, contradict itself, or offer what is in
// use.
func FuzzPlanner(f *testing.F) {
	f.Add(guestText("q35", pciController(1, "pcie-root-port", "00:02.0"), at("01:00.0"), "<video><model type='vga'/></video>"), uint8(1), uint8(0))
	f.Add(guestText("pc", pciController(2, "pci-expander-bus", "00:02.0", "<target busNr='200'><node>1</node></target>"), at("03:00.1")), uint8(8), uint8(1))
	f.Add(guestText("ppc64/pseries", "<controller type='pci' model='pci-root'/>", "<rng model='virtio'/>"), uint8(31), uint8(7))
	f.Add("<domain><devices><controller type='usb' model='ich9-ehci1'><address type='pci' slot='4' function='7'/></controller><controller type='usb' model='ich9-uhci1'/></devices></domain>", uint8(4), uint8(0))
	f.Add(guestText("isapc", "<rng model='virtio'/>"), uint8(1), uint8(0))
	f.Add(guestText("q35", unnumbered("pcie-root", "pcie-root-port", "pcie-switch-upstream-port", "pcie-to-pci-bridge")...), uint8(1), uint8(0))
	f.Fuzz(func(t *testing.T, text string, slot, function uint8) {
		doc, err := Parse([]byte(text))
		if err != nil {
			return
		}
		used := map[Address]bool{}
		for _, u := range doc.Used() {
			used[u.Address] = true
		}
		node := int(function)
		for _, req := range []AddressRequest{{}, {Hotplug: true}, {NUMANode: &node}} {
			for _, a := range topologyOf(doc.root, nil).free(req) {
				if used[a] {
					t.Errorf("%s is offered and in use", a)
				}
				if err := doc.CheckAddress(a); err != nil {
					t.Errorf("%s is offered: %v", a, err)
				}
			}
			after, addresses, err := doc.AddRootPorts(1+int(slot%4), req)
			if err != nil {
				continue
			}
			for _, a := range addresses {
				if err := after.CheckAddress(a); err != nil {
					t.Errorf("%s is behind a new root port: %v", a, err)
				}
			}
		}
		a := Address{Slot: slot, Function: function}
		if doc.CheckAddress(a) == nil && used[a] {
			t.Errorf("%s is possible and in use", a)
		}
	})
}
