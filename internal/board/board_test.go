package board

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vgpukit/vgpukit/internal/nvidia"
)

func parse(t *testing.T, name string) nvidia.Type {
	n, ok := Parse(name)
	require.True(t, ok, name)
	return n
}

// Sizes of instances are read from their profiles, else rounded from what NVML tells; of one
// of which nothing is known, only a bound can be said.
func TestHolds(t *testing.T) {
	const mib = 1 << 20
	pro := OfDevice("2bb5")
	for _, c := range []struct {
		shape Shape
		typ   string
		holds int
	}{
		{ShapeOf("1g.24gb+gfx", 0, 0), "DC-1-3Q", 8},
		{ShapeOf("MIG 1g.24gb+gfx", 0, 0), "DC-1-24Q", 1},
		{ShapeOf("2g.48gb+gfx", 0, 0), "DC-1-3Q", 0},
		{ShapeOf("1g.5gb", 0, 0), "GRID A100-1-5C", 1},
		{ShapeOf("1g.10gb", 0, 0), "GRID A100-1-5C", 0},
		{ShapeOf("1g.5gb", 0, 0), "GRID A100-1-5CME", 0},
		{ShapeOf("", 1, 24192*mib), "DC-1-3Q", 8},
		{ShapeOf("", 3, 19968*mib), "GRID A100-3-20C", 1},
		{ShapeOf("", 3, 19968*mib), "GRID A100-1-5C", 0},
		{ShapeOf("odd", 7, 81153*mib), "NVIDIA H100-7-80C", 1},
		{Shape{}, "DC-1-3Q", 8},
		{Shape{}, "GRID A100-3-20C", 1},
		{Shape{}, "GRID A100-20C", 0},
	} {
		assert.Equal(t, c.holds, pro.Holds(c.shape, parse(t, c.typ)), "%s in %v", c.typ, c.shape)
	}
	assert.Equal(t, unbounded, Board{}.Holds(Shape{}, parse(t, "DC-1-3Q")))
}

// The command that makes what a type lacks names a profile that holds it.
func TestHowToMake(t *testing.T) {
	for typ, says := range map[string]string{
		"GRID A100-3-20C":                        "nvidia-smi mig -i 0000:41:00.0 -cgi 3g.20gb",
		"NVIDIA A100-1-5CME":                     "nvidia-smi mig -i 0000:41:00.0 -cgi 1g.5gb+me",
		"NVIDIA RTX Pro 6000 Blackwell DC-2-12Q": "nvidia-smi mig -i 0000:41:00.0 -cgi 2g.48gb+gfx",
		"DC-2-16C":                               "nvidia-smi mig -i 0000:41:00.0 -cgi, with a profile of those that -lgip lists",
	} {
		n := parse(t, typ)
		assert.Equal(t, says, Of(n, "").HowToMake("0000:41:00.0", n))
	}
}

// A GPU instance runs vGPUs of one size, and one only where types have it whole.
func TestFill(t *testing.T) {
	small, large, whole := parse(t, "DC-1-3Q"), parse(t, "DC-1-4Q"), parse(t, "GRID A100-1-5C")
	f := Fill{}.Add(small).Add(small)
	assert.Equal(t, 6, f.Left(8, small))
	assert.Equal(t, 6, f.Left(8, parse(t, "DC-1-3A")))
	assert.Zero(t, f.Left(6, large))
	assert.Zero(t, Fill{}.Add(whole).Left(1, whole))
	assert.Zero(t, Fill{Closed: true}.Left(8, small))
}

// Names that are not of NVIDIA's boards are not read as such.
func TestParse(t *testing.T) {
	for _, name := range []string{"L40S-2Q", "", "GRID RTX2070-1", "I/O subchannel (Non-QDIO)", "-1Q", "4-20C"} {
		_, ok := Parse(name)
		assert.False(t, ok, name)
	}
}
