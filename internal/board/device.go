package board

import (
	"slices"
	"strings"

	"github.com/vgpukit/vgpukit/internal/nvidia"
)

// devices are PCI devices of boards with virtual functions, and what their types are named by. A
// board whose virtual functions are not enabled lists no types that would tell.
var devices = map[string][]string{
	"20b0": {"A100X"}, "20f1": {"A100"},
	"2231": {"RTXA5000"}, "2233": {"RTXA5500"}, "2235": {"A40"}, "2236": {"A10"}, "2238": {"A10M"}, "25b6": {"A16", "A2"},
	"26b1": {"RTX6000-Ada"}, "26b2": {"RTX5000-Ada"}, "26b5": {"L40"}, "26b9": {"L40S"}, "26ba": {"L20"}, "27b6": {"L2"}, "27b8": {"L4"},
	"2331": {"H100"}, "2335": {"H200X"},
	"2bb5": {"RTXPro6000BlackwellDC", bare}, "2c38": {"RTXPro4500BlackwellDC", bare},
}

// Makes tells whether a board with a PCI device can have a type, by whose name it is; neither known:
// one of the two says nothing.
func Makes(device string, t nvidia.Type) (makes, known bool) {
	names, known := devices[device]
	if !known || t.Board == "" {
		return false, false
	}
	return slices.Contains(names, strings.ReplaceAll(t.Model(), " ", "")), true
}
