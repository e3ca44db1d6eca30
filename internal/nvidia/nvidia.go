// Package nvidia reads the names that NVIDIA gives its vGPU types.
package nvidia

import (
	"strconv"
	"strings"
)

// Type is what a vGPU type's name says: "NVIDIA L40S-12Q" has 12 GiB of an L40S,
// "GRID A100-4-20C" 20 GiB of a GPU instance with 4 slices.
type Type struct {
	Board   string // "NVIDIA L40S"; "DC" in names without brand and board; empty in "4-20C"
	Slices  int    // 1 to 7, of a MIG-backed type; else 0
	GiB     int    // 0: half a GiB
	Series  string // "Q", "C", "B" or "A"
	Variant string // what follows the series: "4" in "2B4", "ME" in "1-5CME", "GFX", "NOME", "MEALL"
}

// maxGiB keeps framebuffers within reason.
const maxGiB = 1<<16 - 1

// Parse reads a type's name; false when it is not NVIDIA's way of naming. A name that
// is read is [Type.String] again.
func Parse(name string) (Type, bool) {
	var t Type
	at := strings.LastIndexByte(name, '-')
	profile := name[at+1:]
	var ok bool
	if t.GiB, profile, ok = number(profile, maxGiB); !ok || profile == "" || !strings.Contains("QCBA", profile[:1]) {
		return Type{}, false
	}
	t.Series, t.Variant = profile[:1], profile[1:]
	if strings.Trim(t.Variant, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789") != "" || name[0] == '-' {
		return Type{}, false
	}
	t.Board = name[:max(at, 0)]
	at = strings.LastIndexByte(t.Board, '-')
	if slices, rest, ok := number(t.Board[at+1:], 7); ok && rest == "" && slices > 0 {
		t.Board, t.Slices = t.Board[:max(at, 0)], slices
	}
	return t, true
}

// number reads the number that text begins with, written as NVIDIA does.
func number(text string, most int) (n int, rest string, ok bool) {
	rest = strings.TrimLeft(text, "0123456789")
	digits := text[:len(text)-len(rest)]
	n, err := strconv.Atoi(digits)
	return n, rest, err == nil && n <= most && (digits[0] != '0' || digits == "0")
}

// Model is the board without its brand: "L40S", "A100", "DC".
func (t Type) Model() string {
	for _, brand := range []string{"NVIDIA ", "GRID "} {
		if model, ok := strings.CutPrefix(t.Board, brand); ok {
			return model
		}
	}
	return t.Board
}

// Framebuffer is the vGPU's memory in bytes.
func (t Type) Framebuffer() uint64 { return max(uint64(t.GiB)<<30, 512<<20) }

// Instance names the GPU instance that a MIG-backed type needs: "4-20", "1-5ME"; else
// it is empty.
func (t Type) Instance() string {
	if t.Slices == 0 {
		return ""
	}
	return strconv.Itoa(t.Slices) + "-" + strconv.Itoa(t.GiB) + t.Variant
}

// String is the type's name.
func (t Type) String() string {
	name := strconv.Itoa(t.GiB) + t.Series + t.Variant
	if t.Slices > 0 {
		name = strconv.Itoa(t.Slices) + "-" + name
	}
	if t.Board != "" {
		name = t.Board + "-" + name
	}
	return name
}
