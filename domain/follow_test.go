package domain

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const thirdID = "c2177883-f1bb-47f0-914d-32a22e3a8806"

// overriding is a document whose devices have an override each, by the alias that libvirt
// gives them; a device is an id or an element.
func overriding(t *testing.T, devices ...string) *Document {
	t.Helper()
	text := "<domain xmlns:q='" + qemuSpace + "'>\n  <devices>\n"
	for _, d := range devices {
		if !strings.HasPrefix(d, "<") {
			d = vgpuElement(d, "", "")
		}
		text += "    " + d + "\n"
	}
	text += "  </devices>\n  <q:commandline>\n    <q:arg value='-set'/>\n    <q:arg value='device.hostdev1.y=1'/>\n  </q:commandline>\n  <q:override>\n"
	for i := range devices {
		alias := "hostdev" + string(rune('0'+i))
		text += "    <q:device alias='" + alias + "'><q:frontend><q:property name='x' type='string' value='of " + alias + "'/></q:frontend></q:device>\n"
	}
	return mustParse(t, text+"  </q:override>\n</domain>\n")
}

// passed tells by device what the document passes to QEMU for it.
func passed(t *testing.T, d *Document) map[string]string {
	t.Helper()
	args, err := d.QEMUArgs(QEMUOptions{Classic: true})
	require.NoError(t, err)
	got := map[string]string{}
	for _, arg := range args {
		if _, path, ok := strings.Cut(arg, "sysfsdev=/sys/bus/mdev/devices/"); ok {
			_, got[path[:36]], _ = strings.Cut(arg, ",x=")
		}
	}
	return got
}

// Whatever is removed, each device that stays keeps what the document passes to QEMU for it,
// and nobody gets another's.
func TestOverridesFollowTheirDevices(t *testing.T) {
	d := overriding(t, firstID, secondID, thirdID)
	want := map[string]string{firstID: "of hostdev0", secondID: "of hostdev1", thirdID: "of hostdev2"}
	require.Equal(t, want, passed(t, d))
	for _, gone := range []string{firstID, secondID, thirdID} {
		left, err := d.Remove(gone)
		require.NoError(t, err)
		expected := map[string]string{}
		for id, text := range want {
			if id != gone {
				expected[id] = text
			}
		}
		assert.Equal(t, expected, passed(t, left), gone)
		assert.Len(t, left.src, len(d.src)-len(vgpuElement(gone, "", ""))-len("\n    "), "no other byte is lost")
		back, err := left.Add(Hostdev{UUID: first().UUID, Alias: "ua-new"})
		if gone == firstID {
			require.NoError(t, err)
			assert.Empty(t, passed(t, back)[firstID], "an alias of its own has no override")
		}
	}
	left, err := d.Remove(firstID)
	require.NoError(t, err)
	assert.Contains(t, left.src, "device.hostdev0.y=1", "-set follows too")
}

// What has an alias of its own is no number: removing it changes no other's.
func TestOverridesStayWhereNumbersDo(t *testing.T) {
	user := vgpuElement(firstID, "", "<alias name='ua-a'/>")
	d := overriding(t, user, secondID)
	left, err := d.Remove(firstID)
	require.NoError(t, err)
	assert.Equal(t, strings.Replace(d.src, "\n    "+user, "", 1), left.src)
	nic := "<interface type='hostdev'><source><address type='pci' bus='0x41' function='0x4'/></source></interface>"
	d = overriding(t, firstID, nic, secondID)
	assert.Equal(t, map[string]string{firstID: "of hostdev1", secondID: "of hostdev2"}, passed(t, d))
	left, err = d.Remove(firstVF)
	require.NoError(t, err)
	assert.Equal(t, map[string]string{firstID: "of hostdev1", secondID: "of hostdev2"}, passed(t, left))
	plain := overriding(t, firstID)
	left, err = plain.Remove(firstID)
	require.NoError(t, err)
	back, err := left.Add(Hostdev{UUID: first().UUID})
	require.NoError(t, err)
	assert.Equal(t, map[string]string{firstID: "of hostdev0"}, passed(t, back), "what stood for the number was kept")
}

// All that is ours goes, and what is not stays: the document is as it was before.
func TestWithoutVGPUs(t *testing.T) {
	own := overriding(t, secondID, thirdID) // the user's first, then one that is not ours
	for _, d := range []*Document{own, mustParse(t, q35("")), mustParse(t, "<domain/>")} {
		given := d
		var err error
		for _, h := range []Hostdev{{UUID: first().UUID}, {VF: firstVF}} {
			given, err = given.Add(h)
			require.NoError(t, err)
		}
		given, err = given.WithMetadata(Metadata{VGPUs: []VGPU{{ID: firstID}, {ID: firstVF}, {ID: "0000:41:00.7"}}})
		require.NoError(t, err)
		bare, err := given.WithoutVGPUs()
		require.NoError(t, err)
		assert.Equal(t, d.src, bare.src)
		again, err := bare.WithoutVGPUs()
		require.NoError(t, err)
		assert.Equal(t, bare.src, again.src)
	}
	_, err := mustParse(t, "<domain><metadata><v:vgpus xmlns:v='"+MetadataURI+"'><v:vgpu id='x'/></v:vgpus></metadata></domain>").WithoutVGPUs()
	requireError(t, err, ErrInvalid, "neither a UUID nor a PCI address")
}
