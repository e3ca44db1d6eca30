package domain

import (
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// ids returns the ids in the arguments for a document's vGPUs.
func ids(t *testing.T, d *Document) []string {
	t.Helper()
	args, err := d.QEMUArgs(QEMUOptions{})
	require.NoError(t, err)
	var found []string
	for _, m := range regexp.MustCompile(`"id":"([^"]*)"`).FindAllStringSubmatch(strings.Join(args, " "), -1) {
		found = append(found, m[1])
	}
	return found
}

// libvirt numbers the devices that have no alias of the user's, from the highest number on,
// interfaces first.
func TestQEMUIDsAreLibvirts(t *testing.T) {
	first := func(alias string) string { return vgpuElement(firstID, "", alias) }
	second := func(alias string) string { return vgpuElement(secondID, "", alias) }
	user, nic := "<alias name='ua-first'/>", "<interface type='hostdev'><source/></interface>"
	for name, test := range map[string]struct {
		devices []string
		want    []string
	}{
		"none":                     {[]string{first(""), second("")}, []string{"hostdev0", "hostdev1"}},
		"a user's before":          {[]string{first(user), second("")}, []string{"ua-first", "hostdev0"}},
		"a user's between":         {[]string{"<hostdev type='usb'/>", first(user), second("")}, []string{"ua-first", "hostdev1"}},
		"an interface behind":      {[]string{first(""), nic, second("")}, []string{"hostdev1", "hostdev2"}},
		"a named interface":        {[]string{first(""), strings.Replace(nic, "<source/>", "<alias name='ua-nic'/>", 1)}, []string{"hostdev0"}},
		"libvirt's are not kept":   {[]string{first("<alias name='hostdev5'/>"), second("")}, []string{"hostdev0", "hostdev1"}},
		"a user's with a sign":     {[]string{first("<alias name='ua-a.b'/>"), second("")}, []string{"hostdev0", "hostdev1"}},
		"a network's are no ones'": {[]string{"<interface type='network'><source network='vfs'/></interface>", first("")}, []string{"hostdev0"}},
	} {
		assert.Equal(t, test.want, ids(t, guest(t, "q35", test.devices...)), name)
	}
	live := strings.Replace(guest(t, "q35", first("<alias name='hostdev3'/>"), second("")).src, "<domain", "<domain id='7'", 1)
	assert.Equal(t, []string{"hostdev3", "hostdev4"}, ids(t, mustParse(t, live)), "what was attached to a running domain comes behind")
}

// The buses are named as libvirt names them: "pci" where QEMU knows no more than one.
func TestQEMUBusesAreLibvirts(t *testing.T) {
	const root = "<controller type='pci' index='0' model='pci-root'/>"
	pcie := "<controller type='pci' index='0' model='pcie-root'/>"
	named := func(controller, alias string) string {
		return strings.Replace(controller, "/>", "><alias name='"+alias+"'/></controller>", 1)
	}
	for machine, test := range map[string]struct {
		controllers []string
		address     string
		want        string
	}{
		"x86_64/pc":                  {[]string{root}, "00:08.0", "pci.0"},
		"i686/pc":                    {nil, "00:08.0", "pci.0"},
		"x86_64/q35":                 {[]string{pcie}, "00:08.0", "pcie.0"},
		"aarch64/virt":               {nil, "00:08.0", "pcie.0"},
		"riscv64/virt":               {nil, "00:08.0", "pcie.0"},
		"loongarch64/virt":           {nil, "00:08.0", "pcie.0"},
		"ppc64/pseries":              {nil, "00:08.0", "pci.0"},
		"ppc/g3beige":                {nil, "00:08.0", "pci.0"},
		"ppc64/powernv9":             {nil, "00:08.0", "pci.0"},
		"armv7l/versatilepb":         {nil, "00:08.0", "pci"},
		"armv7l/realview-eb":         {[]string{root}, "00:08.0", "pci"},
		"armv7l/borzoi":              {[]string{root}, "00:08.0", "pci"},
		"aarch64/raspi3b":            {[]string{root, pciController(1, "pci-bridge", "00:02.0")}, "01:08.0", "pci"},
		"mips/malta":                 {nil, "00:08.0", "pci"},
		"sparc64/sun4u":              {nil, "00:08.0", "pci"},
		"alpha/clipper":              {nil, "00:08.0", "pci"},
		"riscv64/sifive_u":           {[]string{root}, "00:08.0", "pci"},
		"x86_64/pc-i440fx-9.2":       {[]string{named(root, "ua-root")}, "00:08.0", "pci.0"},
		"x86_64/pc-q35-9.2":          {[]string{named(pcie, "ua-root")}, "00:08.0", "pcie.0"},
		"armv6l/versatilepb":         {[]string{named(root, "ua-root")}, "00:08.0", "pci"},
		"x86_64/pc-q35-8.0":          {[]string{pcie, pciController(1, "pcie-root-port", "00:02.0", "<alias name='ua-port'/>")}, "01:00.0", "ua-port"},
		"ppc64/pseries-9.2":          {[]string{root, "<controller type='pci' index='1' model='pci-root'/>"}, "01:08.0", "pci.1.0"},
		"ppc64le/pseries":            {[]string{root, pciController(1, "pci-root", "", "<target index='2'/><alias name='ua-phb'/>")}, "01:08.0", "ua-phb.0"},
		"x86_64/pc-i440fx-unindexed": {unnumbered("pci-root", "pci-bridge"), "01:08.0", "pci.1"},
	} {
		args, err := guest(t, machine, append(test.controllers, vgpuElement(firstID, "", pciAt(test.address)))...).QEMUArgs(QEMUOptions{})
		if assert.NoError(t, err, machine) {
			assert.Contains(t, args[1], `"bus":"`+test.want+`"`, machine)
		}
	}
}

// An override of the driver stays first in QEMU's classic syntax; without any driver there
// are no arguments.
func TestClassicArgumentsBeginWithTheDriver(t *testing.T) {
	overridden := func(property string) *Document {
		return mustParse(t, "<domain xmlns:q='"+qemuSpace+"'><devices>"+vgpuElement(firstID, "", "")+"</devices><q:override><q:device alias='hostdev0'><q:frontend>"+
			property+"</q:frontend></q:device></q:override></domain>")
	}
	const path = "/sys/bus/mdev/devices/" + firstID
	d := overridden("<q:property name='xres' type='unsigned' value='8'/><q:property name='driver' type='string' value='vfio-pci-nohotplug'/>")
	args, err := d.QEMUArgs(QEMUOptions{Classic: true})
	require.NoError(t, err)
	assert.Equal(t, []string{"-device", "vfio-pci-nohotplug,id=hostdev0,sysfsdev=" + path + ",display=off,xres=8"}, args)
	args, err = d.QEMUArgs(QEMUOptions{})
	require.NoError(t, err)
	assert.Equal(t, []string{"-device", `{"id":"hostdev0","sysfsdev":"` + path + `","display":"off","xres":8,"driver":"vfio-pci-nohotplug"}`}, args)
	for _, classic := range []bool{true, false} {
		_, err = overridden("<q:property name='driver' type='remove'/>").QEMUArgs(QEMUOptions{Classic: classic})
		requireError(t, err, ErrInvalid, "it removes the driver")
	}
}
