//go:build cgo

package vgpu_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"libvirt.org/go/libvirt"

	"github.com/vgpukit/vgpukit/domain"
	"github.com/vgpukit/vgpukit/domain/virt"
	"github.com/vgpukit/vgpukit/mdev"
	"github.com/vgpukit/vgpukit/vgpu"
)

// TestErrorsOfAllPackagesTravel: an error of any package, written as JSON and read
// back, reads the same and matches the same kind, errno, libvirt's code and end of a
// context, with the same hint.
func TestErrorsOfAllPackagesTravel(t *testing.T) {
	conn, err := virt.Open(t.Context(), virt.Config{URI: "test:///default"})
	require.NoError(t, err)
	defer conn.Close()
	noVM := conn.Start(t.Context(), "nobody")
	require.ErrorIs(t, noVM, libvirt.ERR_NO_DOMAIN)
	for _, c := range []struct {
		err  error
		kind error
		is   []error
	}{
		{&mdev.Error{Op: "create", Object: "x", Kind: mdev.ErrNoCapacity, Errno: syscall.EIO, Meaning: "no", Next: "free some", Pending: true}, vgpu.ErrNoCapacity, []error{syscall.EIO, mdev.ErrNoCapacity}},
		{&domain.Error{Op: "add", Object: "x", Kind: domain.ErrInUse, Next: "choose another"}, vgpu.ErrInUse, []error{domain.ErrInUse}},
		{noVM, vgpu.ErrNotFound, []error{libvirt.ERR_NO_DOMAIN, domain.ErrNotFound}},
		{&vgpu.Error{Op: "stop", VM: "web1", Kind: vgpu.ErrBusy, Err: context.DeadlineExceeded, Next: "wait"}, vgpu.ErrBusy, []error{context.DeadlineExceeded}},
		{&vgpu.Error{Op: "stop", VM: "web1", Err: context.Canceled}, context.Canceled, []error{context.Canceled}},
		{&vgpu.Error{Op: "start", VM: "web1", Kind: vgpu.ErrNotFound, Err: noVM}, vgpu.ErrNotFound, []error{libvirt.ERR_NO_DOMAIN}},
		{fmt.Errorf("mine: %w", &mdev.Error{Op: "create", Kind: mdev.ErrExists}), vgpu.ErrExists, nil},
		{errors.New("nobody knows"), nil, nil},
	} {
		data, err := json.Marshal(vgpu.NewEnvelope(c.err))
		require.NoError(t, err)
		var envelope vgpu.Envelope
		require.NoError(t, json.Unmarshal(data, &envelope))
		back := envelope.Err()
		assert.EqualError(t, back, c.err.Error())
		assert.Equal(t, c.kind, vgpu.KindOf(c.err), "%v", c.err)
		assert.Equal(t, c.kind, vgpu.KindOf(back), "%v", c.err)
		assert.Equal(t, vgpu.Hint(c.err), vgpu.Hint(back), "%v", c.err)
		for _, target := range c.is {
			assert.ErrorIs(t, back, target)
		}
		assert.NotErrorIs(t, back, libvirt.ERR_INTERNAL_ERROR)
		assert.NotErrorIs(t, back, syscall.ENOENT)
		assert.Equal(t, envelope, vgpu.NewEnvelope(back), "on its next way")
	}
}

// TestEnvelopeSaysWhere: where it happened travels too: on which VM, if one of several
// failed, and for errors of packages without VMs.
func TestEnvelopeSaysWhere(t *testing.T) {
	inner := &vgpu.Error{Op: "reconcile", VM: "web1", Step: "release", Object: "x", Kind: vgpu.ErrInUse}
	whole := vgpu.NewEnvelope(&vgpu.Error{Op: "reconcile", Kind: vgpu.ErrInUse, Err: inner})
	assert.Equal(t, []string{"reconcile", "web1", "release", "x"}, []string{whole.Op, whole.VM, whole.Step, whole.Object})
	host := vgpu.NewEnvelope(&mdev.Error{Op: "remove", Object: "0000:41:00.4", Kind: mdev.ErrInUse})
	assert.Equal(t, []string{"remove", "0000:41:00.4"}, []string{host.Op, host.Object})
	assert.Equal(t, vgpu.Envelope{}, vgpu.NewEnvelope(nil))
	assert.NoError(t, vgpu.Envelope{}.Err())
	require.Error(t, json.Unmarshal([]byte("{}"), new(vgpu.Error)))
}

// An error from any of the library's packages has one kind and says what to do, and
// travels as JSON.
func ExampleKindOf() {
	err := error(&mdev.Error{Op: "remove", Object: "0000:41:00.4", Kind: mdev.ErrInUse, Meaning: "a VM has it", Next: "stop the VM"})
	switch vgpu.KindOf(err) {
	case vgpu.ErrInUse, vgpu.ErrBusy:
		fmt.Println("later:", err)
	}
	fmt.Println(vgpu.Hint(err))
	// Output:
	// later: remove 0000:41:00.4: a VM has it
	// stop the VM
}

// A server answers with the envelope, and its client has the error again.
func ExampleEnvelope() {
	answer, _ := json.Marshal(vgpu.NewEnvelope(&vgpu.Error{Op: "stop", VM: "web1", Kind: vgpu.ErrNotFound, Next: "see the list"}))
	fmt.Println(string(answer))

	var envelope vgpu.Envelope
	_ = json.Unmarshal(answer, &envelope)
	fmt.Println(envelope.Err(), errors.Is(envelope.Err(), vgpu.ErrNotFound))
	// Output:
	// {"error":"stop web1: not found","kind":"not_found","next":"see the list","op":"stop","vm":"web1"}
	// stop web1: not found true
}
