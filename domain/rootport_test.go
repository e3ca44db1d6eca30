package domain

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A port is spliced in behind the other controllers, with the root bus if that
// is not written, and nothing else changes.
func TestAddRootPortSplices(t *testing.T) {
	doc, address, err := guest(t, "q35", "<controller type='usb' model='qemu-xhci'/>", balloonNone).AddRootPort(AddressRequest{})
	require.NoError(t, err)
	assert.Equal(t, "0000:01:00.0", address.String())
	assert.Equal(t, `<domain type='qemu'>
  <name>guest</name>
  <os>
    <type arch='x86_64' machine='q35'>hvm</type>
  </os>
  <devices>
    <controller type='usb' model='qemu-xhci'/>
    <controller type='pci' index='0' model='pcie-root'/>
    <controller type='pci' index='1' model='pcie-root-port'>
      <address type='pci' domain='0x0000' bus='0x00' slot='0x02' function='0x0' multifunction='on'/>
    </controller>
    <memballoon model='none'/>
  </devices>
</domain>
`, string(doc.Bytes()))
}

// Ports share slots, take numbers that nobody has, and lie where asked.
func TestAddRootPorts(t *testing.T) {
	one := 1
	node := "<target busNr='200'><node>1</node></target>"
	for _, test := range []struct {
		name, machine string
		devices       []string
		n             int
		req           AddressRequest
		addresses     string
		places        string // of the ports themselves
	}{
		{
			"nine", "q35", nil, 9,
			AddressRequest{},
			"01:00.0 02:00.0 03:00.0 04:00.0 05:00.0 06:00.0 07:00.0 08:00.0 09:00.0",
			"00:02.0 00:02.1 00:02.2 00:02.3 00:02.4 00:02.5 00:02.6 00:02.7 00:03.0",
		},
		{
			"beside others", "q35",
			[]string{pciController(1, "pcie-root-port", "00:1c.0"), pciController(4, "pcie-root-port", "00:1c.2")},
			2,
			AddressRequest{},
			"05:00.0 06:00.0", "00:1c.1 00:1c.3",
		},
		{"not beside others", "q35", []string{
			"<controller type='pci' index='1' model='pcie-root-port'>" + pciAt("00:02.0", "multifunction='off'") + "</controller>", at("00:03.0"), at("00:04.1"),
		}, 1, AddressRequest{}, "02:00.0", "00:05.0"},
		{
			"behind unnumbered ones", "q35",
			append(unnumbered("pcie-root", "pcie-root-port"), pciController(1, "pcie-root-port", "00:02.0")),
			1,
			AddressRequest{},
			"03:00.0", "00:02.1",
		},
		{
			"on an expander", "q35",
			[]string{pciController(1, "pcie-expander-bus", "00:04.0", node)},
			2,
			AddressRequest{NUMANode: &one},
			"02:00.0 03:00.0", "01:00.0 01:00.1",
		},
		{"virt", "aarch64/virt", nil, 1, AddressRequest{Hotplug: true}, "01:00.0", "00:01.0"},
	} {
		t.Run(test.name, func(t *testing.T) {
			before := guest(t, test.machine, test.devices...)
			had := map[Address]bool{}
			for _, u := range before.Used() {
				had[u.Address] = true
			}
			doc, addresses, err := before.AddRootPorts(test.n, test.req)
			require.NoError(t, err)
			assert.Equal(t, test.addresses, joined(addresses))
			var places []Address
			for _, u := range doc.Used() {
				if !had[u.Address] {
					places = append(places, u.Address)
				}
			}
			assert.Equal(t, test.places, joined(places))
			for _, a := range addresses {
				require.NoError(t, doc.CheckAddress(a))
			}
			free := topologyOf(doc.root, nil).free(AddressRequest{Hotplug: true, NUMANode: test.req.NUMANode})
			assert.Subset(t, free, addresses)
		})
	}
}

// A port whose number is another's chassis gets a chassis of its own: QEMU
// refuses two ports with the same.
func TestAddRootPortChassis(t *testing.T) {
	doc, _, err := guest(t, "q35", pciController(1, "pcie-root-port", "00:02.0", "<target chassis='2' port='0x10'/>")).AddRootPort(AddressRequest{})
	require.NoError(t, err)
	assert.Contains(t, string(doc.Bytes()), "<target chassis='3'/>")
}

// What cannot be added is refused with the reason.
func TestAddRootPortErrors(t *testing.T) {
	one := 1
	tight := pciController(1, "pcie-expander-bus", "00:04.0", "<target busNr='254'><node>1</node></target>")
	for _, test := range []struct {
		name, machine string
		devices       []string
		n             int
		req           AddressRequest
		want          error
	}{
		{"none", "q35", nil, 0, AddressRequest{}, ErrInvalid},
		{"i440fx", "pc", nil, 1, AddressRequest{}, ErrUnsupported},
		{"microvm", "microvm", nil, 1, AddressRequest{}, ErrUnsupported},
		{"pseries", "ppc64/pseries", nil, 1, AddressRequest{}, ErrUnsupported},
		{"no such node", "q35", nil, 1, AddressRequest{NUMANode: &one}, ErrNotFound},
		{"no bus numbers", "q35", []string{tight}, 2, AddressRequest{NUMANode: &one}, ErrNotFound},
		{"no bus numbers", "q35", []string{pciController(1, "pcie-expander-bus", "00:04.0", "<target busNr='3'/>")}, 3, AddressRequest{}, ErrNotFound},
		{"no bus number", "q35", []string{pciController(255, "pcie-root-port", "00:04.0")}, 1, AddressRequest{}, ErrNotFound},
		{"no room", "q35", []string{balloonNone, usbNone}, 31 * 8, AddressRequest{}, ErrNotFound},
	} {
		t.Run(test.machine+" "+test.name, func(t *testing.T) {
			doc, addresses, err := guest(t, test.machine, test.devices...).AddRootPorts(test.n, test.req)
			assert.Nil(t, doc)
			assert.Nil(t, addresses)
			require.ErrorIs(t, err, test.want)
			var e *Error
			require.ErrorAs(t, err, &e)
			assert.NotEmpty(t, e.Hint())
		})
	}
	_, _, err := guest(t, "q35", tight).AddRootPort(AddressRequest{NUMANode: &one})
	require.NoError(t, err, "there is one number left")
}

// On any document a port that is added hides nothing, is free behind, and all
// that was free on other buses still is.
func TestAddRootPortProperties(t *testing.T) {
	rng, rounds := random(t, 100)
	added := 0
	for range rounds {
		text := randomGuest(rng)
		before, err := Parse([]byte(text))
		require.NoError(t, err)
		n := 1 + rng.IntN(10)
		after, addresses, err := before.AddRootPorts(n, AddressRequest{})
		if err != nil {
			require.True(t, errors.Is(err, ErrUnsupported) || errors.Is(err, ErrNotFound), "%v\n%s", err, text)
			continue
		}
		added += n
		require.Len(t, addresses, n)
		now := map[Address]string{}
		for _, u := range after.Used() {
			now[u.Address] = u.By
		}
		for _, u := range before.Used() {
			require.Contains(t, now, u.Address, text)
		}
		for _, a := range addresses {
			require.NoError(t, after.CheckAddress(a), text)
		}
		// Without the lines that came, the old document is there.
		rest := string(after.Bytes())
		for _, line := range strings.SplitAfter(text, "\n") {
			i := strings.Index(rest, line)
			require.GreaterOrEqual(t, i, 0, "line %q is lost from\n%s", line, text)
			rest = rest[:i] + rest[i+len(line):]
		}
		require.False(t, bytes.Contains([]byte(rest), []byte("<rng")), "a device came out of nowhere")
	}
	assert.Greater(t, 3*added, 2*rounds)
}
