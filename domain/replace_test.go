package domain_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vgpukit/vgpukit/domain"
)

const twoVFs = `<domain type='kvm'><name>a</name><devices>
  <hostdev mode='subsystem' type='pci' managed='no'> <!-- one -->
    <source><address domain='0x0000' bus='0x41' slot='0x00' function='0x4'/></source>
    <address type='pci' domain='0x0000' bus='0x00' slot='0x08' function='0x0'/>
  </hostdev>
  <hostdev mode='subsystem' type='pci' managed='no'>
    <source>
      <address domain='0x0000' bus='0x41' slot='0x00' function='0x5'/>
    </source><alias name='ua-x'/>
  </hostdev>
</devices></domain>`

// What is replaced keeps its place, and every other byte stays.
func TestReplaceChangesTheSourceOnly(t *testing.T) {
	doc, err := domain.Parse([]byte(twoVFs))
	require.NoError(t, err)
	moved, err := doc.Replace(map[string]string{"0000:41:00.4": "0000:41:00.7"})
	require.NoError(t, err)
	assert.Equal(t, strings.Replace(twoVFs, "function='0x4'", "function='0x7'", 1), string(moved.Bytes()))
	back, err := moved.Replace(map[string]string{"0000:41:00.7": "0000:41:00.4"})
	require.NoError(t, err)
	assert.Equal(t, twoVFs, string(back.Bytes()))

	swapped, err := doc.Replace(map[string]string{"0000:41:00.4": "0000:41:00.5", "0000:41:00.5": "0000:41:00.4"})
	require.NoError(t, err)
	assert.Equal(t, strings.NewReplacer("function='0x4'", "function='0x5'", "function='0x5'", "function='0x4'").Replace(twoVFs), string(swapped.Bytes()))
	same, err := doc.Replace(nil)
	require.NoError(t, err)
	assert.Equal(t, twoVFs, string(same.Bytes()))
}

func TestReplaceRefusesWhatCannotBe(t *testing.T) {
	mixed := strings.Replace(twoVFs, "</devices>", "<hostdev mode='subsystem' type='mdev' model='vfio-pci'><source><address uuid='98d19132-f8f0-4d19-8743-9efa23e6c493'/></source></hostdev></devices>", 1)
	doc, err := domain.Parse([]byte(mixed))
	require.NoError(t, err)
	for _, c := range []struct {
		from, to string
		want     error
	}{
		{"0000:41:00.6", "0000:41:00.7", domain.ErrNotFound},
		{"0000:41:00.4", "0000:41:00.5", domain.ErrExists},
		{"0000:41:00.4", "there", domain.ErrInvalid},
		{"here", "0000:41:00.5", domain.ErrInvalid},
		{"98d19132-f8f0-4d19-8743-9efa23e6c493", "", domain.ErrInvalid},
		{"0000:41:00.4", "98d19132-f8f0-4d19-8743-9efa23e6c493", domain.ErrExists},
	} {
		_, err := doc.Replace(map[string]string{c.from: c.to})
		require.ErrorIs(t, err, c.want, "%s by %s", c.from, c.to)
	}
	_, err = doc.Replace(map[string]string{"0000:41:00.4": "0000:41:00.7", "0000:41:00.5": "0000:41:00.7"})
	require.ErrorIs(t, err, domain.ErrExists)
}

const mixed = `<domain type='kvm'><metadata><other xmlns="u"/></metadata><devices>
  <hostdev mode='subsystem' type='mdev' managed='yes' model='vfio-pci' display='on'>
    <driver iommufd='yes'/> <!-- kept -->
    <source><address uuid='98D19132-f8f0-4d19-8743-9efa23e6c493'/></source>
    <alias name='ua-a'/>
    <address type='pci' domain='0x0000' bus='0x00' slot='0x08' function='0x0'/>
  </hostdev>
  <hostdev type='pci'>
    <source><address domain='0x0000' bus='0x41' slot='0x00' function='0x4'/></source>
    <rom bar='off'/>
  </hostdev>
  <graphics type='vnc'/>
  <interface type='hostdev' managed='no'>
    <mac address='52:54:00:00:00:01'/>
    <source><address type='pci' domain='0x0000' bus='0x41' slot='0x00' function='0x5'/></source>
  </interface>
</devices></domain>`

// A mediated device and a virtual function are replaced in place as well, by either kind, and
// only what names the device changes.
func TestReplaceKeepsTheElement(t *testing.T) {
	const first, second = "98d19132-f8f0-4d19-8743-9efa23e6c493", "98d19132-f8f0-4d19-8743-9efa23e6c494"
	for name, test := range map[string]struct {
		others   map[string]string
		from, to string
	}{
		"mdev by mdev": {map[string]string{first: second}, "98D19132-f8f0-4d19-8743-9efa23e6c493", second},
		"mdev by VF": {
			map[string]string{first: "41:00.6"},
			"type='mdev' managed='yes' model='vfio-pci' display='on'>\n    <driver iommufd='yes'/> <!-- kept -->\n    <source><address uuid='98D19132-f8f0-4d19-8743-9efa23e6c493'/>",
			"type='pci' managed='no' display='on'>\n    <driver iommufd='yes'/> <!-- kept -->\n    <source><address domain='0x0000' bus='0x41' slot='0x00' function='0x6'/>",
		},
		"VF by mdev": {
			map[string]string{"0000:41:00.4": second},
			"type='pci'>\n    <source><address domain='0x0000' bus='0x41' slot='0x00' function='0x4'/>",
			"type='mdev' model='vfio-pci'>\n    <source><address uuid='" + second + "'/>",
		},
		"interface": {map[string]string{"0000:41:00.5": "0000:41:00.6"}, "function='0x5'", "function='0x6'"},
	} {
		t.Run(name, func(t *testing.T) {
			doc, err := domain.Parse([]byte(mixed))
			require.NoError(t, err)
			got, err := doc.Replace(test.others)
			require.NoError(t, err)
			assert.Equal(t, strings.Replace(mixed, test.from, test.to, 1), got.String())
			require.NoError(t, got.Check())
		})
	}
	doc, err := domain.Parse([]byte(mixed))
	require.NoError(t, err)
	swapped, err := doc.Replace(map[string]string{first: "0000:41:00.4", "0000:41:00.4": first})
	require.NoError(t, err)
	back, err := swapped.Replace(map[string]string{first: "0000:41:00.4", "0000:41:00.4": first})
	require.NoError(t, err)
	assert.Equal(t, doc.Hostdevs(), back.Hostdevs())
	assert.Equal(t, "0000:41:00.4", swapped.Hostdevs()[0].ID())
	_, err = doc.Replace(map[string]string{"0000:41:00.5": second})
	require.ErrorIs(t, err, domain.ErrInvalid)
	require.ErrorContains(t, err, "an <interface>, which cannot be a mediated device")
}

func ExampleDocument_Replace() {
	doc, err := domain.Parse([]byte(`<domain type='kvm'><devices><hostdev mode='subsystem' type='mdev' model='vfio-pci'><source><address uuid='98d19132-f8f0-4d19-8743-9efa23e6c493'/></source><alias name='ua-gpu'/></hostdev></devices></domain>`))
	if err != nil {
		panic(err)
	}
	doc, err = doc.Replace(map[string]string{"98d19132-f8f0-4d19-8743-9efa23e6c493": "5b1d8c8e-0a51-4a52-9d3c-5a0c3d9d6a01"})
	fmt.Println(doc, err)
	// Output: <domain type='kvm'><devices><hostdev mode='subsystem' type='mdev' model='vfio-pci'><source><address uuid='5b1d8c8e-0a51-4a52-9d3c-5a0c3d9d6a01'/></source><alias name='ua-gpu'/></hostdev></devices></domain> <nil>
}
