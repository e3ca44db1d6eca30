package nvidia

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestParse reads names that NVIDIA's drivers give and leaves alone what is none.
func TestParse(t *testing.T) {
	const gib = 1 << 30
	for name, want := range map[string]struct {
		Type
		framebuffer uint64
		instance    string
	}{
		"GRID M60-0Q":       {Type{Board: "GRID M60", Series: "Q"}, gib / 2, ""},
		"GRID M60-0B":       {Type{Board: "GRID M60", Series: "B"}, gib / 2, ""},
		"GRID M60-2B4":      {Type{Board: "GRID M60", GiB: 2, Series: "B", Variant: "4"}, 2 * gib, ""},
		"NVIDIA A40-4Q":     {Type{Board: "NVIDIA A40", GiB: 4, Series: "Q"}, 4 * gib, ""},
		"NVIDIA L40S-48A":   {Type{Board: "NVIDIA L40S", GiB: 48, Series: "A"}, 48 * gib, ""},
		"NVIDIA H200X-141C": {Type{Board: "NVIDIA H200X", GiB: 141, Series: "C"}, 141 * gib, ""},
		"GRID A100X-1-5C":   {Type{Board: "GRID A100X", Slices: 1, GiB: 5, Series: "C"}, 5 * gib, "1-5"},
		"GRID A100-1-5CME":  {Type{Board: "GRID A100", Slices: 1, GiB: 5, Series: "C", Variant: "ME"}, 5 * gib, "1-5ME"},
		"NVIDIA RTX6000-8Q": {Type{Board: "NVIDIA RTX6000", GiB: 8, Series: "Q"}, 8 * gib, ""},
		"NVIDIA RTX6000-Ada-8Q": {
			Type{Board: "NVIDIA RTX6000-Ada", GiB: 8, Series: "Q"}, 8 * gib, "",
		},
		"NVIDIA RTX Pro 6000 Blackwell DC-24Q": {
			Type{Board: "NVIDIA RTX Pro 6000 Blackwell DC", GiB: 24, Series: "Q"}, 24 * gib, "",
		},
		"NVIDIA RTX Pro 6000 Blackwell DC-1-24Q": {
			Type{Board: "NVIDIA RTX Pro 6000 Blackwell DC", Slices: 1, GiB: 24, Series: "Q"}, 24 * gib, "1-24",
		},
		"DC-2-16C":     {Type{Board: "DC", Slices: 2, GiB: 16, Series: "C"}, 16 * gib, "2-16"},
		"DC-16C":       {Type{Board: "DC", GiB: 16, Series: "C"}, 16 * gib, ""},
		"DC-1-24QGFX":  {Type{Board: "DC", Slices: 1, GiB: 24, Series: "Q", Variant: "GFX"}, 24 * gib, "1-24GFX"},
		"1-5CME":       {Type{Slices: 1, GiB: 5, Series: "C", Variant: "ME"}, 5 * gib, "1-5ME"},
		"DC-1-24CNOME": {Type{Board: "DC", Slices: 1, GiB: 24, Series: "C", Variant: "NOME"}, 24 * gib, "1-24NOME"},
		"DC-2-48CMEALL": {
			Type{Board: "DC", Slices: 2, GiB: 48, Series: "C", Variant: "MEALL"}, 48 * gib, "2-48MEALL",
		},
		"M60-8Q": {Type{Board: "M60", GiB: 8, Series: "Q"}, 8 * gib, ""},
		"4-20C":  {Type{Slices: 4, GiB: 20, Series: "C"}, 20 * gib, "4-20"}, // the profile alone
		"8Q":     {Type{GiB: 8, Series: "Q"}, 8 * gib, ""},
		"X-9-5C": {Type{Board: "X-9", GiB: 5, Series: "C"}, 5 * gib, ""}, // no GPU has 9 slices
	} {
		got, ok := Parse(name)
		require.True(t, ok, name)
		assert.Equal(t, want.Type, got, name)
		assert.Equal(t, want.framebuffer, got.Framebuffer(), name)
		assert.Equal(t, want.instance, got.Instance(), name)
		assert.Equal(t, name, got.String())
	}
	for _, name := range []string{
		"", "-", "Q", "nvidia-22", "22", "1145", "GRID M60", "GRID M60-", "GRID M60-Q", "GRID M60-8", "GRID M60-8X", "GRID M60-8q", "GRID M60-8Q ",
		"GRID M60-08Q", "GRID M60-99999999999999999999Q", "-8Q", "-1-5C", "mtty-1", "i915-GVTg_V5_4", "mbochs-small", "vfio_ap-passthrough", "0000:41:00.4",
	} {
		got, ok := Parse(name)
		assert.False(t, ok, "%q is read as %+v", name, got)
	}
}

// TestModel is the board without a brand.
func TestModel(t *testing.T) {
	for name, want := range map[string]string{
		"NVIDIA L40S-8Q": "L40S", "GRID A100-1-5C": "A100", "NVIDIA RTX6000-Ada-8Q": "RTX6000-Ada", "DC-2-16C": "DC", "M60-8Q": "M60", "8Q": "",
		"NVIDIA RTX Pro 6000 Blackwell DC-1-24Q": "RTX Pro 6000 Blackwell DC",
	} {
		got, ok := Parse(name)
		require.True(t, ok, name)
		assert.Equal(t, want, got.Model(), name)
	}
}

// FuzzParse keeps the promise that a name that is read is made again, and that no name
// is too odd to be read.
func FuzzParse(f *testing.F) {
	for _, name := range []string{"GRID M60-0Q", "GRID A100-1-5CME", "DC-2-16C", "4-20C", "-1-5C", "nvidia-22", "--", "\x00-1Q", "é-7-1A"} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if got, ok := Parse(name); ok {
			require.Equal(t, name, got.String())
			require.GreaterOrEqual(t, got.Framebuffer(), uint64(512<<20))
			require.Equal(t, got.Slices > 0, got.Instance() != "")
		}
	})
}
