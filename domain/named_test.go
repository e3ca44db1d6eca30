package domain

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestNamed: a device is named wherever a document can have QEMU take it.
func TestNamed(t *testing.T) {
	const id = "c2177883-f1bb-47f0-914d-32a22e3a8804"
	for name, c := range map[string]struct {
		text string
		want []string
	}{
		"nothing":   {"", nil},
		"a hostdev": {"<devices><hostdev type='mdev'><source><address uuid='" + strings.ToUpper(id) + "'/></source></hostdev></devices>", []string{id}},
		"an interface": {
			"<devices><interface type='hostdev'><source><address type='pci' bus='0x41' slot='0' function='4'/></source></interface></devices>",
			[]string{"0000:41:00.4"},
		},
		"an override":   {"<q:override><q:device alias='hostdev0'><q:frontend><q:property name='sysfsdev' type='string' value='/sys/bus/mdev/devices/" + id + "'/></q:frontend></q:device></q:override>", []string{id}},
		"a host":        {"<q:override><q:device alias='hostdev0'><q:frontend><q:property name='host' type='string' value='41:00.4'/></q:frontend></q:device></q:override>", []string{"0000:41:00.4"}},
		"a command":     {"<q:commandline><q:arg value='-device'/><q:arg value='vfio-pci,sysfsdev=/sys/bus/mdev/devices/" + id + ",host=0000:61:00.0'/></q:commandline>", []string{id, "0000:61:00.0"}},
		"another's XML": {"<commandline><arg value='" + id + "'/></commandline>", nil},
	} {
		d, err := Parse([]byte("<domain xmlns:q='" + qemuSpace + "'><name>vm</name>" + c.text + "</domain>"))
		require.NoError(t, err, name)
		assert.Equal(t, c.want, d.Named(), name)
	}
}
