package nvidia

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestParseProfile reads the names of GPU instances that nvidia-smi lists, and no others.
func TestParseProfile(t *testing.T) {
	for name, want := range map[string]Profile{
		"1g.5gb":         {1, 5, ""},
		"3g.20gb":        {3, 20, ""},
		"7g.141gb":       {7, 141, ""},
		"1g.5gb+me":      {1, 5, "+me"},
		"1g.24gb+me.all": {1, 24, "+me.all"},
		"2g.48gb-me":     {2, 48, "-me"},
		"4g.96gb+gfx":    {4, 96, "+gfx"},
	} {
		got, ok := ParseProfile(name)
		require.True(t, ok, name)
		assert.Equal(t, want, got)
		assert.Equal(t, name, got.String())
	}
	for _, name := range []string{"", "g.", "1g", "1g.gb", "0g.5gb", "8g.80gb", "1g.0gb", "01g.5gb", "1g.5gb+", "1g.5gb+ME", "1g.5gb+me+gfx", "MIG 1g.5gb", "1c.3g.20gb"} {
		got, ok := ParseProfile(name)
		assert.False(t, ok, "%q is read as %+v", name, got)
	}
}

// TestProfileHolds tells which instance a type needs, and how many vGPUs share one.
func TestProfileHolds(t *testing.T) {
	for _, c := range []struct {
		profile, typ string
		want         int
	}{
		{"3g.20gb", "GRID A100-3-20C", 1},
		{"4g.20gb", "GRID A100-3-20C", 0},
		{"1g.10gb", "GRID A100-1-5C", 0}, // it has an instance of its own size
		{"1g.5gb+me", "GRID A100-1-5C", 0},
		{"1g.5gb+me", "GRID A100-1-5CME", 1},
		{"1g.5gb", "GRID A100-1-5CME", 0},
		{"1g.35gb", "NVIDIA H200X-1-35C", 1},
		{"3g.20gb", "GRID A100-20C", 0},
		{"1g.24gb+gfx", "NVIDIA RTX Pro 6000 Blackwell DC-1-24Q", 1},
		{"1g.24gb+gfx", "NVIDIA RTX Pro 6000 Blackwell DC-1-3Q", 8},
		{"1g.24gb+gfx", "NVIDIA RTX Pro 6000 Blackwell DC-1-2Q", 12},
		{"2g.48gb+gfx", "NVIDIA RTX Pro 6000 Blackwell DC-2-12Q", 4},
		{"2g.48gb+gfx", "NVIDIA RTX Pro 6000 Blackwell DC-1-12Q", 0},
		{"4g.96gb+gfx", "NVIDIA RTX Pro 6000 Blackwell DC-4-32C", 3},
		{"1g.24gb", "NVIDIA RTX Pro 6000 Blackwell DC-1-24Q", 0}, // without graphics
		{"1g.24gb+me", "NVIDIA RTX Pro 6000 Blackwell DC-1-24Q", 0},
		{"1g.24gb+gfx", "NVIDIA RTX Pro 6000 Blackwell DC-24Q", 0},
		{"2g.32gb", "DC-2-16C", 2},
		{"2g.32gb+gfx", "DC-2-16C", 2},
		{"1g.16gb+me", "DC-1-8CME", 2},
		{"1g.16gb", "DC-1-8CME", 0},
		{"1g.16gb+gfx", "DC-1-32C", 0}, // larger than the instance
		{"1g.5gb", "GRID A100-1-5CX", 0},
		{"1g.5gb", "1-5C", 1},
	} {
		p, ok := ParseProfile(c.profile)
		require.True(t, ok, c.profile)
		typ, ok := Parse(c.typ)
		require.True(t, ok, c.typ)
		assert.Equal(t, c.want, p.Holds(typ), "%s on %s", c.typ, c.profile)
	}
}

// FuzzParseProfile keeps the promise that a name that is read is made again.
func FuzzParseProfile(f *testing.F) {
	for _, name := range []string{"1g.5gb", "1g.24gb+me.all", "2g.48gb-me", "7g.80gb+gfx", "g.gb", "\x001g.5gb"} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if got, ok := ParseProfile(name); ok {
			require.Equal(t, name, got.String())
			own, ok := Parse(Type{Slices: got.Slices, GiB: got.GiB, Series: "C"}.String())
			require.True(t, ok)
			require.Equal(t, got.Attribute == "", got.Holds(own) == 1)
		}
	})
}
