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
