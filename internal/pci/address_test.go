package pci

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
)

// Each reader takes the spellings that it says, and no others.
func TestParse(t *testing.T) {
	const strict, short, loose = 1, 2, 3 // the strictest that takes it
	for _, c := range []struct {
		text  string
		taken int
		want  string
	}{
		{"0000:41:00.4", strict, "0000:41:00.4"},
		{"ABCD:AF:1F.7", strict, "abcd:af:1f.7"},
		{"ffff:ff:1f.7", strict, "ffff:ff:1f.7"},
		{"10000:41:00.4", strict, "10000:41:00.4"},
		{"ffffffff:ff:1f.7", strict, "ffffffff:ff:1f.7"},
		{"00000000:41:00.4", strict, "0000:41:00.4"},
		{"41:00.4", short, "0000:41:00.4"},
		{"5:0.0", loose, "0000:05:00.0"},
		{"1:41:00.4", loose, "0001:41:00.4"},
		{"0000:05:0.0", loose, "0000:05:00.0"},
		{"0000:41:00:4", loose, "0000:41:00.4"},
		{"pci_0000_41_00_4", loose, "0000:41:00.4"},
		{"pci_10000_41_00_4", loose, "10000:41:00.4"},
		{"000010000:41:00.4", loose, "10000:41:00.4"},
		{text: ""},
		{text: ":"},
		{text: "::."},
		{text: "8"},
		{text: "x:y.z"},
		{text: "0000:41:00"},
		{text: "0000:41:20.0"},
		{text: "0000:41:1f.8"},
		{text: "0000:141:00.4"},
		{text: "100000000:41:00.4"},
		{text: "+000:41:00.0"},
		{text: "0x00:41:00.0"},
		{text: "0000:41:+0.0"},
		{text: "g000:41:00.0"},
		{text: " 0000:41:00.4"},
		{text: "0000:41:00.4 "},
		{text: "0000:41:00.4\n"},
		{text: "0000:00:00:41:00.4"},
		{text: "98d19132-f8f0-4d19-8743-9efa23e6c493"},
	} {
		for strictness, parse := range map[int]func(string) (Address, bool){strict: Parse, short: ParseShort, loose: ParseLoose} {
			a, ok := parse(c.text)
			assert.Equal(t, c.taken != 0 && c.taken <= strictness, ok, "%q, reader %d", c.text, strictness)
			if ok {
				assert.Equal(t, c.want, a.String(), "%q, reader %d", c.text, strictness)
			}
		}
	}
}

// Valid means that slot and function fit, so that a reader takes the text back.
func TestValid(t *testing.T) {
	for slot := range 256 {
		for function := range 256 {
			a := Address{Domain: 0x10000, Slot: uint8(slot), Function: uint8(function)}
			back, ok := Parse(a.String())
			assert.Equal(t, a.Valid(), ok && back == a, a)
		}
	}
}

// Numbers in elements are C's, and are checked for their range.
func TestFromAttributes(t *testing.T) {
	for _, c := range []struct{ domain, bus, slot, function, want string }{
		{"0x10000", "0x41", "0x00", "0x4", "10000:41:00.4"},
		{"0xffffffff", "0xff", "0x1f", "7", "ffffffff:ff:1f.7"},
		{"4294967295", "255", "31", "07", "ffffffff:ff:1f.7"},
		{"-", "0X1a", " 010", "-", "0000:1a:08.0"},
		{"-", "-", "-", "-", "0000:00:00.0"},
		{" \t\n+0x10000", "+65", "\v0b11", "+04", "10000:41:03.4"},
		{"0", "++1", "0", "0", "bus"},
		{"0", "+ 1", "0", "0", "bus"},
		{"0", "0x+1", "0", "0", "bus"},
		{"0", "0b", "0", "0", "bus"},
		{"0", "0b2", "0", "0", "bus"},
		{"0", "0", "0", "-0", "function"},
		{"0x100000000", "0", "0", "0", "domain"},
		{"", "0", "0", "0", "domain"},
		{"0", "256", "0", "0", "bus"},
		{"0", "1_0", "0", "0", "bus"},
		{"0", "0", "0x20", "0", "slot"},
		{"0", "0", "08", "0", "slot"},
		{"0", "0", "0x", "0", "slot"},
		{"0", "0", "1 ", "0", "slot"},
		{"0", "0", "0", "8", "function"},
		{"0", "0", "0", "-1", "function"},
		{"0", "0", "0", "99999999999999999999", "function"},
	} {
		values := map[string]string{"domain": c.domain, "bus": c.bus, "slot": c.slot, "function": c.function}
		a, wrong := FromAttributes(func(name string) (string, bool) { return values[name], values[name] != "-" })
		if wrong != "" {
			assert.Equal(t, c.want, wrong, "%v", c)
			assert.Zero(t, a, "%v", c)
		} else {
			assert.Equal(t, c.want, a.String(), "%v", c)
		}
	}
}

// What a reader takes is in range and read back from its canonical form by every
// reader; what a stricter one takes, a looser one takes for the same address.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{"0000:41:00.4", "41:00.4", "0000:41:0.4", "10000:05:00.0", "00000000:e1:1F.7", "pci_0000_41_00_4", "0000:41:00:4", "0000:4_:00.0", "+000:41:00.0", "", ":", "x:y.z"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		readers := []func(string) (Address, bool){Parse, ParseShort, ParseLoose}
		var taken *Address
		for i, parse := range readers {
			a, ok := parse(text)
			switch {
			case !ok && taken != nil:
				t.Errorf("%q: reader %d refuses what a stricter one takes", text, i)
			case !ok:
				continue
			case taken != nil && a != *taken:
				t.Errorf("%q: reader %d takes it for %s, a stricter one for %s", text, i, a, *taken)
			}
			taken = &a
			if !a.Valid() {
				t.Errorf("%q: %#v is out of range", text, a)
			}
			for j, again := range readers {
				if back, ok := again(a.String()); !ok || back != a {
					t.Errorf("%q: reader %d takes it for %s, and reader %d that for %s", text, i, a, j, back)
				}
			}
		}
	})
}

// Every address in range survives its text, and its libvirt attributes.
func FuzzString(f *testing.F) {
	f.Add(uint32(0), uint8(0), uint8(0), uint8(0))
	f.Add(uint32(0x10000), uint8(0x41), uint8(0), uint8(4))
	f.Add(^uint32(0), ^uint8(0), ^uint8(0), ^uint8(0))
	f.Fuzz(func(t *testing.T, domain uint32, bus, slot, function uint8) {
		a := Address{domain, bus, slot & MaxSlot, function & MaxFunction}
		if back, ok := Parse(a.String()); !ok || back != a {
			t.Errorf("%s became %s, %v", a, back, ok)
		}
		for _, form := range []string{"%d", "%#x", "0x%08x", "0%o"} {
			values := map[string]any{"domain": a.Domain, "bus": a.Bus, "slot": a.Slot, "function": a.Function}
			back, wrong := FromAttributes(func(name string) (string, bool) { return fmt.Sprintf(form, values[name]), true })
			if wrong != "" || back != a {
				t.Errorf("%s as %s became %s, %q", a, form, back, wrong)
			}
		}
	})
}
