package domain

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// q35 is a document with devices put in.
func q35(devices string) string {
	return "<domain type='kvm'>\n  <name>demo</name>\n  <os>\n    <type arch='x86_64' machine='q35'>hvm</type>\n  </os>\n  <devices>\n" +
		"    <controller type='pci' index='0' model='pcie-root'/>\n" + devices + "  </devices>\n</domain>\n"
}

func mdev(id, attributes, inside string) string {
	return "    <hostdev mode='subsystem' type='mdev' " + attributes + ">\n      <source>\n        <address uuid='" + id + "'/>\n      </source>\n" + inside + "    </hostdev>\n"
}

const plainModel = "model='vfio-pci'"

// What libvirt or QEMU would refuse is refused before, in their words, with the
// sentinel and the next step.
func TestAddRefuses(t *testing.T) {
	graphics := "    <graphics type='vnc'/>\n"
	other := mdev(secondID, plainModel, pciAt("00:08.0"))
	address := func(bus, slot, function uint8) *Address { return &Address{Bus: bus, Slot: slot, Function: function} }
	id := uuid.MustParse(firstID)
	sixteen := strings.Builder{}
	for i := range MaxVGPUs {
		sixteen.WriteString(mdev(fmt.Sprintf("00000000-0000-0000-0000-%012d", i+1), plainModel, ""))
	}
	for name, test := range map[string]struct {
		devices string
		h       Hostdev
		is      error
		says    string
	}{
		"neither":             {"", Hostdev{}, ErrInvalid, "neither a UUID nor a VF"},
		"both":                {"", Hostdev{UUID: id, VF: firstVF}, ErrInvalid, "both a UUID and a VF"},
		"VF malformed":        {"", Hostdev{VF: "41:00"}, ErrInvalid, "not a host PCI address"},
		"VF out of range":     {"", Hostdev{VF: "0000:41:20.0"}, ErrInvalid, "not a host PCI address"},
		"model unknown":       {"", Hostdev{UUID: id, Model: "vfio-pci' x='"}, ErrInvalid, "Invalid value for attribute 'model'"},
		"model of a VF":       {"", Hostdev{VF: firstVF, Model: ModelCCW}, ErrInvalid, "Invalid value for attribute 'model'"},
		"display unknown":     {graphics, Hostdev{UUID: id, Display: "yes"}, ErrInvalid, "Invalid value for attribute 'display'"},
		"ramfb unknown":       {graphics, Hostdev{UUID: id, RAMFB: "1"}, ErrInvalid, "Invalid value for attribute 'ramfb'"},
		"display, no screen":  {"", Hostdev{UUID: id, Display: SwitchOn}, ErrInvalid, "graphics device is needed for attribute value 'display=on' in <hostdev>"},
		"display of ccw":      {graphics, Hostdev{UUID: id, Model: ModelCCW, Display: SwitchOn}, ErrInvalid, "'display' is only supported with model='vfio-pci'"},
		"ramfb alone":         {graphics, Hostdev{UUID: id, RAMFB: SwitchOn}, ErrInvalid, "ramfb=on requires display=on"},
		"second ramfb":        {graphics + mdev(secondID, plainModel+" display='on' ramfb='on'", ""), Hostdev{UUID: id, Display: SwitchOn, RAMFB: SwitchOn}, ErrInvalid, "Only one vgpu device can have 'ramfb' enabled"},
		"second ap":           {mdev(secondID, "model='vfio-ap'", ""), Hostdev{UUID: id, Model: ModelAP}, ErrInvalid, "Only one hostdev of model vfio-ap is supported"},
		"address of ccw":      {"", Hostdev{UUID: id, Model: ModelCCW, Address: address(0, 8, 0)}, ErrInvalid, "Unsupported address type 'pci' with mediated device model 'vfio-ccw'"},
		"boot order":          {"", Hostdev{UUID: id, BootOrder: 1}, ErrInvalid, "booting from assigned devices is not supported by mediated devices of model vfio-pci"},
		"boot order twice":    {"    <disk>\n      <boot order='2'/>\n    </disk>\n", Hostdev{VF: firstVF, BootOrder: 2}, ErrInvalid, "boot order '2' used for more than one device"},
		"alias not a user's":  {"", Hostdev{UUID: id, Alias: "hostdev0"}, ErrInvalid, "not one that libvirt keeps"},
		"alias malformed":     {"", Hostdev{UUID: id, Alias: "ua-a'b"}, ErrInvalid, "not one that libvirt keeps"},
		"alias twice":         {"    <disk>\n      <alias name='ua-a'/>\n    </disk>\n", Hostdev{UUID: id, Alias: "ua-a"}, ErrExists, "non unique alias detected: ua-a"},
		"UUID twice":          {mdev(strings.ToUpper(firstID), plainModel, ""), Hostdev{UUID: id}, ErrExists, "Hostdev already exists in the domain configuration"},
		"VF twice":            {"    <hostdev type='pci' managed='yes'><source><address domain='0' bus='65' slot='0x00' function='04'/></source></hostdev>\n", Hostdev{VF: firstVF}, ErrExists, "Hostdev already exists"},
		"VF of an interface":  {"    <interface type='hostdev'><source><address type='pci' bus='0x41' slot='0' function='4'/></source></interface>\n", Hostdev{VF: firstVF}, ErrExists, "Hostdev already exists"},
		"seventeen":           {sixteen.String(), Hostdev{UUID: id}, ErrInvalid, "17 vGPUs in one domain, at most 16"},
		"address in use":      {other, Hostdev{UUID: id, Address: address(0, 8, 0)}, ErrInUse, secondID},
		"address of the root": {other, Hostdev{UUID: id, Address: address(0, 0, 0)}, ErrInUse, "0000:00:00.0"},
		"no such bus":         {other, Hostdev{UUID: id, Address: address(9, 0, 0)}, ErrInvalid, "bus 9 does not exist"},
		"function alone":      {other, Hostdev{UUID: id, Address: address(0, 9, 1)}, ErrInvalid, "function 0"},
		"slot out of range":   {other, Hostdev{UUID: id, Address: address(0, 32, 0)}, ErrInvalid, "slot"},
	} {
		t.Run(name, func(t *testing.T) {
			d, err := mustParse(t, q35(test.devices)).Add(test.h)
			require.Nil(t, d)
			requireError(t, err, test.is, test.says)
		})
	}
	_, err := mustParse(t, "<domain><os><boot dev='hd'/></os></domain>").Add(Hostdev{VF: firstVF, BootOrder: 1})
	requireError(t, err, ErrInvalid, "per-device boot elements cannot be used together with os/boot elements")
}

func requireError(t *testing.T, err, is error, says string) {
	t.Helper()
	require.ErrorIs(t, err, is)
	require.ErrorContains(t, err, says)
	var e *Error
	require.ErrorAs(t, err, &e)
	require.NotEmpty(t, e.Hint())
	require.NotContains(t, err.Error(), "\n")
}

func TestAddTakesAllThatIsAllowed(t *testing.T) {
	x86 := mustParse(t, q35("    <graphics type='vnc'/>\n"))
	address := &Address{Slot: 8}
	for _, h := range []Hostdev{
		{UUID: uuid.MustParse(firstID), Model: ModelPCI, Display: SwitchOn, RAMFB: SwitchOn, Alias: "ua-vgpu_0-a", Address: address},
		{UUID: uuid.MustParse(firstID), Model: ModelPCI, Display: SwitchOff, RAMFB: SwitchOff},
		{UUID: uuid.MustParse(firstID), Model: ModelCCW, BootOrder: 3},
		{UUID: uuid.MustParse(firstID), Model: ModelAP},
		{VF: firstVF, Model: ModelPCI, Display: SwitchOn, RAMFB: SwitchOn, Alias: "ua-1", BootOrder: 1, Address: address},
	} {
		d := x86
		if h.Model == ModelCCW || h.Model == ModelAP {
			d = guest(t, "s390x/s390-ccw-virtio", "<graphics type='vnc'/>")
		}
		added, err := d.Add(h)
		require.NoError(t, err)
		require.NoError(t, added.Check())
		assert.Equal(t, []Hostdev{h}, added.Hostdevs())
		removed, err := added.Remove(strings.ToUpper(h.ID()))
		require.NoError(t, err)
		assert.Equal(t, d.Bytes(), removed.Bytes())
	}
	short, err := x86.Add(Hostdev{VF: "AF:00.4"})
	require.NoError(t, err)
	assert.Equal(t, "0000:af:00.4", short.Hostdevs()[0].ID())
}

// Check finds in a document what Add would have refused, and says all of it.
func TestCheckFinds(t *testing.T) {
	for name, test := range map[string]struct {
		document string
		says     []string
	}{
		"nothing wrong": {q35(mdev(firstID, plainModel, pciAt("00:08.0")) + mdev(secondID, plainModel, "")), nil},
		"not our business": {q35("    <hostdev type='pci' managed='yes'><source><address bus='1'/></source></hostdev>\n" +
			"    <hostdev type='usb'/>\n    <hostdev type='pci'/>\n"), nil},
		"no address":  {q35("    <hostdev type='mdev' model='vfio-pci'><source/></hostdev>\n"), []string{"Missing <address> element"}},
		"no UUID":     {q35("    <hostdev type='mdev' model='vfio-pci'><source><address bus='1'/></source></hostdev>\n"), []string{"Missing 'uuid' attribute for element <address>"}},
		"bad UUID":    {q35(mdev("x", plainModel, "")), []string{"Cannot parse uuid attribute of element <address>"}},
		"no model":    {q35(mdev(firstID, "", "")), []string{"Missing required attribute 'model' in element 'hostdev'"}},
		"bad model":   {q35(mdev(firstID, "model='vfio'", "")), []string{"Invalid value for attribute 'model' in element 'hostdev': 'vfio'"}},
		"twice":       {q35(mdev(firstID, plainModel, "") + mdev(strings.ToUpper(firstID), plainModel, "")), []string{"Hostdev already exists"}},
		"in use":      {q35(mdev(firstID, plainModel, pciAt("00:08.0")) + mdev(secondID, plainModel, pciAt("00:08.0"))), []string{secondID, firstID}},
		"bad address": {q35(mdev(firstID, plainModel, pciAt("07:01.0"))), []string{"bus 7 does not exist"}},
		"several":     {q35(mdev(firstID, plainModel+" display='on' ramfb='on'", pciAt("00:08.3")) + mdev(secondID, plainModel+" ramfb='on'", "")), []string{"graphics device is needed", "Only one vgpu device", "ramfb=on requires display=on", "function 0"}},
		"usual alias": {q35(mdev(firstID, plainModel, "      <alias name='hostdev0'/>\n")), nil},
		"alias twice": {q35(mdev(firstID, plainModel, "      <alias name='ua-a'/>\n") + "    <disk><alias name='ua-a'/></disk>\n"), []string{"non unique alias detected: ua-a"}},
		"our VF managed": {
			"<domain><metadata><v:vgpus xmlns:v='" + MetadataURI + "'><v:vgpu id='0000:41:00.4'/></v:vgpus></metadata><devices>" +
				"<hostdev type='pci' managed='yes'><source><address bus='0x41' function='4'/></source></hostdev></devices></domain>",
			[]string{"managed='yes' makes libvirt bind the virtual function to vfio-pci"},
		},
		"bad metadata": {"<domain><metadata><v:vgpus xmlns:v='" + MetadataURI + "'><v:vgpu/></v:vgpus></metadata></domain>", []string{"neither a UUID nor a PCI address"}},
		"seventeen": {q35(strings.Join(func() (all []string) {
			for i := range 17 {
				all = append(all, mdev(fmt.Sprintf("00000000-0000-0000-0000-%012d", i+1), plainModel, ""))
			}
			return all
		}(), "")), []string{"17 vGPUs in one domain, at most 16"}},
	} {
		t.Run(name, func(t *testing.T) {
			err := mustParse(t, test.document).Check()
			if test.says == nil {
				require.NoError(t, err)
				return
			}
			require.Error(t, err)
			for _, s := range test.says {
				assert.ErrorContains(t, err, s)
			}
			joined, ok := err.(interface{ Unwrap() []error })
			require.True(t, ok)
			said := map[string]bool{}
			for _, err := range joined.Unwrap() {
				var e *Error
				require.ErrorAs(t, err, &e)
				assert.NotEmpty(t, e.Hint(), "%v", err)
				assert.False(t, said[err.Error()], "said twice: %v", err)
				said[err.Error()] = true
			}
		})
	}
}

func TestCheckModel(t *testing.T) {
	h := first()
	require.NoError(t, h.CheckModel("vfio-pci"))
	requireError(t, h.CheckModel("vfio-ccw"), ErrInvalid, "invalid device API 'vfio-pci' for device "+firstID+": device only supports 'vfio-ccw'")
	requireError(t, h.CheckModel("vfio-platform"), ErrInvalid, "device API 'vfio-platform' not supported yet")
	h.Model = ModelAP
	require.NoError(t, h.CheckModel("vfio-ap"))
	requireError(t, h.CheckModel("vfio-pci"), ErrInvalid, "device only supports 'vfio-pci'")
}
