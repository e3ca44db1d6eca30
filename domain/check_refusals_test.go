package domain

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// What libvirt 11.3 refuses of a vGPU's element, its place and what is passed to QEMU for
// it is told, in libvirt's words where it has some.
func TestCheckRefusesWhatLibvirtRefuses(t *testing.T) {
	const s390 = "s390x/s390-ccw-virtio"
	pci := func(inside string) string { return vgpuElement(firstID, "", inside) }
	ccw := func(id, inside string) string {
		return strings.Replace(vgpuElement(id, "", inside), "vfio-pci", "vfio-ccw", 1)
	}
	ap := func(inside string) string {
		return strings.Replace(vgpuElement(firstID, "", inside), "vfio-pci", "vfio-ap", 1)
	}
	devno := func(cssid, ssid, devno string) string {
		return "<address type='ccw' cssid='" + cssid + "' ssid='" + ssid + "' devno='" + devno + "'/>"
	}
	zpci := func(ids string) string {
		return "<address type='pci' bus='0' slot='8'><zpci " + ids + "/></address>"
	}
	for name, test := range map[string]struct {
		machine string
		devices []string
		says    string // "" if nothing is refused
	}{
		"drive address":            {"pc", []string{pci("<address type='drive' controller='0' bus='0' target='0' unit='1'/>")}, "Unsupported address type 'drive' with mediated device model 'vfio-pci'"},
		"channel address":          {s390, []string{pci(devno("0xfe", "0", "1"))}, "Unsupported address type 'ccw' with mediated device model 'vfio-pci'"},
		"USB address":              {"q35", []string{pci("<address type='usb' bus='0' port='1'/>")}, "Unsupported address type 'usb'"},
		"no place in the guest":    {"q35", []string{pci("<address type='unassigned'/>")}, "Unsupported address type 'unassigned'"},
		"PCI address of ccw":       {s390, []string{ccw(firstID, pciAt("00:08.0"))}, "Unsupported address type 'pci' with mediated device model 'vfio-ccw'"},
		"channel address of ap":    {s390, []string{ap(devno("0xfe", "0", "1"))}, "Unsupported address type 'ccw' with mediated device model 'vfio-ap'"},
		"address without type":     {"q35", []string{pci("<address bus='0' slot='8'/>")}, "Missing required attribute 'type' in element 'address'"},
		"address of unknown type":  {"q35", []string{pci("<address type='none'/>")}, "Invalid value for attribute 'type' in element 'address': 'none'"},
		"address not a number":     {"q35", []string{pci("<address type='pci' slot='x'/>")}, "Invalid value for attribute 'slot' in element 'address': 'x'"},
		"slot out of range":        {"q35", []string{pci("<address type='pci' slot='0x20'/>")}, "Invalid value for attribute 'slot'"},
		"odd multifunction":        {"q35", []string{pci("<address type='pci' slot='8' multifunction='yes'/>")}, "Invalid value for attribute 'multifunction'"},
		"address to be found":      {"q35", []string{pci("<address type='pci'/>")}, ""},
		"same devno":               {s390, []string{ccw(firstID, devno("0xfe", "0x0", "0x0001")), ccw(secondID, devno("254", "0", "1"))}, "The CCW devno 'fe.0.0001' is in use already"},
		"a disk's devno":           {s390, []string{ccw(firstID, devno("0xfe", "0x0", "0x0001")), "<disk><target dev='vda'/>" + devno("0xfe", "0", "1") + "</disk>"}, "The CCW devno 'fe.0.0001' is in use already"},
		"another devno":            {s390, []string{ccw(firstID, devno("0xfe", "0x0", "0x0001")), ccw(secondID, devno("0xfe", "0x1", "0x0001"))}, ""},
		"devnos to be found":       {s390, []string{ccw(firstID, "<address type='ccw'/>"), ccw(secondID, "<address type='ccw'/>")}, ""},
		"half a devno":             {s390, []string{ccw(firstID, "<address type='ccw' devno='0x1'/>")}, "Invalid partial specification for virtio ccw address"},
		"devno out of range":       {s390, []string{ccw(firstID, devno("0xff", "0", "1"))}, "Invalid specification for virtio ccw address: cssid='0xff' ssid='0x0' devno='0x0001'"},
		"channel on x86":           {"q35", []string{ccw(firstID, devno("0xfe", "0", "1"))}, "CCW addresses are not supported by machine type 'q35'"},
		"ccw on x86":               {"q35", []string{ccw(firstID, "")}, "vfio-ccw device assignment is not supported"},
		"ap on Arm":                {"aarch64/virt", []string{ap("")}, "vfio-ap device assignment is not supported"},
		"zPCI":                     {s390, []string{pci(zpci("uid='0x1' fid='0x2'"))}, ""},
		"zPCI on x86":              {"q35", []string{pci(zpci("uid='0x1'"))}, "This QEMU binary doesn't support zPCI"},
		"zPCI without number":      {s390, []string{pci(zpci("uid='0x0'"))}, "Invalid PCI address uid='0x0000', must be > 0x0000 and <= 0xffff"},
		"zPCI number twice":        {s390, []string{pci(zpci("uid='0x9' fid='1'")), "<disk>" + zpci("uid='9' fid='2'") + "</disk>"}, "zPCI uid 11 is already reserved"},
		"zPCI function twice":      {s390, []string{pci(zpci("fid='1'")), "<disk>" + zpci("fid='1'") + "</disk>"}, "zPCI fid 1 is already reserved"},
		"boot without order":       {s390, []string{ccw(firstID, "<boot/>")}, "Missing required attribute 'order' in element 'boot'"},
		"boot order zero":          {"q35", []string{pci("<boot order='0'/>")}, "Invalid value for attribute 'order' in element 'boot': '0'"},
		"loadparm too long":        {s390, []string{ccw(firstID, "<boot order='1' loadparm='123456789'/>")}, "loadparm value '123456789' must be between 1 and 8 characters"},
		"loadparm of signs":        {s390, []string{ccw(firstID, "<boot order='1' loadparm='a_b'/>")}, "invalid loadparm value 'a_b'"},
		"loadparm":                 {s390, []string{ccw(firstID, "<boot order='1' loadparm='2 a.Z'/>")}, ""},
		"ROM of a channel":         {s390, []string{ccw(firstID, devno("0xfe", "0", "1")+"<rom bar='on'/>")}, "ROM tuning is only supported for PCI devices"},
		"ROM off and on":           {"q35", []string{pci("<rom enabled='no' bar='on'/>")}, "ROM tuning is not supported when ROM is disabled"},
		"ROM, odd":                 {"q35", []string{pci("<rom enabled='off'/>")}, "Invalid value for attribute 'enabled' in element 'rom': 'off'"},
		"ACPI index zero":          {"q35", []string{pci("<acpi index='0'/>")}, "Invalid value for attribute 'index' in element 'acpi': '0'"},
		"ACPI index of a channel":  {s390, []string{ccw(firstID, devno("0xfe", "0", "1")+"<acpi index='1'/>")}, "ACPI index is only supported for PCI devices"},
		"ACPI index":               {"q35", []string{pci("<acpi index='1'/>")}, ""},
		"teaming":                  {"q35", []string{pci("<teaming type='transient' persistent='ua-net'/>")}, "teaming is only supported for pci hostdev devices"},
		"teaming alone":            {"q35", []string{pci("<teaming type='transient'/>")}, "missing required persistent attribute in hostdev teaming element"},
		"teaming, the other":       {"q35", []string{pci("<teaming type='persistent'/>")}, "teaming hostdev devices must have type='transient'"},
		"teaming, unknown":         {"q35", []string{pci("<teaming type='x'/>")}, "unknown teaming type 'x'"},
		"no source":                {"q35", []string{"<hostdev type='mdev' model='vfio-pci'/>"}, "Missing <source> element in hostdev device"},
		"startup policy":           {"q35", []string{strings.Replace(pci(""), "<source>", "<source startupPolicy='optional'>", 1)}, "Setting startupPolicy is only allowed for USB devices"},
		"sgio":                     {"q35", []string{vgpuElement(firstID, "sgio='filtered'", "")}, "sgio is only supported for scsi host device"},
		"rawio":                    {"q35", []string{vgpuElement(firstID, "rawio='yes'", "")}, "rawio is only supported for scsi host device"},
		"display of ccw":           {s390, []string{strings.Replace(vgpuElement(firstID, "display='off'", ""), "vfio-pci", "vfio-ccw", 1)}, "'display' is only supported with model='vfio-pci'"},
		"second ramfb":             {"q35", []string{"<graphics/>", vgpuElement(firstID, "display='on' ramfb='on'", ""), vgpuElement(secondID, "display='on' ramfb='on'", "")}, "Only one vgpu device can have 'ramfb' enabled"},
		"display without graphics": {"q35", []string{vgpuElement(firstID, "display='on'", "")}, "graphics device is needed for attribute value 'display=on' in <hostdev>"},
	} {
		t.Run(name, func(t *testing.T) {
			d := guest(t, test.machine, test.devices...)
			if test.says == "" {
				require.NoError(t, d.Check())
				return
			}
			require.ErrorContains(t, d.Check(), test.says)
		})
	}
}

// Virtual functions that are ours are looked at as closely.
func TestCheckRefusesOfVirtualFunctions(t *testing.T) {
	for inside, says := range map[string]string{
		"managed='no'>": "", "managed='no' model='vfio-pci'>": "'model' attribute in <hostdev> is only supported",
		"managed='no'><address type='drive'/>":                       "PCI host devices must use 'pci' or 'unassigned' address type",
		"managed='no'><address type='unassigned'/>":                  "",
		"managed='no'><teaming type='transient' persistent='ua-a'/>": "",
	} {
		text := "<domain><metadata><v:vgpus xmlns:v='" + MetadataURI + "'><v:vgpu id='0000:41:00.4'/></v:vgpus></metadata><devices>" +
			"<hostdev type='pci' " + inside + "<source><address bus='0x41' function='4'/></source></hostdev></devices></domain>"
		if err := mustParse(t, text).Check(); says == "" {
			require.NoError(t, err, inside)
		} else {
			require.ErrorContains(t, err, says)
		}
		written := strings.Replace(text, "<source>", "<source writeFiltering='no'>", 1)
		require.ErrorContains(t, mustParse(t, written).Check(), "Write filtering of PCI device configuration space is not supported by qemu")
	}
}

// What is passed to QEMU for a vGPU in a way that a QEMU of today does not take is told
// before anything is made for it.
func TestCheckLooksAtWhatIsPassedToQEMU(t *testing.T) {
	for passed, says := range map[string]string{
		"<q:arg value='-set'/><q:arg value='device.hostdev0.x-igd-opregion=on'/>":   `there is no device "hostdev0" defined for -set device.hostdev0.x-igd-opregion=on`,
		"<q:arg value='--set'/><q:arg value='device.hostdev7.ramfb=on'/>":           `there is no device "hostdev7"`,
		"<q:arg value='-set'/><q:arg value='device.ua-a.display=on'/>":              `there is no device "ua-a"`,
		"<q:arg value='-set'/><q:arg value='device.net0.x=on'/>":                    "",
		"<q:arg value='-set'/><q:arg value='drive.hostdev0.x=on'/>":                 "",
		"<q:arg value='device.hostdev0.x=on'/>":                                     "",
		"<q:arg value='-set'/><q:arg value='-device'/><q:arg value='device.ua-a'/>": "",
	} {
		text := "<domain xmlns:q='" + qemuSpace + "'><devices>" + vgpuElement(firstID, "", "") + vgpuElement(secondID, "", "<alias name='ua-a'/>") +
			"</devices><q:commandline>" + passed + "</q:commandline></domain>"
		err := mustParse(t, text).Check()
		if says == "" {
			require.NoError(t, err, passed)
			continue
		}
		require.ErrorIs(t, err, ErrUnsupported)
		require.ErrorContains(t, err, says)
		require.NoError(t, mustParse(t, strings.NewReplacer(vgpuElement(firstID, "", ""), "", vgpuElement(secondID, "", "<alias name='ua-a'/>"), "").Replace(text)).Check(), "no vGPU is concerned")
	}
	for property, says := range map[string]string{
		"<q:property name='x' type='string' value='1'/>": "", "<q:property name='x' type='remove'/>": "",
		"<q:property name='x' type='string'/>":             "no valid value or name",
		"<q:property name='x' type='remove' value='1'/>":   "no valid value or name",
		"<q:property name='x' type='unsigned' value='x'/>": "no valid value or name",
	} {
		err := mustParse(t, "<domain xmlns:q='"+qemuSpace+"'><devices>"+vgpuElement(firstID, "", "")+"</devices><q:override><q:device alias='net0'><q:frontend>"+property+"</q:frontend></q:device></q:override></domain>").Check()
		if says == "" {
			require.NoError(t, err, property)
		} else {
			require.ErrorContains(t, err, says)
		}
	}
	assert.ErrorContains(t, mustParse(t, "<domain xmlns:q='"+qemuSpace+"'><devices>"+vgpuElement(firstID, "", "")+"</devices><q:override><q:device/></q:override></domain>").Check(), "missing 'alias' attribute for qemu:device")
}
