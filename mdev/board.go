package mdev

import (
	"strconv"
	"strings"
)

// boardMemory is the framebuffer of the boards whose virtual functions have
// NVIDIA's vendor-specific VFIO framework, in GiB, by the name before the
// dash in their types' names: that framework shows names only. From NVIDIA's
// vGPU user guide, "Virtual GPU Types for Supported GPUs".
var boardMemory = map[string]int{
	"A2": 16, "A10": 24, "A16": 16, "A30": 24, "A40": 48, "A100": 40, "A100D": 80, "A800D": 80,
	"L2": 24, "L4": 24, "L20": 48, "L40": 48, "L40G": 24, "L40S": 48,
	"H20": 96, "H100": 80, "H100XL": 94, "H100L": 94, "H200": 141, "H200X": 141, "H800": 80,
	"RTXA5000": 24, "RTXA5500": 24, "RTXA6000": 48,
	"RTX5000-Ada": 32, "RTX6000-Ada": 48, "RTX5880-Ada": 48,
}

// maxVGPUs is the most that NVIDIA makes of one GPU of these generations.
const maxVGPUs = 32

// boardDescription reads a type's framebuffer out of its name: "NVIDIA
// L40S-12Q" has 12 GiB, "NVIDIA A100-2-10C" 10 GiB of a MIG instance. Of a
// board that it does not know it says no maximum.
func boardDescription(name string) Description {
	var d Description
	_, last, _ := strings.Cut(name, " ")
	cut := strings.LastIndexByte(last, '-')
	if cut < 0 {
		return d
	}
	board, profile := last[:cut], last[cut+1:]
	n := digits(profile)
	gib, err := strconv.ParseUint(profile[:n], 10, 16)
	if err != nil || gib == 0 || n == len(profile) {
		return d
	}
	d.Framebuffer = gib << 30
	if memory, ok := boardMemory[strings.ReplaceAll(board, " ", "")]; ok {
		d.MaxInstances = min(memory/int(gib), maxVGPUs)
	}
	return d
}
