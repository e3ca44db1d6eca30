package vgputest_test

import (
	"context"
	"errors"
	"reflect"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vgpukit/vgpukit/domain"
	"github.com/vgpukit/vgpukit/mdev/mdevtest"
	"github.com/vgpukit/vgpukit/vgpu/vgputest"
)

// TestFailRefuses: a fault that can never strike is a mistake of the test that injects
// it.
func TestFailRefuses(t *testing.T) {
	libvirt := vgputest.New(mdevtest.New())
	for name, fault := range map[string]vgputest.Fault{
		"a method that there is not": {Method: "Strat"},
		"a method that is no call":   {Method: "SetDown"},
		"a server's life":            {Method: "Serve"},
		"a delay below zero":         {Method: "Start", Delay: -1},
		"a call below the first":     {Method: "Start", N: -1},
	} {
		assert.Panics(t, func() { libvirt.Fail(fault) }, name)
	}
	assert.NoError(t, func() error { _, err := libvirt.Domains(t.Context()); return err }(), "what was refused strikes")
}

// TestFailStrikesEveryCall: each method that asks libvirt for something counts as one
// call, and fails with the error of a fault in it.
func TestFailStrikesEveryCall(t *testing.T) {
	struck := errors.New("struck")
	libvirt := vgputest.New(mdevtest.New())
	methods := reflect.TypeOf(libvirt)
	calls := 0
	for i := range methods.NumMethod() {
		m := methods.Method(i)
		if m.Name == "Serve" || m.Type.NumIn() < 2 || m.Type.In(1) != reflect.TypeFor[context.Context]() {
			continue
		}
		args := []reflect.Value{reflect.ValueOf(libvirt), reflect.ValueOf(t.Context())}
		for n := 2; n < m.Type.NumIn(); n++ {
			args = append(args, reflect.Zero(m.Type.In(n)))
		}
		undo := libvirt.Fail(vgputest.Fault{Method: m.Name, Err: struck})
		results := m.Func.Call(args)
		undo()
		err, _ := results[len(results)-1].Interface().(error)
		assert.ErrorIs(t, err, struck, m.Name)
		calls++
		assert.Equal(t, calls, libvirt.Calls(), m.Name)
	}
	assert.Greater(t, calls, 30)
}

// TestFailAfterDetach: with After, a detach has taken effect, in the saved definition too.
func TestFailAfterDetach(t *testing.T) {
	w := newWorld(t, "mtty")
	w.makeVGPUs(1)
	_, err := w.libvirt.Define(t.Context(), machineWith("web1", w.vgpus...))
	require.NoError(t, err)
	require.NoError(t, w.libvirt.Start(t.Context(), "web1"))
	w.libvirt.Fail(vgputest.Fault{Method: "Detach", After: true, Err: domain.ErrUnavailable})
	both := domain.ScopeLive | domain.ScopeSaved
	require.ErrorIs(t, w.libvirt.Detach(t.Context(), "web1", element(w.vgpus[0]), both), domain.ErrUnavailable)
	for _, document := range []func(context.Context, string) (string, error){w.libvirt.XML, w.libvirt.LiveXML} {
		xml, err := document(t.Context(), "web1")
		require.NoError(t, err)
		assert.NotContains(t, xml, w.vgpus[0])
	}
}

// TestFailByUUID: a fault finds a VM by either of its names, whichever the call uses.
func TestFailByUUID(t *testing.T) {
	libvirt := vgputest.New(mdevtest.New())
	web1, err := libvirt.Define(t.Context(), machineWith("web1"))
	require.NoError(t, err)
	for _, of := range []string{"web1", web1.UUID.String()} {
		undo := libvirt.Fail(vgputest.Fault{VM: of, Err: domain.ErrUnavailable})
		for _, vm := range []string{"web1", web1.UUID.String()} {
			require.ErrorIs(t, libvirt.Start(t.Context(), vm), domain.ErrUnavailable)
		}
		require.NoError(t, func() error { _, err := libvirt.Domains(t.Context()); return err }())
		undo()
	}
}
