package mdev

import (
	"math"
	"strconv"
	"strings"
)

// parseDescription reads NVIDIA's single line ("num_heads=4, frl_config=60,
// framebuffer=8192M, …") and GVT-g's lines ("low_gm_size: 64MB"). What it
// does not know, or cannot read, goes to Extra; text without a key stays in
// Raw only.
func parseDescription(text string) Description {
	d := Description{Raw: strings.TrimRight(text, "\n")}
	for line := range strings.FieldsFuncSeq(text, func(r rune) bool { return r == '\n' || r == ',' }) {
		key, value, ok := strings.Cut(line, "=")
		if !ok {
			key, value, ok = strings.Cut(line, ":")
		}
		key, value = strings.TrimSpace(key), strings.TrimSpace(value)
		if !ok || key == "" {
			continue
		}
		if !d.set(key, value) {
			d.Extra = append(d.Extra, Field{Name: key, Value: value})
		}
	}
	return d
}

func (d *Description) set(key, value string) (ok bool) {
	switch key {
	case "num_heads":
		d.Heads, ok = parseCount(value)
	case "frl_config":
		d.FrameRateLimit, ok = parseCount(value)
	case "framebuffer":
		d.Framebuffer, ok = parseSize(value)
	case "max_resolution", "resolution":
		d.MaxResolution, ok = parseResolution(value)
	case "max_instance":
		d.MaxInstances, ok = parseCount(value)
	case "low_gm_size":
		d.LowGM, ok = parseSize(value)
	case "high_gm_size":
		d.HighGM, ok = parseSize(value)
	case "fence":
		d.Fences, ok = parseCount(value)
	case "weight":
		d.Weight, ok = parseCount(value)
	}
	return ok
}

func parseCount(text string) (int, bool) {
	n, err := strconv.ParseUint(text, 10, 31)
	if err != nil {
		return 0, false
	}
	return int(n), true
}

// parseSize reads "8192M", "64MB", "1G" or plain bytes. The units are powers
// of 1024.
func parseSize(text string) (uint64, bool) {
	digits := strings.TrimRight(text, "BbIiKkMmGgTt ")
	n, err := strconv.ParseUint(digits, 10, 64)
	if err != nil {
		return 0, false
	}
	shift, known := map[string]int{"": 0, "B": 0, "K": 10, "M": 20, "G": 30, "T": 40}[sizeUnit(text[len(digits):])]
	if !known || n > math.MaxUint64>>shift {
		return 0, false
	}
	return n << shift, true
}

// sizeUnit takes MB, MiB and M for the same.
func sizeUnit(unit string) string {
	unit = strings.ToUpper(strings.TrimSpace(unit))
	if len(unit) > 1 {
		unit = strings.TrimSuffix(strings.TrimSuffix(unit, "B"), "I")
	}
	return unit
}

func parseResolution(text string) (Resolution, bool) {
	width, height, _ := strings.Cut(text, "x")
	w, okW := parseCount(width)
	h, okH := parseCount(height)
	if !okW || !okH {
		return Resolution{}, false
	}
	return Resolution{Width: w, Height: h}, true
}

// vendorType is one row of nvidia/creatable_vgpu_types.
type vendorType struct {
	ID   string
	Name string
}

// parseCreatableTypes reads the rows "1145  : NVIDIA L40S-1B" below the header
// "ID    : vGPU Name". Lines that are no row are passed over.
func parseCreatableTypes(text string) []vendorType {
	types := []vendorType{}
	for line := range strings.Lines(text) {
		id, name, ok := strings.Cut(line, ":")
		id, name = strings.TrimSpace(id), strings.TrimSpace(name)
		if _, isNumber := parseCount(id); !ok || !isNumber || name == "" {
			continue
		}
		types = append(types, vendorType{ID: id, Name: name})
	}
	return types
}
