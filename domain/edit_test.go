package domain

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const (
	firstID  = "c2177883-f1bb-47f0-914d-32a22e3a8804"
	secondID = "83b8f4f2-509f-382f-3c1e-e6bfe0fa1001"
	firstVF  = "0000:41:00.4"
)

func first() Hostdev { return Hostdev{UUID: uuid.MustParse(firstID)} }

func mustParse(t testing.TB, text string) *Document {
	t.Helper()
	d, err := Parse([]byte(text))
	require.NoError(t, err)
	return d
}

// The new element looks like what is around it, and all else stays.
func TestAddFollowsTheSurroundings(t *testing.T) {
	const inline = "<hostdev mode='subsystem' type='mdev' model='vfio-pci' managed='no'><source><address uuid='" + firstID + "'/></source></hostdev>"
	lines := func(indent, unit, eol string) string {
		return strings.Join([]string{
			indent + "<hostdev mode='subsystem' type='mdev' model='vfio-pci' managed='no'>",
			indent + unit + "<source>",
			indent + unit + unit + "<address uuid='" + firstID + "'/>",
			indent + unit + "</source>",
			indent + "</hostdev>",
		}, eol)
	}
	usual := lines("    ", "  ", "\n")
	for name, test := range map[string]struct{ in, out string }{
		"behind the last hostdev": {
			"<domain>\n  <devices>\n    <disk/>\n    <hostdev/>\n    <hostdev/>\n    <video/>\n  </devices>\n</domain>\n",
			"<domain>\n  <devices>\n    <disk/>\n    <hostdev/>\n    <hostdev/>\n" + usual + "\n    <video/>\n  </devices>\n</domain>\n",
		},
		"where libvirt writes it": {
			"<domain>\n  <devices>\n    <emulator/>\n    <video/>\n    <memballoon/>\n  </devices>\n</domain>",
			"<domain>\n  <devices>\n    <emulator/>\n    <video/>\n" + usual + "\n    <memballoon/>\n  </devices>\n</domain>",
		},
		"first of all": {
			"<domain>\n  <devices>\n    <memballoon/>\n  </devices>\n</domain>",
			"<domain>\n  <devices>\n" + usual + "\n    <memballoon/>\n  </devices>\n</domain>",
		},
		"behind the comment of the one before": {
			"<domain>\n  <devices>\n    <disk/>  <!-- root -->\n    <!-- next -->\n    <rng/>\n  </devices>\n</domain>",
			"<domain>\n  <devices>\n    <disk/>  <!-- root -->\n" + usual + "\n    <!-- next -->\n    <rng/>\n  </devices>\n</domain>",
		},
		"CRLF and tabs": {
			"<domain>\r\n\t<devices>\r\n\t\t<disk/>\r\n\t</devices>\r\n</domain>\r\n",
			"<domain>\r\n\t<devices>\r\n\t\t<disk/>\r\n" + lines("\t\t", "\t", "\r\n") + "\r\n\t</devices>\r\n</domain>\r\n",
		},
		"CR alone": {
			"<domain>\r <devices>\r  <disk/>\r </devices>\r</domain>\r",
			"<domain>\r <devices>\r  <disk/>\r" + lines("  ", " ", "\r") + "\r </devices>\r</domain>\r",
		},
		"four blanks": {
			"<domain>\n    <devices>\n        <disk/>\n    </devices>\n</domain>",
			"<domain>\n    <devices>\n        <disk/>\n" + lines("        ", "    ", "\n") + "\n    </devices>\n</domain>",
		},
		"no indentation": {
			"<domain>\n<devices>\n<disk/>\n</devices>\n</domain>",
			"<domain>\n<devices>\n<disk/>\n" + lines("", "  ", "\n") + "\n</devices>\n</domain>",
		},
		"all on one line": {
			"<domain><devices><disk/></devices></domain>",
			"<domain><devices><disk/>" + inline + "</devices></domain>",
		},
		"double quotes": {
			`<domain type="kvm"><devices><disk/></devices></domain>`,
			`<domain type="kvm"><devices><disk/>` + strings.ReplaceAll(inline, "'", `"`) + `</devices></domain>`,
		},
		"white space only": {
			"<domain>\n  <devices>\n  </devices>\n</domain>",
			"<domain>\n  <devices>\n" + usual + "\n  </devices>\n</domain>",
		},
		"opened": {
			"<domain>\n  <devices/>\n</domain>",
			"<domain>\n  <devices>" + markOpened + "\n" + usual + "\n  </devices>\n</domain>",
		},
		"opened, with space": {
			"<domain>\n  <devices />\n</domain>",
			"<domain>\n  <devices >" + markOpened + "\n" + usual + "\n  </devices>\n</domain>",
		},
		"filled": {
			"<domain>\n  <devices></devices>\n</domain>",
			"<domain>\n  <devices>" + markFilled + "\n" + usual + "\n  </devices>\n</domain>",
		},
		"made": {
			"<domain>\n  <name>x</name>\n  <seclabel/>\n</domain>",
			"<domain>\n  <name>x</name>\n  <devices>" + markMade + "\n" + usual + "\n  </devices>\n  <seclabel/>\n</domain>",
		},
		"made, all on one line": {
			"<domain><name>x</name></domain>",
			"<domain><name>x</name><devices>" + markMade + inline + "</devices></domain>",
		},
		"in nothing at all": {
			"<domain/>",
			"<domain>" + markOpened + "\n  <devices>" + markMade + "\n" + usual + "\n  </devices>\n</domain>",
		},
		"not in what only looks like it": {
			"<domain xmlns:a='u'>\n  <metadata>\n    <devices/>\n  </metadata>\n  <!-- <devices/> -->\n  <a:devices/>\n  <b><![CDATA[<devices/>]]></b>\n  <devices>\n    <disk/>\n    <a:hostdev/>\n  </devices>\n</domain>",
			"<domain xmlns:a='u'>\n  <metadata>\n    <devices/>\n  </metadata>\n  <!-- <devices/> -->\n  <a:devices/>\n  <b><![CDATA[<devices/>]]></b>\n  <devices>\n    <disk/>\n" + usual + "\n    <a:hostdev/>\n  </devices>\n</domain>",
		},
	} {
		t.Run(name, func(t *testing.T) {
			added, err := mustParse(t, test.in).Add(first())
			require.NoError(t, err)
			assert.Equal(t, test.out, string(added.Bytes()))
			removed, err := mustParse(t, test.out).Remove(firstID)
			require.NoError(t, err)
			assert.Equal(t, test.in, string(removed.Bytes()))
		})
	}
}

// Remove takes out what it was asked to, whoever wrote it, and nothing else.
func TestRemoveChangesNothingElse(t *testing.T) {
	const before = "<domain>\n <devices>\n  <!-- a --> "
	const device = "<hostdev type='mdev' model='vfio-pci'>\n<!-- mine --><source><address uuid=' C2177883F1BB-47f0914d32a22e3a8804'/></source><driver x='1'/></hostdev >"
	const after = "<!-- b -->\n </devices>\n</domain>"
	d, err := mustParse(t, before+device+after).Remove(firstID)
	require.NoError(t, err)
	assert.Equal(t, strings.TrimSuffix(before, " ")+after, string(d.Bytes()))
}

func TestRemoveLooksAtDevicesOnly(t *testing.T) {
	inside := "<hostdev mode='subsystem' type='mdev' model='vfio-pci'><source><address uuid='" + firstID + "'/></source></hostdev>"
	for name, text := range map[string]string{
		"metadata":      "<domain><metadata>" + inside + "</metadata><devices/></domain>",
		"comment":       "<domain><devices><!--" + inside + "--></devices></domain>",
		"CDATA":         "<domain><devices><![CDATA[" + inside + "]]></devices></domain>",
		"instruction":   "<domain><devices><?x " + inside + "?></devices></domain>",
		"namespace":     "<domain><devices xmlns='urn:x'>" + inside + "</devices></domain>",
		"deeper":        "<domain><devices><disk>" + inside + "</disk></devices></domain>",
		"outside":       "<domain>" + inside + "<devices/></domain>",
		"capabilities":  "<domain><devices>" + strings.Replace(inside, "subsystem", "capabilities", 1) + "</devices></domain>",
		"another kind":  "<domain><devices>" + strings.Replace(inside, "mdev", "usb", 1) + "</devices></domain>",
		"command line":  "<domain xmlns:q='u'><q:devices>" + inside + "</q:devices></domain>",
		"another's one": "<domain><devices>" + strings.Replace(inside, "c217", "c218", 1) + "</devices></domain>",
	} {
		t.Run(name, func(t *testing.T) {
			d := mustParse(t, text)
			_, err := d.Remove(firstID)
			require.ErrorIs(t, err, ErrNotFound)
			added, err := d.Add(first())
			require.NoError(t, err)
			removed, err := added.Remove(firstID)
			require.NoError(t, err)
			assert.Equal(t, text, string(removed.Bytes()))
		})
	}
	_, err := mustParse(t, "<domain/>").Remove("mdev_1")
	assert.ErrorIs(t, err, ErrInvalid)
}

// libvirt takes the devices of all <devices> elements.
func TestSeveralDevicesElements(t *testing.T) {
	text := "<domain><devices><disk/></devices><devices><hostdev/><rng/></devices></domain>"
	d, err := mustParse(t, text).Add(first())
	require.NoError(t, err)
	assert.Contains(t, string(d.Bytes()), "<devices><disk/></devices><devices><hostdev/><hostdev ")
	require.Len(t, d.Hostdevs(), 1)
	d, err = d.Remove(firstID)
	require.NoError(t, err)
	assert.Equal(t, text, string(d.Bytes()))
}

func TestAddRefusesADocumentThatWouldBeTooLarge(t *testing.T) {
	text := "<domain><!--" + strings.Repeat("x", maxSize-len("<domain><!----></domain>")) + "--></domain>"
	_, err := mustParse(t, text).Add(first())
	assert.ErrorIs(t, err, ErrInvalid)
}

// randomDocument makes documents of odd layout.
func randomDocument(r *rand.Rand) string {
	var b strings.Builder
	pick := func(choices ...string) string { return choices[r.IntN(len(choices))] }
	eol := pick("\n", "\r\n", "\r", "")
	space := func() {
		switch r.IntN(6) {
		case 0:
		case 1:
			b.WriteString(pick(" ", "\t", "  ", " \t", "\t\t", " \t \t", " \t\t"))
		case 2:
			b.WriteString(pick(" ", "\t", " \t", " \t \t", " \t\t") + eol + pick("", " ", "\t"))
		default:
			b.WriteString(eol + pick("", "  ", "    ", "\t", "\t\t"))
		}
	}
	other := func() {
		b.WriteString(pick("<!-- <hostdev/> -->", "<!---->", "<!-->-->", "<?x y?>", "<![CDATA[<hostdev/> ]]>", "x", "&#32;", "<a:b xmlns:a='u'/>", "", "", "", ""))
	}
	b.WriteString(pick("", "\ufeff", "<?xml version='1.0'?>"+eol, "<!-- x -->"))
	if r.IntN(30) == 0 {
		return b.String() + pick("<domain/>", "<domain></domain>", "<domain />", "<domain> </domain>")
	}
	b.WriteString(pick("<domain type='kvm'>", `<domain type="kvm">`, "<domain>"))
	for range r.IntN(5) {
		space()
		other()
		b.WriteString(pick("<name>x</name>", "<metadata/>", "<metadata><a:hostdev xmlns:a='u'/></metadata>", "<seclabel/>", "<title></title>", ""))
	}
	for range 1 + r.IntN(8)/7 {
		space()
		switch r.IntN(7) {
		case 0:
			b.WriteString(pick("<devices/>", "<devices />", "<devices a='>'/>"))
		case 1:
			b.WriteString("<devices></devices>")
		case 2: // missing
		default:
			b.WriteString("<devices>")
			for range r.IntN(6) {
				space()
				other()
				b.WriteString(pick("<disk/>", "<video>\n</video>", "<rng/>", "<x/>", "<hostdev mode='subsystem' type='usb'/>",
					"<hostdev type='mdev'/>", "<hostdev/><!-- c -->", "<hostdev/> <!-- a\nb -->", "<memballoon/>", "<controller type='pci'/>"))
			}
			space()
			b.WriteString("</devices>")
		}
	}
	space()
	other()
	b.WriteString(pick("", "<seclabel/>", "<q:commandline xmlns:q='u'/>"))
	space()
	return b.String() + "</domain>" + pick("", eol, "<!-- x -->")
}

// Removing all that was added, in whatever order and with everything passed
// through bytes, gives back the document; so does removing some only what
// adding the others would have given.
func TestAddThenRemoveIsTheIdentity(t *testing.T) {
	r, rounds := random(t, 500)
	for range rounds {
		text := randomDocument(r)
		d := mustParse(t, text)
		devices := randomHostdevs(r)
		all := addAll(t, d, devices)
		r.Shuffle(len(devices), func(i, j int) { devices[i], devices[j] = devices[j], devices[i] })
		for i, h := range devices {
			var err error
			all, err = mustParse(t, string(all.Bytes())).Remove(h.ID())
			require.NoError(t, err)
			if i == 0 {
				left := addAll(t, d, inOrder(devices[1:]))
				require.Equal(t, string(left.Bytes()), string(all.Bytes()), "of %q", text)
			}
		}
		require.Equal(t, text, string(all.Bytes()))
	}
}

func addAll(t *testing.T, d *Document, devices []Hostdev) *Document {
	t.Helper()
	text := d.src
	for _, h := range devices {
		added, err := d.Add(h)
		require.NoError(t, err, "to %q", text)
		d = mustParse(t, string(added.Bytes()))
	}
	return d
}

// inOrder sorts random hostdevs by the order in which they were made.
func inOrder(devices []Hostdev) []Hostdev {
	var sorted []Hostdev
	for i := range 8 {
		for _, h := range devices {
			if h.Alias == fmt.Sprintf("ua-%d", i) {
				sorted = append(sorted, h)
			}
		}
	}
	return sorted
}

func randomHostdevs(r *rand.Rand) []Hostdev {
	var devices []Hostdev
	for i := range 1 + r.IntN(3) {
		h := Hostdev{Alias: fmt.Sprintf("ua-%d", i)}
		if r.IntN(3) == 0 {
			h.VF = Address{Bus: uint8(r.IntN(256)), Slot: uint8(i), Function: uint8(r.IntN(8))}.String()
		} else {
			var id [16]byte
			for i := range id {
				id[i] = byte(1 + r.IntN(255))
			}
			h.UUID = id
			if r.IntN(4) == 0 {
				h.Model = []string{ModelPCI, ModelCCW}[r.IntN(2)]
			}
		}
		if r.IntN(4) == 0 && h.Model != ModelCCW {
			h.Display, h.RAMFB = SwitchOff, SwitchOff
		}
		devices = append(devices, h)
	}
	return devices
}

// The same, and what libvirt's schema says, for documents that other people
// wrote: those below $VGPUKIT_CORPUS.
func TestCorpusAddThenRemoveIsTheIdentity(t *testing.T) {
	r, _ := random(t, 0)
	var originals, edited []string
	corpusDocuments(t, func(name string, text []byte, d *Document) {
		devices := randomHostdevs(r)
		for i := range devices {
			devices[i].Display, devices[i].RAMFB = SwitchUnset, SwitchUnset // newer than some schemas
			if m := machineOf(d.root); devices[i].Model == ModelCCW && m.written && m.kind != machineS390 {
				devices[i].Model = ModelPCI
			}
		}
		if free, err := d.Free(len(devices), AddressRequest{}); err == nil {
			for i := range devices {
				if devices[i].Model != ModelCCW {
					devices[i].Address = &free[i]
				}
			}
		}
		all := addAll(t, d, devices)
		originals, edited = append(originals, string(text)), append(edited, all.src)
		require.Len(t, all.Hostdevs(), len(d.Hostdevs())+len(devices), name)
		agreesWithDecoder(t, all)
		r.Shuffle(len(devices), func(i, j int) { devices[i], devices[j] = devices[j], devices[i] })
		for _, h := range devices {
			var err error
			all, err = mustParse(t, string(all.Bytes())).Remove(h.ID())
			require.NoError(t, err, name)
		}
		require.Equal(t, string(text), string(all.Bytes()), name)
	})
	staysValid(t, originals, edited)
}

// staysValid checks that each edited document is valid by libvirt's schema if
// its original is. $VGPUKIT_SCHEMA names another domain.rng.
func staysValid(t *testing.T, originals, edited []string) {
	t.Helper()
	schema := os.Getenv("VGPUKIT_SCHEMA")
	if schema == "" {
		schema = "/usr/share/libvirt/schemas/domain.rng"
	}
	if _, err := os.Stat(schema); err != nil {
		t.Logf("not validated: %v", err)
		return
	}
	before, after := validate(t, schema, originals), validate(t, schema, edited)
	valid := 0
	for i := range originals {
		if before[i] {
			valid++
			assert.True(t, after[i], "not valid any more:\n%s", edited[i])
		}
	}
	assert.Positive(t, valid)
	t.Logf("%d of %d valid, before and after", valid, len(originals))
}
