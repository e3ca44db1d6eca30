package closest

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

var types = []string{
	"GRID M60-0Q", "GRID M60-1Q", "GRID M60-8Q", "NVIDIA L40S-48Q", "nvidia-18", "nvidia-22", "mtty-1", "mtty-2", "GVTg_V5_4", "GVTg_V5_8",
}

// TestNames keeps the good answers: what was mistyped is guessed, the nearest first,
// and what is another word is not.
func TestNames(t *testing.T) {
	for name, want := range map[string][]string{
		"GRID M60-8q":      {"GRID M60-8Q", "GRID M60-0Q", "GRID M60-1Q"}, // the letters' size makes no difference
		"m60-8q":           {"GRID M60-8Q"},                               // a part of it
		"GRID M60-9Q":      {"GRID M60-0Q", "GRID M60-1Q", "GRID M60-8Q"}, // in their order
		"GRID M60-8":       {"GRID M60-8Q", "GRID M60-0Q", "GRID M60-1Q"},
		"NVIDIA L40S-48q":  {"NVIDIA L40S-48Q"},
		"NVIDIA L40S 48Q":  {"NVIDIA L40S-48Q"},
		"nvidia-222":       {"nvidia-22"},
		"nvidia-2":         {"nvidia-22", "nvidia-18"},
		"mtty1":            {"mtty-1", "mtty-2"},
		"GVTg_V5_9":        {"GVTg_V5_4", "GVTg_V5_8"},
		"NVIDIA A40-8Q":    {"NVIDIA L40S-48Q"},
		"Quadro RTX-1Q":    nil,
		"1":                nil, // of so short a name everything is near
		"":                 nil,
		"vfio_ap-passthro": nil,
	} {
		assert.Equal(t, want, Names(name, types, 3), name)
	}
	assert.Equal(t, []string{"0000:05:00.0"}, Names("0000:05:0.0", []string{"0000:05:00.0", "mtty"}, 3))
	assert.Equal(t, []string{"GRID M60-8Q"}, Names("GRID M60-8q", types, 1), "no more than asked for")
	assert.Empty(t, Names("mtty-1", nil, 3))
}
