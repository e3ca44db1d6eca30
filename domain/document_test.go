package domain

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vgpukit/vgpukit/internal/devicexml"
)

func TestDocumentTells(t *testing.T) {
	d := mustParse(t, sample)
	assert.Equal(t, "sample & more", d.Name())
	assert.Equal(t, "kvm", d.Type())
	assert.Equal(t, "q35", d.Machine())
	id, ok := d.UUID()
	assert.True(t, ok)
	assert.Equal(t, "c7a5fdbd-edaf-9455-926a-d65c16db1809", id.String())
	assert.Equal(t, []Hostdev{{VF: "0000:06:12.5", Model: ModelPCI}}, d.Hostdevs())

	d = mustParse(t, "<domain/>")
	assert.Empty(t, d.Name()+d.Type()+d.Machine())
	_, ok = d.UUID()
	assert.False(t, ok)
	assert.Empty(t, d.Hostdevs())
	assert.NoError(t, d.Check())
}

// Neither the caller's slice nor what Bytes gave is the document.
func TestDocumentNeverChanges(t *testing.T) {
	text := []byte(sample)
	d, err := Parse(text)
	require.NoError(t, err)
	clear(text)
	clear(d.Bytes())
	_, err = d.Add(first())
	require.NoError(t, err)
	assert.Equal(t, sample, string(d.Bytes()))
}

func TestDocumentIsSafeForConcurrentUse(t *testing.T) {
	d := mustParse(t, sample)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			added, err := d.Add(first())
			assert.NoError(t, err)
			removed, err := added.Remove(firstID)
			assert.NoError(t, err)
			assert.Equal(t, sample, string(removed.Bytes()))
			d.Hostdevs()
			assert.NoError(t, d.Check())
		})
	}
	wg.Wait()
}

// libvirt reads UUIDs in more forms than the usual one.
func TestUUIDsAreReadAsLibvirtDoes(t *testing.T) {
	want := uuid.MustParse(firstID)
	for _, s := range []string{firstID, strings.ToUpper(firstID), strings.ReplaceAll(firstID, "-", ""), " \n" + firstID + "\t\v", "c2-17--7883f1bb47f0914d32a22e3a8804"} {
		id, ok := devicexml.ParseUUID(s)
		assert.True(t, ok, "%q", s)
		assert.Equal(t, want, id)
	}
	for _, s := range []string{"", " ", firstID[1:], firstID + "0", firstID + "-", "c-2177883f1bb47f0914d32a22e3a8804", firstID + " x", "{" + firstID + "}", "urn:uuid:" + firstID, strings.Replace(firstID, "f", "g", 1)} {
		_, ok := devicexml.ParseUUID(s)
		assert.False(t, ok, "%q", s)
	}
}

func TestAddressText(t *testing.T) {
	for s, want := range map[string]Address{
		"0000:00:08.0":  {Slot: 8},
		"ffff:ff:1f.7":  {Domain: 0xffff, Bus: 0xff, Slot: 0x1f, Function: 7},
		"ABCD:AF:0A.3":  {Domain: 0xabcd, Bus: 0xaf, Slot: 10, Function: 3},
		"41:00.4":       {Bus: 0x41, Function: 4},
		"00000:00:08.0": {Slot: 8},
		"10000:41:00.4": {Domain: 0x10000, Bus: 0x41, Function: 4},
	} {
		a, err := ParseAddress(s)
		require.NoError(t, err)
		assert.Equal(t, want, a)
		text, err := json.Marshal(a)
		require.NoError(t, err)
		var back Address
		require.NoError(t, json.Unmarshal(text, &back))
		assert.Equal(t, a, back)
	}
	for _, s := range []string{
		"", "8", "0000:00:08", "0000:00:08.8", "0000:00:20.0", "0000:00:8.0", "0000:0:08.0", "100000000:00:08.0", "0000:00:08.0 ",
		"0000.00.08.0", "0000:00:+8.0", "0x00:00:08.0", "0000:00:0_.0", "g000:00:08.0", ":00:08.0", "00:00:08.0", "0000:00:08.00",
	} {
		_, err := ParseAddress(s)
		requireError(t, err, ErrInvalid, "it is not domain:bus:slot.function")
		assert.Error(t, new(Address).UnmarshalText([]byte(s)))
	}
	_, err := Address{Slot: 32}.MarshalText()
	requireError(t, err, ErrInvalid, "out of range")
	_, err = Address{Function: 8}.MarshalText()
	requireError(t, err, ErrInvalid, "out of range")
}

// Numbers in address elements are C's: hexadecimal, octal or decimal.
func TestAddressElements(t *testing.T) {
	for attributes, want := range map[string]string{
		"domain='0x0001' bus='0X1a' slot='0x1F' function='0x7'": "0001:1a:1f.7 true",
		"bus='10' slot='010' function='00'":                     "0000:0a:08.0 true",
		"bus=' 1'":                                              "0000:01:00.0 true",
		"domain='0x10000' bus='0x41' function='0x4'":            "10000:41:00.4 true",
		"domain='4294967295'":                                   "ffffffff:00:00.0 true",
		"":                                                      "0000:00:00.0 false",
		"domain='0x0' bus='0' slot='0' function='3'":            "0000:00:00.3 false",
		"type='ccw' slot='1'":                                   "0000:00:00.0 false",
	} {
		n := mustParse(t, "<domain><address "+attributes+"/></domain>").root.Children[0]
		a, _, ok, err := parseAddressElement(n)
		require.NoError(t, err)
		assert.Equal(t, want, fmt.Sprint(a, ok), attributes)
	}
	for _, attributes := range []string{"bus='256'", "slot='0x20'", "function='8'", "domain='0x100000000'", "slot='08'", "slot='x'", "slot=''", "slot='0x'", "slot='-1'", "slot='1 '", "slot='99999999999999999999'"} {
		n := mustParse(t, "<domain><address "+attributes+"/></domain>").root.Children[0]
		_, _, ok, err := parseAddressElement(n)
		assert.False(t, ok, attributes)
		requireError(t, err, ErrInvalid, "is not valid")
	}
}

func TestErrorIsOneLine(t *testing.T) {
	cause := errors.New("lower")
	for want, e := range map[string]*Error{
		"add device x: no room; full":              {Op: "add", Object: "device x", Kind: ErrInvalid, Meaning: "no room", Cause: "full", Next: "wait"},
		"add device x: in use":                     {Op: "add", Object: "device x", Kind: ErrInUse},
		"add: no room; lower":                      {Op: "add", Meaning: "no room", Err: cause},
		"add device x: device y: in use":           {Op: "add", Object: "device x", Err: &Error{Op: "add", Object: "device y", Kind: ErrInUse}},
		"add device x: use address y: taken; by z": {Op: "add", Object: "device x", Err: &Error{Op: "use", Object: "address y", Meaning: "taken", Cause: "by z"}},
		"open: no socket; lower":                   {Op: "open", Kind: ErrNotFound, Meaning: "no socket", Err: cause},
		"open qemu:///system: no socket; off":      {Op: "open", Object: "qemu:///system", Meaning: "no socket", Cause: "off"},
	} {
		assert.EqualError(t, e, want)
		assert.Equal(t, e.Next, e.Hint())
		if e.Kind != nil {
			assert.ErrorIs(t, e, e.Kind)
		}
		if e.Err == cause {
			assert.ErrorIs(t, e, cause)
		}
	}
}

func TestStateActive(t *testing.T) {
	active := map[State]bool{
		StateRunning: true, StatePaused: true, StateShuttingDown: true, StateSuspended: true,
		StateShutOff: false, StateCrashed: false,
	}
	for s, want := range active {
		assert.Equal(t, want, s.Active(), string(s))
	}
}
