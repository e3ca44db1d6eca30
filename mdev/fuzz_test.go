package mdev

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func FuzzParseDescription(f *testing.F) {
	f.Add("num_heads=4, frl_config=60, framebuffer=8192M, max_resolution=4096x2160, max_instance=1\n")
	f.Add("low_gm_size: 64MB\nhigh_gm_size: 384MB\nfence: 4\nresolution: 1024x768\nweight: 2\n")
	f.Add("framebuffer=99999999999999999999M, num_heads=-1, =, x=y")
	f.Add("framebuffer=18446744073709551615T,framebuffer=1 GiB")
	f.Fuzz(func(t *testing.T, text string) {
		d := parseDescription(text)
		if d.Heads < 0 || d.MaxInstances < 0 || d.MaxResolution.Width < 0 || d.Fences < 0 {
			t.Fatalf("negative: %+v", d)
		}
		if strings.TrimRight(text, "\n") != d.Raw {
			t.Fatalf("raw text changed: %q", d.Raw)
		}
		for _, field := range d.Extra {
			if field.Name == "" || strings.ContainsAny(field.Name+field.Value, "\n,") {
				t.Fatalf("bad extra %+v", field)
			}
		}
		again := parseDescription(d.Raw)
		assert.Equal(t, d, again, "what is kept says the same")
	})
}

func FuzzParseCreatableTypes(f *testing.F) {
	f.Add("ID    : vGPU Name\n1145  : NVIDIA L40S-1B\n1146  : NVIDIA L40S-2B\n")
	f.Add("ID    : vGPU Name\n")
	f.Add(": \n-1 : x\n5:")
	f.Fuzz(func(t *testing.T, text string) {
		for _, row := range parseCreatableTypes(text) {
			if _, ok := parseCount(row.ID); !ok || row.Name == "" || strings.ContainsRune(row.Name, '\n') {
				t.Fatalf("bad row %+v", row)
			}
			boardDescription(row.Name)
		}
	})
}

func FuzzBoardDescription(f *testing.F) {
	for _, name := range []string{"NVIDIA L40S-12Q", "GRID A100-4-20C", "NVIDIA RTX6000-Ada-48Q", "NVIDIA L40S-1B", "a b-", "x -0Q", "  - 1"} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		d := boardDescription(name)
		if d.MaxInstances < 0 || d.MaxInstances > 48 || d.Framebuffer%(512<<20) != 0 {
			t.Fatalf("%+v", d)
		}
	})
}

func FuzzParseUevent(f *testing.F) {
	f.Add([]byte("add@/devices/virtual/mtty/mtty/83b8f4f2-509f-382f-3c1e-e6bfe0fa1001\x00ACTION=add\x00SUBSYSTEM=mdev\x00SEQNUM=1\x00"))
	f.Add([]byte("libudev\x00\xfe\xed\xca\xfe"))
	f.Add([]byte("@/\x00=\x00a=b=c"))
	f.Fuzz(func(t *testing.T, message []byte) {
		event, ok := parseUevent(message)
		if !ok {
			return
		}
		if event.Action == "" || !strings.HasPrefix(event.Path, "/") || !bytes.HasPrefix(message, []byte(event.Action+"@"+event.Path)) {
			t.Fatalf("%+v", event)
		}
		for key := range event.Env {
			if key == "" || strings.ContainsRune(key, '=') {
				t.Fatalf("key %q", key)
			}
		}
	})
}

func FuzzParseDefinition(f *testing.F) {
	f.Add([]byte(`{"mdev_type": "nvidia-22", "start": "auto", "attrs": [{"assign_adapter": "5"}, {"assign_domain": "0xab"}]}`))
	f.Add([]byte(`{"mdev_type":"x","attrs":[],"future":{"b":1,"a":[null]},"start":"manual"}`))
	f.Add([]byte(`{"mdev_type":"x","mdev_type":"y"}`))
	f.Add([]byte(`[]{}`))
	f.Add([]byte(`{"mdev_type":"<&>\u2028"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		def, order, err := parseDefinition(data)
		if err != nil {
			return
		}
		text, err := def.encode(order)
		require.NoError(t, err)
		again, orderAgain, err := parseDefinition(text)
		require.NoError(t, err, "%s", text)
		def.Start, again.Start = cmpStart(def.Start), cmpStart(again.Start)
		assert.Equal(t, def.Params, again.Params)
		assert.Equal(t, def.Type, again.Type)
		assert.Equal(t, def.Start, again.Start)
		require.Len(t, again.Extra, len(def.Extra))
		for i := range def.Extra {
			assert.Equal(t, def.Extra[i].Name, again.Extra[i].Name, "unknown fields keep their order")
			assert.JSONEq(t, def.Extra[i].Value, again.Extra[i].Value)
		}
		known := slices.DeleteFunc(slices.Clone(orderAgain), func(name string) bool { return !slices.Contains(order, name) })
		assert.Equal(t, order, known, "fields keep their order")
	})
}

func cmpStart(s Start) Start {
	if s == "" {
		return StartManual
	}
	return s
}

func FuzzParsePCIAddress(f *testing.F) {
	for _, text := range []string{"0000:41:00.4", "41:00.4", "10000:e1:00.0", "0000:41:20.0", "0000:41:1f.8", "+000:41:00.0", "::.", "0000:4_:00.0"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		address, err := ParsePCIAddress(text)
		if err != nil {
			assert.ErrorIs(t, err, ErrInvalid)
			return
		}
		again, err := ParsePCIAddress(address.String())
		require.NoError(t, err)
		assert.Equal(t, address, again)
		assert.Less(t, address.Slot, uint8(32))
		assert.Less(t, address.Function, uint8(8))
		assert.True(t, strings.HasSuffix(address.String(), strings.ToLower(text[strings.IndexByte(text, ':')+1:])) || strings.Count(text, ":") == 1, "%q", text)
	})
}

func FuzzParseGuestName(f *testing.F) {
	f.Add("qemu-system-x86_64", "guest=win10,debug-threads=on")
	f.Add("qemu", "win10")
	f.Add("x", "guest=a,,b")
	f.Add("", "process=x,guest=,y")
	f.Fuzz(func(t *testing.T, program, option string) {
		parseGuestName([]byte(option))
		name := parseGuestName([]byte(program + "\x00-name\x00guest=" + strings.ReplaceAll(option, ",", ",,") + ",debug-threads=on\x00"))
		if program == "-name" || program == "--name" || strings.ContainsRune(program, 0) || strings.ContainsRune(option, 0) {
			return
		}
		assert.Equal(t, option, name, "QEMU's escapes are undone")
	})
}

func FuzzCheckVGPUParams(f *testing.F) {
	for _, text := range []string{"frame_rate_limiter=0,disable_vnc=1", "", " ", "a=b,a=c", "x", "=1", "vgpu-placement-id=6"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, value string) {
		if err := checkVGPUParams("check", value); err != nil {
			assert.ErrorIs(t, err, ErrInvalid)
			return
		}
		assert.Less(t, len(value), maxVGPUParams)
		assert.LessOrEqual(t, strings.Count(value, ","), strings.Count(value, "="))
	})
}

func FuzzParseDeviceMinor(f *testing.F) {
	f.Add("Model: \t\t NVIDIA A100\nDevice Minor: \t 0\nGPU Excluded:\t No\n")
	f.Add("Device Minor: ../..\n")
	f.Fuzz(func(t *testing.T, text string) {
		if minor, ok := parseDeviceMinor(text); ok {
			assert.True(t, validName(minor))
		}
	})
}

// FuzzNearest also holds compareNames to being an order.
func FuzzNearest(f *testing.F) {
	f.Add("M60-8Q", "GRID M60-8Q", "GRID M60-4Q")
	f.Add("nvidia-9", "nvidia-10", "nvidia-010")
	f.Fuzz(func(t *testing.T, name, a, b string) {
		if near := nearest(name, []string{a, b}); near != "" && near != a && near != b {
			t.Fatalf("%q", near)
		}
		assert.Equal(t, compareNames(a, b), -compareNames(b, a))
		assert.Equal(t, a == b, compareNames(a, b) == 0)
		if compareNames(name, a) <= 0 && compareNames(a, b) <= 0 {
			assert.LessOrEqual(t, compareNames(name, b), 0)
		}
	})
}

func FuzzParseID(f *testing.F) {
	f.Add("83B8F4F2-509F-382F-3C1E-E6BFE0FA1001")
	f.Add("0000:41:00.4")
	f.Add("{83b8f4f2-509f-382f-3c1e-e6bfe0fa1001}")
	f.Fuzz(func(t *testing.T, text string) {
		id, err := parseID("test", text)
		if err != nil {
			assert.ErrorIs(t, err, ErrInvalid)
			return
		}
		assert.True(t, validName(id))
		if isUUID(id) {
			u, err := uuid.Parse(text)
			require.NoError(t, err)
			assert.Equal(t, u.String(), id)
		}
	})
}

// FuzzSparseAreas: no chain of capabilities, however broken, is read beyond its
// end or for ever.
func FuzzSparseAreas(f *testing.F) {
	chain := newBlock(80)
	chain.putUint32(32, 1<<16|capabilitySparse)
	chain.putUint32(40, 2)
	f.Add([]byte(chain), uint32(32))
	f.Fuzz(func(t *testing.T, data []byte, at uint32) {
		if len(data) > maxCapabilityBytes {
			return
		}
		for range sparseAreas(block(data), at) {
			continue
		}
	})
}

func FuzzAppendDirents(f *testing.F) {
	f.Add([]byte("\x01\x00\x00\x00\x00\x00\x00\x00\x02\x00\x00\x00\x00\x00\x00\x00\x18\x00\x04mtty\x00"))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, name := range appendDirents(nil, data) {
			assert.NotContains(t, name, "\x00")
		}
	})
}
