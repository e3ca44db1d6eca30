package mdev

import (
	"context"
	"encoding/json"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var testUUID = uuid.MustParse("8c1d8f5e-6a3c-4d0e-9f5b-0d1c2b3a4f50")

func TestHostWithoutVGPUsIsEmpty(t *testing.T) {
	inventory, err := newTree(t).host().Inventory(t.Context())
	require.NoError(t, err)
	text, err := json.Marshal(inventory)
	require.NoError(t, err)
	assert.JSONEq(t, `{"gpus":[],"problems":[]}`, string(text))
}

func TestCreateAndRemoveLeaveTheHostAsItWas(t *testing.T) {
	f := newTree(t)
	f.parent("sys/devices/virtual/mtty/mtty", 2, "mtty-1 Single port", "mtty-2 Dual port")
	h := f.host()
	before, err := h.Inventory(t.Context())
	require.NoError(t, err)

	created, err := h.Create(t.Context(), CreateRequest{Type: "Dual port", UUID: testUUID})
	require.NoError(t, err)
	assert.Equal(t, Device{
		ID: testUUID.String(), Framework: FrameworkMdev, Parent: "mtty", GPU: "mtty", Type: "mtty-2", TypeName: "Dual port", DeviceAPI: "vfio-pci",
		IOMMUGroup: "7", VFIONode: "/dev/vfio/7", Path: "sys/devices/virtual/mtty/mtty/" + testUUID.String(), State: StateReady, Problems: []Problem{},
	}, created.Device)
	assert.False(t, created.Existed)

	again, err := h.Create(t.Context(), CreateRequest{Type: "mtty-2", Parent: "mtty", UUID: testUUID})
	require.NoError(t, err)
	assert.True(t, again.Existed)

	dev, err := h.Device(t.Context(), strings.ToUpper(testUUID.String()))
	require.NoError(t, err)
	assert.Equal(t, created.Device, dev)

	require.NoError(t, h.Remove(t.Context(), testUUID.String()))
	after, err := h.Inventory(t.Context())
	require.NoError(t, err)
	assert.Equal(t, before, after)
	assert.ErrorIs(t, h.Remove(t.Context(), testUUID.String()), ErrNotFound)
}

func TestRemoveInUseIsRefusedAtOnceAndNamesTheVM(t *testing.T) {
	f := newTree(t)
	f.parent("sys/devices/virtual/mtty/mtty", 2, "mtty-2 Dual port")
	h := f.host()
	_, err := h.Create(t.Context(), CreateRequest{Type: "mtty-2", UUID: testUUID})
	require.NoError(t, err)
	f.busy["dev/vfio/7"] = true
	f.link("proc/4711/fd/9", "dev/vfio/7")
	f.file("proc/4711/comm", "qemu-system-x86\n")
	f.file("proc/4711/cmdline", "qemu-system-x86_64\x00-name\x00guest=win,,10,debug-threads=on\x00")
	relink(f, "proc/4711/fd/9", "/dev/vfio/7")

	start := time.Now()
	err = h.Remove(t.Context(), testUUID.String())
	require.ErrorIs(t, err, ErrInUse)
	assert.ErrorIs(t, err, syscall.EBUSY)
	assert.Contains(t, err.Error(), `VM "win,10" (pid 4711)`)
	assert.Less(t, time.Since(start), guardPatience, "a VM needs no patience")
	assert.NotContains(t, f.writes, "remove=1", "nothing may be written while it is in use")
}

func TestBadRequestsTouchNothing(t *testing.T) {
	f := newTree(t)
	f.parent("sys/devices/virtual/mtty/mtty", 2, "mtty-2 Dual port")
	h := f.host()
	for name, test := range map[string]struct {
		req  CreateRequest
		want error
		text string
	}{
		"no type":              {CreateRequest{}, ErrInvalid, "no type"},
		"type with a path":     {CreateRequest{Type: "../mtty-2"}, ErrNotFound, "no parent offers"},
		"parent with a path":   {CreateRequest{Type: "mtty-2", Parent: "../mtty"}, ErrInvalid, "cannot be a parent"},
		"parameter elsewhere":  {CreateRequest{Type: "mtty-2", Params: []Param{{"../remove", "1"}}}, ErrInvalid, "cannot be an attribute"},
		"remove as parameter":  {CreateRequest{Type: "mtty-2", Params: []Param{{"remove", "1"}}}, ErrInvalid, "cannot be an attribute"},
		"parameter of 2 lines": {CreateRequest{Type: "mtty-2", Params: []Param{{"x", "1\n2"}}}, ErrInvalid, "more than one line"},
		"unknown type":         {CreateRequest{Type: "mtty-3"}, ErrNotFound, "no parent offers"},
		"unknown parent":       {CreateRequest{Type: "mtty-2", Parent: "mttz"}, ErrNotFound, "no such parent"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := h.Create(t.Context(), test.req)
			require.ErrorIs(t, err, test.want)
			assert.Contains(t, err.Error(), test.text)
			var e *Error
			require.ErrorAs(t, err, &e)
			assert.NotEmpty(t, e.Hint())
		})
	}
	assert.Empty(t, f.writes)
	_, err := h.Device(t.Context(), "mtty")
	assert.ErrorIs(t, err, ErrInvalid)
}

func TestHalfMadeDeviceIsUndone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newTree(t)
		f.parent("sys/devices/virtual/mtty/mtty", 2, "mtty-2 Dual port")
		f.halfMade = true
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		_, err := f.host().Create(ctx, CreateRequest{Type: "mtty-2", UUID: testUUID})
		require.ErrorIs(t, err, context.DeadlineExceeded)
		assert.Contains(t, f.writes, "remove=1")
		_, err = f.Stat("sys/devices/virtual/mtty/mtty/" + testUUID.String())
		assert.True(t, absent(err))
	})
}

// Root that cannot see who has a device open is not told to become root.
func TestUnseenHolder(t *testing.T) {
	dev := &Device{ID: testUUID.String(), IOMMUGroup: "7"}
	cause, next := unseen(0, dev)
	assert.Contains(t, cause, "another container or PID namespace")
	assert.Contains(t, next, "/dev/vfio/7")
	cause, next = unseen(1000, dev)
	assert.Contains(t, cause, "without root")
	assert.Contains(t, next, "as root")
}
