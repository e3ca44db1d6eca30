package domain

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const root35 = "<controller type='pci' index='0' model='pcie-root'/>"

func vgpuElement(id, attributes, inside string) string {
	return "<hostdev mode='subsystem' type='mdev' model='vfio-pci' " + attributes + "><source><address uuid='" + id + "'/></source>" + inside + "</hostdev>"
}

func vfElement(inside string) string {
	return "<hostdev mode='subsystem' type='pci' managed='no'><source><address bus='0x41' function='4'/></source>" + inside + "</hostdev>"
}

// The arguments are those of libvirt 11.3, in its order: see also the corpus
// test below, and the comparison with a running libvirtd in integration.
func TestQEMUArgs(t *testing.T) {
	const sysfs = "/sys/bus/mdev/devices/" + firstID
	for name, test := range map[string]struct {
		machine       string
		devices       []string
		json, classic string
	}{
		"plain": {
			"q35",
			[]string{root35, vgpuElement(firstID, "", pciAt("00:08.0"))},
			`{"driver":"vfio-pci","id":"hostdev0","sysfsdev":"` + sysfs + `","display":"off","bus":"pcie.0","addr":"0x8"}`,
			"vfio-pci,id=hostdev0,sysfsdev=" + sysfs + ",display=off,bus=pcie.0,addr=0x8",
		},
		"display": {
			"pc",
			[]string{vgpuElement(firstID, "display='on'", pciAt("00:08.0"))},
			`{"driver":"vfio-pci","id":"hostdev0","sysfsdev":"` + sysfs + `","display":"on","bus":"pci.0","addr":"0x8"}`,
			"vfio-pci,id=hostdev0,sysfsdev=" + sysfs + ",display=on,bus=pci.0,addr=0x8",
		},
		"ramfb behind a root port": {
			"q35",
			[]string{root35, pciController(1, "pcie-root-port", "00:01.0"), vgpuElement(firstID, "display='on' ramfb='on'", pciAt("01:00.0")+"<alias name='ua-gpu'/>")},
			`{"driver":"vfio-pci-nohotplug","id":"ua-gpu","sysfsdev":"` + sysfs + `","display":"on","ramfb":true,"bus":"pci.1","addr":"0x0"}`,
			"vfio-pci-nohotplug,id=ua-gpu,sysfsdev=" + sysfs + ",display=on,ramfb=on,bus=pci.1,addr=0x0",
		},
		"no address, ramfb off": {
			"q35",
			[]string{vgpuElement(firstID, "ramfb='off'", "<alias name='hostdev7'/>")},
			`{"driver":"vfio-pci","id":"hostdev0","sysfsdev":"` + sysfs + `","display":"off"}`,
			"vfio-pci,id=hostdev0,sysfsdev=" + sysfs + ",display=off",
		},
		"alias of a port": {
			"q35",
			[]string{root35, pciController(1, "pcie-root-port", "00:01.0", "<alias name='ua-port'/>"), vgpuElement(firstID, "", pciAt("01:00.0"))},
			`{"driver":"vfio-pci","id":"hostdev0","sysfsdev":"` + sysfs + `","display":"off","bus":"ua-port","addr":"0x0"}`,
			"vfio-pci,id=hostdev0,sysfsdev=" + sysfs + ",display=off,bus=ua-port,addr=0x0",
		},
		"numbered behind others": {
			"q35",
			[]string{"<hostdev type='usb'><source/></hostdev>", vgpuElement(firstID, "", ""), "<interface type='hostdev'><source/></interface>"},
			`{"driver":"vfio-pci","id":"hostdev2","sysfsdev":"` + sysfs + `","display":"off"}`,
			"vfio-pci,id=hostdev2,sysfsdev=" + sysfs + ",display=off",
		},
		"functions": {
			"q35",
			[]string{root35, vgpuElement(firstID, "", pciAt("00:08.0")), at("00:08.3")},
			`{"driver":"vfio-pci","id":"hostdev0","sysfsdev":"` + sysfs + `","display":"off","bus":"pcie.0","multifunction":true,"addr":"0x8"}`,
			"vfio-pci,id=hostdev0,sysfsdev=" + sysfs + ",display=off,bus=pcie.0,multifunction=on,addr=0x8",
		},
		"a function": {
			"q35",
			[]string{root35, vgpuElement(firstID, "", pciAt("00:08.3", "multifunction='off'")+"<acpi index='7'/>"), at("00:08.0")},
			`{"driver":"vfio-pci","id":"hostdev0","sysfsdev":"` + sysfs + `","display":"off","bus":"pcie.0","multifunction":false,"addr":"0x8.0x3","acpi-index":7}`,
			"vfio-pci,id=hostdev0,sysfsdev=" + sysfs + ",display=off,bus=pcie.0,multifunction=off,addr=0x8.0x3,acpi-index=7",
		},
		"virtual function": {
			"q35",
			[]string{root35, vfElement(pciAt("00:09.0") + "<boot order='2'/><rom bar='off' file='/a,b'/>")},
			`{"driver":"vfio-pci","host":"0000:41:00.4","id":"hostdev0","bootindex":2,"bus":"pcie.0","addr":"0x9","rombar":0,"romfile":"/a,b"}`,
			"vfio-pci,host=0000:41:00.4,id=hostdev0,bootindex=2,bus=pcie.0,addr=0x9,rombar=0,romfile=/a,,b",
		},
		"virtual function without ROM": {
			"q35",
			[]string{vfElement("<rom enabled='no'/><teaming type='transient' persistent='ua-net'/>")},
			`{"driver":"vfio-pci","host":"0000:41:00.4","id":"hostdev0","failover_pair_id":"ua-net","romfile":""}`,
			"vfio-pci,host=0000:41:00.4,id=hostdev0,failover_pair_id=ua-net,romfile=",
		},
		"second host bridge of pseries": {
			"ppc64/pseries",
			[]string{
				pciController(0, "pci-root", "", "<target index='0'/>"), pciController(1, "pci-root", "", "<target index='1'/>"),
				vgpuElement(firstID, "", pciAt("01:01.0")),
			},
			`{"driver":"vfio-pci","id":"hostdev0","sysfsdev":"` + sysfs + `","display":"off","bus":"pci.1.0","addr":"0x1"}`,
			"vfio-pci,id=hostdev0,sysfsdev=" + sysfs + ",display=off,bus=pci.1.0,addr=0x1",
		},
		"channel device": {
			"s390x/s390-ccw-virtio",
			[]string{strings.Replace(vgpuElement(firstID, "", "<boot order='1' loadparm='2'/><address type='ccw' cssid='0xfe' ssid='0x0' devno='0x1a'/>"), "vfio-pci", "vfio-ccw", 1)},
			`{"driver":"vfio-ccw","id":"hostdev0","sysfsdev":"` + sysfs + `","bootindex":1,"loadparm":"2","devno":"fe.0.001a"}`,
			"vfio-ccw,id=hostdev0,sysfsdev=" + sysfs + ",bootindex=1,loadparm=2,devno=fe.0.001a",
		},
		"what is not a vGPU": {"q35", []string{strings.Replace(vfElement(""), "'no'", "'yes'", 1), vfElement("<address type='unassigned'/>"), "<hostdev type='usb'/>"}, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			d := guest(t, test.machine, test.devices...)
			for _, way := range []struct {
				opts QEMUOptions
				want string
			}{{QEMUOptions{}, test.json}, {QEMUOptions{Classic: true}, test.classic}} {
				args, err := d.QEMUArgs(way.opts)
				require.NoError(t, err)
				if way.want == "" {
					assert.Empty(t, args)
					continue
				}
				assert.Equal(t, []string{"-device", way.want}, args)
			}
		})
	}
}

// NVIDIA's vGPU manager finds the VM by its UUID.
func TestQEMUArgsBeginWithTheUUID(t *testing.T) {
	d := mustParse(t, "<domain id='3'><uuid>C7A5FDBDEDAF9455926AD65C16DB1809</uuid><devices>"+vgpuElement(firstID, "", "<alias name='hostdev5'/>")+"</devices></domain>")
	args, err := d.QEMUArgs(QEMUOptions{Classic: true})
	require.NoError(t, err)
	assert.Equal(t, []string{
		"-uuid", "c7a5fdbd-edaf-9455-926a-d65c16db1809",
		"-device", "vfio-pci,id=hostdev5,sysfsdev=/sys/bus/mdev/devices/" + firstID + ",display=off",
	}, args, "a running domain keeps the aliases that libvirt gave")
}

func TestQEMUArgsFollowOverrides(t *testing.T) {
	override := func(alias, properties string) string {
		return "<domain xmlns:q='" + qemuSpace + "'><devices>" + vgpuElement(firstID, "", "<alias name='ua-a'/>") + "</devices><q:override><q:device alias='" + alias +
			"'><q:frontend>" + properties + "</q:frontend></q:device></q:override></domain>"
	}
	const plain = `{"driver":"vfio-pci","id":"ua-a","sysfsdev":"/sys/bus/mdev/devices/` + firstID + `"`
	for properties, want := range map[string]string{
		"<q:property name='enable-migration' type='string' value='on'/>":                                           plain + `,"display":"off","enable-migration":"on"}`,
		"<q:property name='display' type='remove'/><q:property name='a' type='signed' value='-1'/>":                plain + `,"a":-1}`,
		"<q:property name='display' type='string' value='&lt;&amp;\u00e9'/>":                                       plain + `,"display":"<&` + "\u00e9" + `"}`,
		"<q:property name='b' type='bool' value='true'/><q:property name='u' type='unsigned' value='4294967296'/>": plain + `,"display":"off","b":true,"u":4294967296}`,
		"<property name='b' type='bool' value='true'/>":                                                            plain + `,"display":"off"}`,
	} {
		args, err := mustParse(t, override("ua-a", properties)).QEMUArgs(QEMUOptions{})
		require.NoError(t, err)
		assert.Equal(t, []string{"-device", want}, args)
	}
	other, err := mustParse(t, override("ua-b", "<q:property name='x' type='bool' value='true'/>")).QEMUArgs(QEMUOptions{})
	require.NoError(t, err)
	assert.Equal(t, []string{"-device", plain + `,"display":"off"}`}, other)
	for _, bad := range []string{"name='x' type='unsigned' value='-1'", "name='x' type='float' value='1'", "name='x'", "type='string' value=''", "name='id' type='remove'", "name='x' type='bool' value='on'"} {
		_, err := mustParse(t, override("ua-a", "<q:property "+bad+"/>")).QEMUArgs(QEMUOptions{})
		requireError(t, err, ErrInvalid, "<qemu:override> of ua-a")
	}
}

func TestQEMUArgsRefuse(t *testing.T) {
	_, err := guest(t, "q35", vgpuElement(firstID, "", pciAt("00:08.0")+""), vgpuElement(secondID, "", "<address type='pci' domain='1' bus='3' slot='1'/>")).QEMUArgs(QEMUOptions{})
	requireError(t, err, ErrInvalid, "Could not find PCI controller with index '3' required for device at address '0001:03:01.0'")
	_, err = guest(t, "s390x/s390-ccw-virtio", vfElement(pciAt("00:08.0"))).QEMUArgs(QEMUOptions{})
	requireError(t, err, ErrUnsupported, "zpci")
	_, err = guest(t, "s390x/s390-ccw-virtio", vgpuElement(firstID, "", "<address type='ccw' cssid='x'/>")).QEMUArgs(QEMUOptions{})
	requireError(t, err, ErrInvalid, "'cssid' in element 'address': 'x'")
}

// Where a document of the corpus lies beside the command line that libvirt made
// of it for a QEMU of today (name-latest.args), ours has the same -device for
// each vGPU. Assigned devices count as such.
func TestCorpusQEMUArgs(t *testing.T) {
	device := regexp.MustCompile(`(?m)^-device '(.*)' ?\\?$`)
	id := regexp.MustCompile(`"id":"([^"]*)"`)
	compared := 0
	corpusDocuments(t, func(name string, text []byte, _ *Document) {
		files, _ := filepath.Glob(filepath.Join(os.Getenv("VGPUKIT_CORPUS"), "*", strings.TrimSuffix(name, ".xml")+".args"))
		if len(files) != 1 || !strings.Contains(name, "-latest") {
			return
		}
		line, err := os.ReadFile(files[0])
		require.NoError(t, err)
		d := mustParse(t, strings.ReplaceAll(string(text), "managed='yes'", "managed='no'"))
		args, err := d.QEMUArgs(QEMUOptions{})
		if err != nil {
			assert.ErrorIs(t, err, ErrUnsupported, name)
			return
		}
		theirs := map[string]string{}
		for _, m := range device.FindAllStringSubmatch(string(line), -1) {
			if alias := id.FindStringSubmatch(m[1]); alias != nil {
				theirs[alias[1]] = m[1]
			}
		}
		for i := slices.Index(args, "-device"); i >= 0 && i < len(args); i += 2 {
			compared++
			assert.Equal(t, theirs[id.FindStringSubmatch(args[i+1])[1]], args[i+1], name)
		}
	})
	t.Logf("%d arguments compared", compared)
}
