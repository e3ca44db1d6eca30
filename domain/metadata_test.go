package domain

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func someMetadata() Metadata {
	return Metadata{VGPUs: []VGPU{
		{ID: firstID, Type: "nvidia-22", Parent: "0000:05:00.0", Lifetime: "reserved", Params: []Param{
			{"vgpu_params", "frame_rate_limiter=0, \"x\" <y> 'z' & \t\n\r\u00e9\U0001F600 ]]>"}, {"placement_id", ""},
		}},
		{ID: firstVF},
	}}
}

func TestMetadataIsWrittenWhereLibvirtDoes(t *testing.T) {
	one := Metadata{VGPUs: []VGPU{{ID: firstID, Type: "mtty-2", Params: []Param{{"a", "b"}}}}}
	const ours = `    <vgpukit:vgpus xmlns:vgpukit='` + MetadataURI + `'>
      <vgpukit:vgpu id='` + firstID + `' type='mtty-2'>
        <vgpukit:param name='a' value='b'/>
      </vgpukit:vgpu>
    </vgpukit:vgpus>
`
	for name, test := range map[string]struct{ in, out string }{
		"made": {
			"<domain>\n  <name>x</name>\n  <memory>1</memory>\n</domain>\n",
			"<domain>\n  <name>x</name>\n  <metadata>" + markMade + "\n" + ours + "  </metadata>\n  <memory>1</memory>\n</domain>\n",
		},
		"opened": {
			"<domain>\n  <metadata/>\n</domain>\n",
			"<domain>\n  <metadata>" + markOpened + "\n" + ours + "  </metadata>\n</domain>\n",
		},
		"behind other metadata": {
			"<domain>\n  <metadata>\n    <a:b xmlns:a='u'>\n      <vgpus/>\n    </a:b>\n  </metadata>\n</domain>\n",
			"<domain>\n  <metadata>\n    <a:b xmlns:a='u'>\n      <vgpus/>\n    </a:b>\n" + ours + "  </metadata>\n</domain>\n",
		},
	} {
		t.Run(name, func(t *testing.T) {
			d := mustParse(t, test.in)
			_, ok, err := d.Metadata()
			require.NoError(t, err)
			require.False(t, ok)
			with, err := d.WithMetadata(one)
			require.NoError(t, err)
			assert.Equal(t, test.out, string(with.Bytes()))
			got, ok, err := mustParse(t, test.out).Metadata()
			require.NoError(t, err)
			assert.True(t, ok)
			assert.Equal(t, one, got)
			without, err := mustParse(t, test.out).WithoutMetadata()
			require.NoError(t, err)
			assert.Equal(t, test.in, string(without.Bytes()))
		})
	}
}

// What is written is read back, and writing again replaces it in its place.
func TestMetadataRoundTrip(t *testing.T) {
	r, rounds := random(t, 200)
	for range rounds {
		text := randomDocument(r)
		d := mustParse(t, text)
		with, err := d.WithMetadata(someMetadata())
		require.NoError(t, err)
		with = mustParse(t, string(with.Bytes()))
		agreesWithDecoder(t, with)
		got, ok, err := with.Metadata()
		require.NoError(t, err)
		require.True(t, ok)
		require.Equal(t, someMetadata(), got, "in %q", with.src)
		empty, err := with.WithMetadata(Metadata{})
		require.NoError(t, err)
		again, err := mustParse(t, string(empty.Bytes())).WithMetadata(someMetadata())
		require.NoError(t, err)
		require.Equal(t, string(with.Bytes()), string(again.Bytes()))
		for _, full := range []*Document{with, empty} {
			without, err := mustParse(t, string(full.Bytes())).WithoutMetadata()
			require.NoError(t, err)
			require.Equal(t, text, string(without.Bytes()))
		}
	}
}

// The document of a provisioned VM has both; taken out in either order they
// give back what was there.
func TestMetadataAndHostdevs(t *testing.T) {
	for _, text := range []string{sample, "<domain>\n  <name>x</name>\n</domain>", "<domain><devices/></domain>", strings.ReplaceAll(sample, "\n", "\r\n")} {
		d := mustParse(t, text)
		a, err := d.Add(first())
		require.NoError(t, err)
		a, err = a.WithMetadata(someMetadata())
		require.NoError(t, err)
		b, err := d.WithMetadata(someMetadata())
		require.NoError(t, err)
		b, err = b.Add(first())
		require.NoError(t, err)
		require.Equal(t, string(a.Bytes()), string(b.Bytes()))
		a, err = a.Remove(firstID)
		require.NoError(t, err)
		a, err = a.WithoutMetadata()
		require.NoError(t, err)
		assert.Equal(t, text, string(a.Bytes()))
		b, err = b.WithoutMetadata()
		require.NoError(t, err)
		b, err = b.Remove(firstID)
		require.NoError(t, err)
		assert.Equal(t, text, string(b.Bytes()))
	}
}

func TestCorpusMetadata(t *testing.T) {
	var originals, edited []string
	corpusDocuments(t, func(name string, text []byte, d *Document) {
		with, err := d.WithMetadata(someMetadata())
		require.NoError(t, err, name)
		got, ok, err := mustParse(t, with.src).Metadata()
		require.NoError(t, err, name)
		require.True(t, ok, name)
		require.Equal(t, someMetadata(), got, name)
		originals, edited = append(originals, string(text)), append(edited, with.src)
		without, err := mustParse(t, with.src).WithoutMetadata()
		require.NoError(t, err, name)
		require.Equal(t, string(text), string(without.Bytes()), name)
	})
	staysValid(t, originals, edited)
}

func TestMetadataRefuses(t *testing.T) {
	for name, m := range map[string]Metadata{
		"no id":              {VGPUs: []VGPU{{Type: "x"}}},
		"bad id":             {VGPUs: []VGPU{{ID: "mtty"}}},
		"twice":              {VGPUs: []VGPU{{ID: firstID}, {ID: strings.ToUpper(firstID)}}},
		"VF twice":           {VGPUs: []VGPU{{ID: firstVF}, {ID: "41:00.4"}}},
		"control character":  {VGPUs: []VGPU{{ID: firstID, Type: "a\x00"}}},
		"not UTF-8":          {VGPUs: []VGPU{{ID: firstID, Parent: "\xff"}}},
		"noncharacter":       {VGPUs: []VGPU{{ID: firstID, Lifetime: "\uffff"}}},
		"param without name": {VGPUs: []VGPU{{ID: firstID, Params: []Param{{"", "x"}}}}},
		"bad param":          {VGPUs: []VGPU{{ID: firstID, Params: []Param{{"x", "\x1b"}}}}},
	} {
		t.Run(name, func(t *testing.T) {
			d, err := mustParse(t, sample).WithMetadata(m)
			assert.Nil(t, d)
			requireError(t, err, ErrInvalid, "metadata of vGPU")
		})
	}
	twice := mustParse(t, "<domain><metadata><v:vgpus xmlns:v='"+MetadataURI+"'/><v:vgpus xmlns:v='"+MetadataURI+"'/></metadata></domain>")
	_, _, err := twice.Metadata()
	requireError(t, err, ErrInvalid, "more than one")
	_, err = twice.WithMetadata(Metadata{})
	requireError(t, err, ErrInvalid, "more than one")
	_, err = twice.WithoutMetadata()
	requireError(t, err, ErrInvalid, "more than one")
}

// ours is a document with these elements in our <vgpus>.
func ours(t *testing.T, vgpus string) *Document {
	t.Helper()
	return mustParse(t, "<domain><metadata><v:vgpus xmlns:v='"+MetadataURI+"'>"+vgpus+"</v:vgpus></metadata></domain>")
}

// Ids are in one form, whoever wrote them, in all spellings that are taken anywhere.
func TestMetadataIDsHaveOneForm(t *testing.T) {
	for _, id := range []string{
		firstID, strings.ToUpper(firstID), strings.ReplaceAll(firstID, "-", ""), " \n" + firstID + "\t", "c2-17--7883f1bb47f0914d32a22e3a8804",
		firstVF, "41:00.4", "00000000:41:00.4", "00000:41:00.4",
	} {
		m, ok, err := ours(t, "<v:vgpu id='"+strings.NewReplacer("\n", "&#10;", "\t", "&#9;").Replace(id)+"' parent='00000000:AF:1F.0'/>").Metadata()
		require.NoError(t, err)
		require.True(t, ok)
		want := firstID
		if strings.Contains(id, ":") {
			want = firstVF
		}
		assert.Equal(t, []VGPU{{ID: want, Parent: "0000:af:1f.0"}}, m.VGPUs, id)
	}
	m, _, err := ours(t, "<v:vgpu id='"+firstID+"' parent='mtty'/>").Metadata()
	require.NoError(t, err)
	assert.Equal(t, "mtty", m.VGPUs[0].Parent)
}

// What cannot be read keeps back its own vGPU only, and is told.
func TestMetadataKeepsBackOnlyWhatItCannotRead(t *testing.T) {
	const good = "<v:vgpu id='" + firstID + "' type='a'/>"
	for bad, want := range map[string]string{
		"<v:vgpu/>":                        `vGPU "": the id is neither a UUID nor a PCI address`,
		"<v:vgpu id='mtty'/>":              `vGPU "mtty": the id is neither a UUID nor a PCI address`,
		"<v:vgpu id='../../etc'/>":         "the id is neither",
		"<v:vgpu id='&x;'/>":               "the id is neither",
		"<v:vgpu id='0000:41:20.0'/>":      "the id is neither",
		"<v:vgpu x:id='" + firstVF + "'/>": "the id is neither",
		"<v:vgpu id='{" + firstID + "}'/>": "the id is neither",
		"<v:vgpu id='" + firstVF + "'><v:param value='x'/></v:vgpu>": "a parameter has no name",
		"<v:vgpu id=' " + strings.ToUpper(firstID) + "' type='b'/>":  "it is there twice",
	} {
		d := ours(t, good+bad+"<v:vgpu id='0000:51:00.0'/>"+bad)
		m, ok, err := d.Metadata()
		assert.True(t, ok)
		requireError(t, err, ErrInvalid, want)
		assert.Equal(t, []VGPU{{ID: firstID, Type: "a"}, {ID: "0000:51:00.0"}}, m.VGPUs, bad)
		requireError(t, d.Check(), ErrInvalid, want)
		with, err := d.WithMetadata(m)
		require.NoError(t, err)
		again, _, err := mustParse(t, with.src).Metadata()
		require.NoError(t, err)
		assert.Equal(t, m, again)
		without, err := d.WithoutMetadata()
		require.NoError(t, err)
		assert.NotContains(t, without.src, MetadataURI)
	}
	several, _, err := ours(t, "<v:vgpu id='a'/><v:vgpu id='b'/>"+good).Metadata()
	assert.Len(t, several.VGPUs, 1)
	assert.ErrorContains(t, err, `"a"`)
	assert.ErrorContains(t, err, `"b"`)
	twice, ok, err := mustParse(t, strings.Replace(ours(t, good).src, "</metadata>", "<v:vgpus xmlns:v='"+MetadataURI+"'/></metadata>", 1)).Metadata()
	assert.True(t, ok)
	requireError(t, err, ErrInvalid, "more than one")
	assert.Len(t, twice.VGPUs, 1)
}

// One bad entry does not open the guard for the others.
func TestCheckGuardsBesideABadID(t *testing.T) {
	d := withDevice(t, "<interface type='hostdev' managed='yes'><source><address type='pci' bus='65' function='4'/></source></interface>")
	d = mustParse(t, strings.Replace(d.src, "<devices>", "<metadata><v:vgpus xmlns:v='"+MetadataURI+"'><v:vgpu id='bad'/><v:vgpu id='41:00.4'/></v:vgpus></metadata><devices>", 1))
	requireError(t, d.Check(), ErrInvalid, "managed='yes'")
	requireError(t, d.Check(), ErrInvalid, "the id is neither")
}

// Another element in our namespace is passed over. libvirt keeps the first of a
// namespace, so that ours is written before it.
func TestMetadataBesideAnotherElementOfOurs(t *testing.T) {
	const other = "<v:other xmlns:v='" + MetadataURI + "'/>"
	d := mustParse(t, "<domain>\n  <metadata>\n    <a xmlns='u'/>\n    "+other+"\n  </metadata>\n</domain>")
	_, ok, err := d.Metadata()
	require.NoError(t, err)
	assert.False(t, ok)
	with, err := d.WithMetadata(someMetadata())
	require.NoError(t, err)
	assert.Less(t, strings.Index(with.src, "vgpukit:vgpus"), strings.Index(with.src, "v:other"))
	got, ok, err := mustParse(t, with.src).Metadata()
	require.NoError(t, err)
	assert.True(t, ok)
	assert.Equal(t, someMetadata(), got)
	without, err := with.WithoutMetadata()
	require.NoError(t, err)
	assert.Equal(t, d.src, without.src)

	behind := mustParse(t, "<domain><metadata>"+other+"<v:vgpus xmlns:v='"+MetadataURI+"'><v:vgpu id='"+firstID+"'/></v:vgpus></metadata></domain>")
	got, ok, err = behind.Metadata()
	require.NoError(t, err)
	assert.True(t, ok)
	assert.Len(t, got.VGPUs, 1)
	with, err = behind.WithMetadata(got)
	require.NoError(t, err)
	assert.Less(t, strings.Index(with.src, "vgpukit:vgpus"), strings.Index(with.src, "v:other"))
	assert.Equal(t, 1, strings.Count(with.src, "<vgpukit:vgpu "))
}

// An ID has one form, and says which of the two it is.
func TestParseID(t *testing.T) {
	id, err := ParseID(strings.ToUpper(firstID))
	require.NoError(t, err)
	u, mediated := id.UUID()
	_, vf := id.VF()
	assert.True(t, mediated && !vf)
	assert.Equal(t, firstID, u.String())
	assert.Equal(t, firstID, id.String())
	same, err := ParseID(strings.ReplaceAll(firstID, "-", ""))
	require.NoError(t, err)
	assert.Equal(t, id, same)
	id, err = ParseID("41:00.4")
	require.NoError(t, err)
	a, vf := id.VF()
	_, mediated = id.UUID()
	assert.True(t, vf && !mediated)
	assert.Equal(t, Address{Bus: 0x41, Function: 4}, a)
	assert.Equal(t, firstVF, id.String())
	for _, s := range []string{"", "mtty", "urn:uuid:" + firstID, "{" + firstID + "}", "0000:41:00.8", firstVF + " ", "../" + firstID} {
		id, err := ParseID(s)
		requireError(t, err, ErrInvalid, "neither a UUID nor a PCI address")
		assert.Equal(t, ID{}, id)
		assert.Empty(t, id.String())
	}
}

// A later version may write more; what this one does not know does no harm.
func TestMetadataOfALaterVersion(t *testing.T) {
	d := mustParse(t, "<domain><metadata><v:vgpus xmlns:v='"+MetadataURI+"' new='1'><v:new/><vgpu id='x'/><v:vgpu id='"+firstID+"' type='a' new='2'><v:new/><param/></v:vgpu></v:vgpus></metadata></domain>")
	m, ok, err := d.Metadata()
	require.NoError(t, err)
	assert.True(t, ok)
	assert.Equal(t, Metadata{VGPUs: []VGPU{{ID: firstID, Type: "a"}}}, m)
	same, err := mustParse(t, sample).WithoutMetadata()
	require.NoError(t, err)
	assert.Equal(t, sample, string(same.Bytes()))
}
