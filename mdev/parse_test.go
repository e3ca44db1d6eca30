package mdev

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestParseDescription(t *testing.T) {
	for text, want := range map[string]Description{
		"num_heads=4, frl_config=60, framebuffer=8192M, max_resolution=4096x2160, max_instance=1\n": {
			Heads: 4, FrameRateLimit: 60, Framebuffer: 8 << 30, MaxResolution: Resolution{4096, 2160}, MaxInstances: 1,
		},
		"low_gm_size: 64MB\nhigh_gm_size: 384MB\nfence: 4\nresolution: 1024x768\nweight: 2\n": {
			LowGM: 64 << 20, HighGM: 384 << 20, Fences: 4, MaxResolution: Resolution{1024, 768}, Weight: 2,
		},
		"num_heads=many, colour=red": {Extra: []Field{{"num_heads", "many"}, {"colour", "red"}}},
		"I/O subchannel (Non-QDIO)":  {},
		"":                           {},
	} {
		got := parseDescription(text)
		got.Raw = ""
		assert.Equal(t, want, got, "%q", text)
	}
}

func TestParseCreatableTypes(t *testing.T) {
	assert.Equal(t, []vendorType{{"1145", "NVIDIA L40S-1B"}, {"11", "x: y"}}, parseCreatableTypes("ID    : vGPU Name\n1145  : NVIDIA L40S-1B\n11    : x: y\nodd line\n"))
	assert.Equal(t, []vendorType{}, parseCreatableTypes("ID    : vGPU Name\n"))
}

func TestBoardDescription(t *testing.T) {
	for name, want := range map[string]Description{
		"NVIDIA L40S-48Q":                        {Framebuffer: 48 << 30, MaxInstances: 1},
		"NVIDIA L40S-1B":                         {Framebuffer: 1 << 30, MaxInstances: 32},
		"NVIDIA L40S-3B":                         {Framebuffer: 3 << 30, MaxInstances: 16},
		"NVIDIA RTX6000-Ada-24Q":                 {Framebuffer: 24 << 30, MaxInstances: 2},
		"NVIDIA Unheard-of-12Q":                  {Framebuffer: 12 << 30},
		"NVIDIA L40S-0B":                         {Framebuffer: 512 << 20, MaxInstances: 32},
		"NVIDIA A100-1-5CME":                     {Framebuffer: 5 << 30, MaxInstances: 1},
		"NVIDIA A100-3-20C":                      {Framebuffer: 20 << 30, MaxInstances: 2},
		"NVIDIA A100-4-20C":                      {Framebuffer: 20 << 30, MaxInstances: 1},
		"NVIDIA A30-1-6C":                        {Framebuffer: 6 << 30, MaxInstances: 4},
		"NVIDIA H200X-1-18C":                     {Framebuffer: 18 << 30, MaxInstances: 7},
		"DC-2-16C":                               {Framebuffer: 16 << 30},
		"NVIDIA RTX Pro 6000 Blackwell DC-1-3Q":  {Framebuffer: 3 << 30, MaxInstances: 32},
		"NVIDIA RTX Pro 6000 Blackwell DC-1-24Q": {Framebuffer: 24 << 30, MaxInstances: 4},
		"NVIDIA RTX Pro 6000 Blackwell DC-1Q":    {Framebuffer: 1 << 30, MaxInstances: 32},
		"NVIDIA RTX Pro 6000 Blackwell DC-1-2Q":  {Framebuffer: 2 << 30, MaxInstances: 48},
		"NVIDIA RTX Pro 4500 Blackwell DC-2-16C": {Framebuffer: 16 << 30, MaxInstances: 2},
		"something else entirely":                {},
	} {
		assert.Equal(t, want, boardDescription(name), name)
	}
}

func TestParseGuestName(t *testing.T) {
	for cmdline, want := range map[string]string{
		"qemu\x00-name\x00guest=win10,debug-threads=on\x00": "win10",
		"qemu\x00-name\x00win10\x00":                        "win10",
		"qemu\x00--name\x00process=x,guest=a,,b\x00":        "a,b",
		"qemu\x00-name\x00process=x\x00":                    "",
		"qemu\x00-name":                                     "",
		"":                                                  "",
	} {
		assert.Equal(t, want, parseGuestName([]byte(cmdline)), "%q", cmdline)
	}
}

func TestParseUevent(t *testing.T) {
	event, ok := parseUevent([]byte("change@/devices/virtual/mtty/mtty\x00ACTION=change\x00MDEV_STATE=registered\x00"))
	assert.True(t, ok)
	assert.Equal(t, Uevent{Action: "change", Path: "/devices/virtual/mtty/mtty", Env: map[string]string{"ACTION": "change", "MDEV_STATE": "registered"}}, event)
	_, ok = parseUevent([]byte("libudev\x00\xfe\xed\xca\xfe"))
	assert.False(t, ok, "udev's own messages are none of the kernel's")
}

func TestCompareNames(t *testing.T) {
	for _, names := range [][2]string{{"nvidia-9", "nvidia-10"}, {"0000:41:00.4", "0000:41:01.0"}, {"a", "b"}, {"a", "a1"}, {"x1", "x01"}} {
		assert.Negative(t, compareNames(names[0], names[1]), "%v", names)
	}
	assert.Zero(t, compareNames("nvidia-10", "nvidia-10"))
}

func TestCheckVGPUParams(t *testing.T) {
	for value, ok := range map[string]bool{
		"frame_rate_limiter=0,disable_vnc=1": true, "vgpu-placement-id=6": true, "": true, " ": true,
		"frame_rate_limiter": false, "a=1,a=2": false, "a=1, b=2": false, "a=": false, "=1": false, "a=1,": false,
	} {
		assert.Equal(t, ok, checkVGPUParams("check", value) == nil, "%q", value)
	}
}

func TestSparseAreas(t *testing.T) {
	block := newBlock(96)
	block.putUint32(32, 3)                      // another capability first
	block.putUint32(36, 40)                     // the next one
	block.putUint32(40, 1<<16|capabilitySparse) // version 1
	block.putUint32(48, 2)
	block.putUint32(56, 0x1000)
	block.putUint32(64, 0x2000)
	block.putUint32(72, 0x8000)
	block.putUint32(80, 0x1000)
	assert.Equal(t, []Area{{0x1000, 0x2000}, {0x8000, 0x1000}}, sparseAreas(block, 32))
}

// A PCI address is suggested for another spelling of it, and for nothing else.
func TestNearestParent(t *testing.T) {
	parents := []string{"0000:00:02.0", "0000:05:00.0", "0001:41:1f.7", "10000:41:00.0", "mtty", "matrix"}
	for name, want := range map[string]string{
		"0000:05:0.0": "0000:05:00.0", "05:00.0": "0000:05:00.0", "5:0.0": "0000:05:00.0", "pci_0000_05_00_0": "0000:05:00.0", "0001:41:1F.7": "0001:41:1f.7",
		"pci_10000_41_00_0": "10000:41:00.0", "00010000:41:00.0": "10000:41:00.0", "0000:41:00.0": "",
		"0000:05:00.1": "", "0000:06:00.0": "", "0000:00:02.1": "", "0000:05:00": "", "mttz": "mtty", "Matrix": "matrix",
	} {
		assert.Equal(t, want, nearestParent(name, parents), name)
	}
}
