package domain

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func joined(addresses []Address) string {
	var b strings.Builder
	for _, a := range addresses {
		b.WriteString(" " + strings.TrimPrefix(a.String(), "0000:"))
	}
	return strings.TrimPrefix(b.String(), " ")
}

// Free gives what was asked for, in the order that its doc says.
func TestFree(t *testing.T) {
	zero, one := 0, 1
	numa := func(node int) string { return fmt.Sprintf("<target><node>%d</node></target>", node) }
	expander := []string{
		balloonNone, pciController(0, "pcie-root", ""), pciController(1, "pcie-expander-bus", "00:04.0", numa(1)),
		pciController(2, "pcie-root-port", "01:00.0"), pciController(3, "pcie-switch-upstream-port", "02:00.0"),
		pciController(4, "pcie-switch-downstream-port", "03:00.0"), pciController(5, "pcie-root-port", "00:05.0"),
		pciController(6, "pcie-expander-bus", "00:06.0", numa(0)), pciController(7, "pcie-root-port", "06:00.0"),
	}
	for _, test := range []struct {
		name, machine string
		devices       []string
		n             int
		req           AddressRequest
		want          string
	}{
		{"none", "q35", nil, 0, AddressRequest{}, ""},
		{"q35", "q35", nil, 3, AddressRequest{}, "00:02.0 00:03.0 00:04.0"},
		{"i440fx", "pc", nil, 3, AddressRequest{}, "00:03.0 00:04.0 00:05.0"},
		{
			"sixteen", "q35", nil, 16,
			AddressRequest{},
			"00:02.0 00:03.0 00:04.0 00:05.0 00:06.0 00:07.0 00:08.0 00:09.0 00:0a.0 00:0b.0 00:0c.0 00:0d.0 00:0e.0 00:0f.0 00:10.0 00:11.0",
		},
		{"around what is written", "q35", []string{at("00:02.0"), at("00:04.3")}, 2, AddressRequest{}, "00:03.0 00:05.0"},
		{
			"video's place last", "pc",
			[]string{usbNone, balloonNone},
			30,
			AddressRequest{},
			"00:03.0 00:04.0 00:05.0 00:06.0 00:07.0 00:08.0 00:09.0 00:0a.0 00:0b.0 00:0c.0 00:0d.0 00:0e.0 00:0f.0 00:10.0 00:11.0 " +
				"00:12.0 00:13.0 00:14.0 00:15.0 00:16.0 00:17.0 00:18.0 00:19.0 00:1a.0 00:1b.0 00:1c.0 00:1d.0 00:1e.0 00:1f.0 00:02.0",
		},
		{
			"q35 hot-pluggable", "q35",
			[]string{pciController(1, "pcie-root-port", "00:02.0"), pciController(2, "pcie-root-port", "00:02.1")},
			2,
			AddressRequest{Hotplug: true},
			"01:00.0 02:00.0",
		},
		{"a port without hotplug", "q35", []string{
			pciController(1, "pcie-root-port", "00:02.0", "<target hotplug='off'/>"), pciController(2, "pcie-root-port", "00:02.1"),
		}, 1, AddressRequest{Hotplug: true}, "02:00.0"},
		{"PCIe slots first", "q35", []string{
			pciController(1, "pcie-root-port", "00:02.0"), pciController(2, "pcie-to-pci-bridge", "01:00.0"), pciController(3, "pcie-root-port", "00:02.1"),
		}, 2, AddressRequest{Hotplug: true}, "03:00.0 02:01.0"},
		{"i440fx hot-pluggable", "pc", []string{acpi}, 1, AddressRequest{Hotplug: true}, "00:03.0"},
		{"i440fx without ACPI", "pc", []string{pciController(1, "pci-bridge", "00:04.0")}, 1, AddressRequest{Hotplug: true}, "01:01.0"},
		{"pseries hot-pluggable", "ppc64/pseries", nil, 1, AddressRequest{Hotplug: true}, "00:01.0"},
		{"i440fx root without hotplug", "pc", []string{
			acpi, pciController(0, "pci-root", "", "<target hotplug='off'/>"), pciController(1, "pci-bridge", "00:04.0"),
		}, 1, AddressRequest{Hotplug: true}, "01:01.0"},
		{"NUMA node 1", "q35", expander, 1, AddressRequest{NUMANode: &one}, "04:00.0"},
		{"NUMA node 0", "q35", expander, 1, AddressRequest{NUMANode: &zero}, "07:00.0"},
		{
			"NUMA on i440fx", "pc",
			[]string{pciController(1, "pci-expander-bus", "00:04.0", numa(1)), pciController(2, "pci-bridge", "01:05.0")},
			32,
			AddressRequest{NUMANode: &one},
			"01:00.0 01:01.0 01:02.0 01:03.0 01:04.0 01:06.0 01:07.0 01:08.0 01:09.0 01:0a.0 01:0b.0 01:0c.0 " +
				"01:0d.0 01:0e.0 01:0f.0 01:10.0 01:11.0 01:12.0 01:13.0 01:14.0 01:15.0 01:16.0 01:17.0 01:18.0 01:19.0 01:1a.0 01:1b.0 01:1c.0 01:1d.0 01:1e.0 01:1f.0 02:01.0",
		},
		{
			"NUMA on pseries", "ppc64/pseries",
			[]string{pciController(1, "pci-root", "", "<target index='1'><node>1</node></target>")},
			1,
			AddressRequest{NUMANode: &one},
			"01:01.0",
		},
		{"not on a bus that libvirt adds", "q35", []string{pciController(2, "pcie-root-port", "00:02.0")}, 1, AddressRequest{Hotplug: true}, "02:00.0"},
		{"virt", "aarch64/virt", nil, 1, AddressRequest{}, "00:01.0"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := guest(t, test.machine, test.devices...).Free(test.n, test.req)
			require.NoError(t, err)
			assert.Equal(t, test.want, joined(got))
		})
	}
}

// What Free cannot give is an error that says why and what to do.
func TestFreeErrors(t *testing.T) {
	one := 1
	for _, test := range []struct {
		name, machine string
		n             int
		req           AddressRequest
		want          error
		next          string
	}{
		{"negative", "q35", -1, AddressRequest{}, ErrInvalid, "0 or more"},
		{"too many", "q35", 31, AddressRequest{}, ErrNotFound, "root ports"},
		{"too many", "pc", 31, AddressRequest{}, ErrNotFound, "controllers"},
		{"no ports", "q35", 1, AddressRequest{Hotplug: true}, ErrNotFound, "root ports"},
		{"no ACPI", "pc", 1, AddressRequest{Hotplug: true}, ErrNotFound, "acpi"},
		{"no such node", "q35", 1, AddressRequest{NUMANode: &one}, ErrNotFound, "expander"},
		{"no PCI", "microvm", 1, AddressRequest{}, ErrUnsupported, "q35"},
		{"channel devices", "s390x/s390-ccw-virtio", 1, AddressRequest{}, ErrUnsupported, "libvirt"},
		{"unknown chipset", "ppc64/powernv9", 1, AddressRequest{}, ErrUnsupported, "libvirt"},
	} {
		t.Run(test.machine+" "+test.name, func(t *testing.T) {
			got, err := guest(t, test.machine).Free(test.n, test.req)
			assert.Nil(t, got)
			require.ErrorIs(t, err, test.want)
			var e *Error
			require.ErrorAs(t, err, &e)
			assert.Contains(t, e.Hint(), test.next)
		})
	}
}

// randomGuest makes a document that libvirt could have been given: controllers
// that fit together, devices with and without addresses, and some nonsense.
func randomGuest(rng *rand.Rand) string {
	machine := []string{"q35", "pc", "aarch64/virt", "ppc64/pseries", "q35", "pc"}[rng.IntN(6)]
	var devices []string
	taken := map[string]bool{}
	place := func(bus int) string {
		for {
			a := Address{Bus: uint8(bus), Slot: uint8(1 + rng.IntN(30)), Function: uint8(max(0, rng.IntN(20)-12))}
			if s := a.String(); !taken[s] {
				taken[s] = true
				return s
			}
		}
	}
	buses := 1
	for range rng.IntN(12) {
		var model, address string
		switch {
		case strings.Contains(machine, "pseries"):
			model = "pci-root"
		case machine == "pc":
			model, address = []string{"pci-bridge", "pci-expander-bus"}[rng.IntN(2)], place(0)
		default:
			model, address = []string{
				"pcie-root-port", "pcie-root-port", "pcie-root-port", "dmi-to-pci-bridge", "pcie-expander-bus",
			}[rng.IntN(5)], place(0)
		}
		if rng.IntN(4) == 0 {
			address = ""
		}
		var inner []string
		if rng.IntN(3) == 0 {
			inner = append(inner, fmt.Sprintf("<target><node>%d</node></target>", rng.IntN(2)))
		}
		if rng.IntN(8) > 0 { // else a gap
			devices = append(devices, pciController(buses, model, address, inner...))
		}
		buses++
	}
	for range rng.IntN(40) {
		switch rng.IntN(8) {
		case 0:
			devices = append(devices, "<video><model type='vga'/></video>")
		case 1:
			devices = append(devices, "<interface type='user'><model type='virtio'/></interface>")
		case 2:
			devices = append(devices, "<graphics type='vnc'/>")
		case 3:
			devices = append(devices, at(place(rng.IntN(buses+2)), "multifunction='off'"))
		default:
			devices = append(devices, at(place(rng.IntN(buses))))
		}
	}
	rng.Shuffle(len(devices), func(i, j int) { devices[i], devices[j] = devices[j], devices[i] })
	return guestText(machine, devices...)
}

// On any document: no free address is used, each passes the check, the answer
// is always the same, fewer are the first of more, all of them can be given to
// devices one after the other in any order, and one that is given away is then
// in use.
func TestFreeProperties(t *testing.T) {
	rng, rounds := random(t, 100)
	offered := 0
	for range rounds {
		text := randomGuest(rng)
		doc, err := Parse([]byte(text))
		require.NoError(t, err)
		req := AddressRequest{Hotplug: rng.IntN(2) == 0}
		if rng.IntN(3) == 0 {
			node := rng.IntN(2)
			req.NUMANode = &node
		}
		found := topologyOf(doc.root, nil).free(req)
		offered += len(found)
		if len(found) > 0 {
			fewer := 1 + rng.IntN(len(found))
			got, err := doc.Free(fewer, req)
			require.NoError(t, err)
			require.Equal(t, found[:fewer], got)
		}
		if _, err := doc.Free(len(found)+1, req); err == nil {
			t.Fatalf("one more than all is free:\n%s", text)
		}
		again, err := Parse([]byte(text))
		require.NoError(t, err)
		require.Equal(t, found, topologyOf(again.root, nil).free(req))
		used := map[Address]bool{}
		for _, u := range doc.Used() {
			used[u.Address] = true
		}
		order := slices.Clone(found)
		rng.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
		for _, a := range order {
			require.False(t, used[a], "%s is used in\n%s", a, text)
			require.NoError(t, doc.CheckAddress(a), text)
			if len(doc.Hostdevs()) == 16 {
				break // Add takes no more
			}
			doc, err = doc.Add(Hostdev{UUID: uuid.New(), Address: &a})
			require.NoError(t, err, text)
			require.ErrorIs(t, doc.CheckAddress(a), ErrInUse)
		}
	}
	assert.Greater(t, offered, 5*rounds, "the documents leave too little to test")
}

// Every address that is used is refused as in use, unless it is impossible.
func TestUsedIsRefused(t *testing.T) {
	rng, rounds := random(t, 100)
	for range rounds {
		text := randomGuest(rng)
		doc, err := Parse([]byte(text))
		require.NoError(t, err)
		for _, u := range doc.Used() {
			require.Error(t, doc.CheckAddress(u.Address), "%s in\n%s", u.Address, text)
		}
	}
}

func benchmarkGuest(b *testing.B) *Document {
	devices := []string{pciController(0, "pcie-root", "")}
	for i := range 16 {
		devices = append(devices, pciController(i+1, "pcie-root-port", fmt.Sprintf("00:%02x.%d", 2+i/8, i%8)))
	}
	for i := range 12 {
		devices = append(devices, at(fmt.Sprintf("%02x:00.0", i+1)))
	}
	return guest(b, "q35", append(devices, "<graphics type='vnc'/>", "<video><model type='vga'/>"+pciAt("00:01.0")+"</video>")...)
}

func BenchmarkUsed(b *testing.B) {
	doc := benchmarkGuest(b)
	b.ReportAllocs()
	for b.Loop() {
		doc.Used()
	}
}

func BenchmarkCheckAddress(b *testing.B) {
	doc := benchmarkGuest(b)
	b.ReportAllocs()
	for b.Loop() {
		_ = doc.CheckAddress(Address{Slot: 8})
	}
}

func BenchmarkFree(b *testing.B) {
	doc := benchmarkGuest(b)
	b.ReportAllocs()
	for b.Loop() {
		_, _ = doc.Free(16, AddressRequest{})
	}
}
