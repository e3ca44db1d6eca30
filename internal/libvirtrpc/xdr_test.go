package libvirtrpc

import (
	"bytes"
	"encoding/hex"
	"reflect"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var (
	someUUID = uuid.MustParse("c2177883-f1bb-47f0-914d-32a22e3a8804")
	someText = "héllo"
	someDom  = Domain{Name: "web1", UUID: someUUID, ID: -1}
)

// TestXDR: values are encoded as RFC 4506 says, and decoded to what they were.
func TestXDR(t *testing.T) {
	for want, v := range map[string]any{
		"":                                      &Void{},
		"ffffffff":                              &Number{-1},
		"00000000000a8f64":                      &Large{692068},
		"0000000161000000":                      &Text{"a"},
		"00000000":                              &OptionalText{},
		"0000000100000006" + "68c3a96c6c6f0000": &OptionalText{&someText},
		"00000002" + "00000000" + "0000000462626262":                                           &Names{[]string{"", "bbbb"}},
		"c2177883f1bb47f0914d32a22e3a8804":                                                     &ID{someUUID},
		"00000003" + "00000001" + "00000002" + "ffffffff":                                      &DomainIDs{[]int32{1, 2, -1}},
		"0000000477656231c2177883f1bb47f0914d32a22e3a8804ffffffff" + "00000007":                &FlagArgs{someDom, 7},
		"00000005" + "0000000000000002" + "0000000000000001" + "00000004" + "0000000000000009": &Info{5, 2, 1, 4, 9},
		"00000002" + "00000061" + "00000000" + "00000001":                                      &SecurityLabel{[]int8{'a', 0}, 1},
		"00000003" + "00000007" +
			"0000000169000000" + "00000001" + "fffffffe" +
			"0000000175000000" + "00000002" + "00000002" +
			"000000016c000000" + "00000003" + "fffffffffffffffe" +
			"0000000155000000" + "00000004" + "0000000000000002" +
			"0000000164000000" + "00000005" + "3ff8000000000000" +
			"0000000162000000" + "00000006" + "00000001" +
			"0000000173000000" + "00000007" + "0000000161000000": &JobStats{3, []Param{
			{"i", int32(-2)},
			{"u", uint32(2)},
			{"l", int64(-2)},
			{"U", uint64(2)},
			{"d", 1.5},
			{"b", true},
			{"s", "a"},
		}},
	} {
		b, err := Marshal(v)
		require.NoError(t, err)
		assert.Equal(t, want, hex.EncodeToString(b), "%T", v)
		got := reflect.New(reflect.TypeOf(v).Elem()).Interface()
		require.NoError(t, Unmarshal(b, got), "%T", v)
		assert.Equal(t, v, got)

		require.ErrorIs(t, Unmarshal(append(b, 0, 0, 0, 0), got), ErrMalformed, "%T and more", v)
		for n := range b {
			require.ErrorIs(t, Unmarshal(b[:n], got), ErrMalformed, "%T cut to %d bytes", v, n)
		}
	}
	for _, v := range []any{
		[]byte{1, 2, 3}, [2]int8{1, 2}, []byte{}, uuid.UUID{}, uint8(3), uint16(4), false, int16(-3),
	} {
		b, err := Marshal(v)
		require.NoError(t, err)
		assert.Zero(t, len(b)%4)
		got := reflect.New(reflect.TypeOf(v))
		require.NoError(t, Unmarshal(b, got.Interface()))
		assert.EqualValues(t, v, got.Elem().Interface())
	}
}

// TestXDRBounds: what is longer than libvirt sends is neither encoded nor decoded, and
// a length that is announced reserves nothing.
func TestXDRBounds(t *testing.T) {
	for _, v := range []any{
		Text{strings.Repeat("a", maxString+1)},
		DomainIDs{make([]int32, maxList+1)},
		make([]byte, maxOpaque+1),
		Param{"x", 3},
		struct{ C chan int }{},
		map[string]int{},
	} {
		_, err := Marshal(v)
		require.Error(t, err, "%T", v)
	}
	for in, v := range map[string]any{
		"ffffffff":         &Text{},
		"00400001":         &Text{},
		"7fffffff00000000": &DomainIDs{},
		"00004001" + strings.Repeat("00", 4*0x4001): &DomainIDs{},
		"80000000":         &[]byte{},
		"00000002":         &OptionalText{},
		"0000000000000008": &Param{},
		"00000000":         &map[string]int{},
	} {
		b, err := hex.DecodeString(in)
		require.NoError(t, err)
		require.ErrorIs(t, Unmarshal(b, v), ErrMalformed, "%T", v)
	}
	huge := []byte{0, 0, 0x3f, 0xff, 0, 0, 0, 0}
	assert.Less(t, testing.AllocsPerRun(10, func() { _ = Unmarshal(huge, &DomainIDs{}) }), 100.0)
}

// TestMessage: what is written is read, byte for byte as libvirt frames it.
func TestMessage(t *testing.T) {
	var b bytes.Buffer
	h := Header{ProgramRemote, Version, DomainCreate, TypeCall, 7, StatusOK}
	require.NoError(t, Write(&b, h, Text{"a"}))
	assert.Equal(t, "00000024"+"20008086"+"00000001"+"00000009"+"00000000"+"00000007"+"00000000"+"0000000161000000", hex.EncodeToString(b.Bytes()))
	m, err := Read(&b)
	require.NoError(t, err)
	assert.Equal(t, Message{h, []byte{0, 0, 0, 1, 'a', 0, 0, 0}}, m)

	require.Error(t, Write(&b, h, map[string]int{}))
	require.ErrorIs(t, Write(&b, h, [5][]byte{1: make([]byte, maxOpaque), 2: make([]byte, maxOpaque), 3: make([]byte, maxOpaque), 4: make([]byte, maxOpaque)}), ErrMalformed)
	assert.Zero(t, b.Len(), "nothing is written of what is not valid")
}

// TestReadMalformed: a message that cannot be is an error at once.
func TestReadMalformed(t *testing.T) {
	for in, want := range map[string]string{
		"":                    "EOF",
		"0000":                "unexpected EOF",
		"00000000":            "malformed message: a message cannot have 0 bytes",
		"0000001b":            "malformed message: a message cannot have 27 bytes",
		"01000001":            "malformed message: a message cannot have 16777217 bytes",
		"ffffffff":            "malformed message: a message cannot have 4294967295 bytes",
		"0000001c":            "unexpected EOF",
		"0000001c" + "200080": "unexpected EOF",
	} {
		b, err := hex.DecodeString(in)
		require.NoError(t, err)
		_, err = Read(bytes.NewReader(b))
		assert.EqualError(t, err, want, in)
	}
}

// TestKeepalive: a ping has an answer, nothing else of the program has.
func TestKeepalive(t *testing.T) {
	ping := Header{Program: ProgramKeepalive, Version: Version, Procedure: Ping, Type: TypeMessage}
	pong, ok := Keepalive(ping)
	assert.True(t, ok)
	assert.Equal(t, Header{Program: ProgramKeepalive, Version: Version, Procedure: Pong, Type: TypeMessage}, pong)
	_, ok = Keepalive(pong)
	assert.False(t, ok)
	for _, change := range []func(*Header){
		func(h *Header) { h.Program = ProgramRemote },
		func(h *Header) { h.Version = 2 },
		func(h *Header) { h.Type = TypeCall },
	} {
		h := ping
		change(&h)
		_, ok := Keepalive(h)
		assert.False(t, ok)
	}
}

// TestError: an error reads as libvirt's words, before and after it was sent.
func TestError(t *testing.T) {
	e := NewError(42, FromQEMU, "Domain not found")
	b, err := Marshal(*e)
	require.NoError(t, err)
	got := &Error{}
	require.NoError(t, Unmarshal(b, got))
	assert.Equal(t, e, got)
	require.EqualError(t, got, "Domain not found")
	require.EqualError(t, &Error{}, "no message")
}

// FuzzUnmarshal: whatever is sent, decoding ends in a value or an error, and a value
// is encoded to the same bytes again.
func FuzzUnmarshal(f *testing.F) {
	kinds := []func() any{
		func() any { return &SetMetadataArgs{} },
		func() any { return &JobStats{} },
		func() any { return &SnapshotList{} },
		func() any { return &RegisterArgs{} },
		func() any { return &Error{} },
		func() any { return &SecurityLabels{} },
	}
	for i, v := range []any{
		SetMetadataArgs{Dom: someDom, Type: 2, Metadata: &someText, URI: &someText},
		JobStats{3, []Param{{"operation", int32(2)}, {"errmsg", "no"}}},
		SnapshotList{[]Snapshot{{"s1", someDom}}, 1},
		RegisterArgs{EventIDLifecycle, &someDom},
		*NewError(42, FromQEMU, "Domain not found"),
		SecurityLabels{[]SecurityLabel{{[]int8{1}, 1}}, 1},
	} {
		b, err := Marshal(v)
		require.NoError(f, err)
		f.Add(uint8(i), b)
	}
	f.Fuzz(func(t *testing.T, kind uint8, data []byte) {
		v := kinds[int(kind)%len(kinds)]()
		if err := Unmarshal(data, v); err != nil {
			require.ErrorIs(t, err, ErrMalformed)
			return
		}
		b, err := Marshal(v)
		require.NoError(t, err)
		assert.Len(t, b, len(data))
	})
}

// FuzzRead: whatever comes, reading ends in messages and one error.
func FuzzRead(f *testing.F) {
	b, err := Frame(Header{ProgramRemote, Version, DomainCreate, TypeCall, 7, StatusOK}, DomainArgs{someDom})
	require.NoError(f, err)
	f.Add(b)
	f.Fuzz(func(t *testing.T, data []byte) {
		r := bytes.NewReader(data)
		for read := 0; ; {
			m, err := Read(r)
			if err != nil {
				return
			}
			read += lengthSize + headerSize + len(m.Payload)
			require.LessOrEqual(t, read, len(data))
		}
	})
}
