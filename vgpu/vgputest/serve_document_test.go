package vgputest

import (
	"encoding/xml"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vgpukit/vgpukit/domain"
	rpc "github.com/vgpukit/vgpukit/internal/libvirtrpc"
)

// TestInNamespace: an element gets a namespace as libvirt gives it: at the root, and by
// prefix for all in it that has none.
func TestInNamespace(t *testing.T) {
	for element, want := range map[string]string{
		`<a/>`:                                  `<v:a xmlns:v="u&amp;v"/>`,
		`<a b='c'>`:                             "",
		`<a b='c'><d/>t<!-- <x> --></a>`:        `<v:a xmlns:v="u&amp;v" b='c'><v:d/>t<!-- <x> --></v:a>`,
		`<a><p:d xmlns:p="q"><e></e></p:d></a>`: `<v:a xmlns:v="u&amp;v"><p:d xmlns:p="q"><v:e></v:e></p:d></v:a>`,
		``:                                      "",
		`text`:                                  "",
		`<a`:                                    "",
		`<a/><b/>`:                              "",
		`<a><p:d/></a>`:                         "",
	} {
		got, err := inNamespace(element, "v", "u&v")
		if want == "" {
			require.ErrorIs(t, err, domain.ErrInvalid, element)
			continue
		}
		require.NoError(t, err, element)
		assert.Equal(t, want, got)
		assert.NoError(t, xml.Unmarshal([]byte(got), new(struct{ XMLName xml.Name })))
	}
}

// FuzzInNamespace: whatever a client sends as metadata, what is written is well-formed
// or refused.
func FuzzInNamespace(f *testing.F) {
	f.Add(`<a b='c'><d/>t</a>`)
	f.Fuzz(func(t *testing.T, element string) {
		got, err := inNamespace(element, "v", "u")
		if err == nil {
			require.NoError(t, xml.Unmarshal([]byte(got), new(struct{ XMLName xml.Name })), got)
		}
	})
}

// TestMetadataOf: what is asked for is found in <metadata>, and there only.
func TestMetadataOf(t *testing.T) {
	const doc = `<domain><title>a &amp; b</title><description/><v:x xmlns:v='u'/>
		<metadata><w xmlns='other'/><v:x xmlns:v='u'><v:y/></v:x></metadata></domain>`
	assert.Equal(t, `<v:x xmlns:v='u'><v:y/></v:x>`, elementOf(doc, "u"))
	assert.Equal(t, `<w xmlns='other'/>`, elementOf(doc, "other"))
	assert.Empty(t, elementOf(doc, "none"))
	assert.Empty(t, elementOf("<domain", "u"))
	assert.Equal(t, "a & b", textAt(doc, "domain/title"))
	assert.Empty(t, textAt(doc, "domain/description"))
	assert.Empty(t, textAt(doc, "domain/none"))
}

// TestShape: memory is counted in KiB, in whatever unit it is written.
func TestShape(t *testing.T) {
	for doc, want := range map[string]rpc.Info{
		`<domain/>`: {CPUs: 1},
		`<domain><memory>2048</memory><vcpu>4</vcpu></domain>`:                                             {MaxMemory: 2048, Memory: 2048, CPUs: 4},
		`<domain><memory unit='GiB'>2</memory><currentMemory unit='MB'>1024</currentMemory></domain>`:      {MaxMemory: 2 << 20, Memory: 1000000, CPUs: 1},
		`<domain><memory unit='parsec'>2048</memory><currentMemory unit='b'>1024</currentMemory></domain>`: {MaxMemory: 2, Memory: 1, CPUs: 1},
	} {
		got := info(&machine{saved: doc, state: domain.StateShutOff})
		want.State = 5
		assert.Equal(t, want, got, doc)
	}
}
