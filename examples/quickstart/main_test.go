package main

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vgpukit/vgpukit/internal/exampletest"
	"github.com/vgpukit/vgpukit/vgpu"
)

// TestOnlyWhatItMade: a VM of that name that was there before is left alone; what
// it made itself goes, also when it fails half way.
func TestOnlyWhatItMade(t *testing.T) {
	w := exampletest.New(t, "mtty")
	vms := func() []vgpu.VM {
		list, err := w.Manager.List(t.Context())
		require.NoError(t, err)
		return list
	}
	noMonitor := errors.New("no monitor")
	for _, fails := range []error{nil, noMonitor} {
		looked := 0
		err := show(t.Context(), w.Manager, "kvm", "mtty-1", func(_ context.Context, vm string) error {
			looked++
			require.Len(t, vms(), 1)
			assert.Equal(t, vm, vms()[0].Name)
			assert.Equal(t, vgpu.StateRunning, vms()[0].State, "a picture is taken of a VM that runs")
			return fails
		})
		require.ErrorIs(t, err, fails)
		assert.Equal(t, 1, looked)
		assert.Empty(t, vms())
	}

	_, err := w.Manager.Provision(t.Context(), vgpu.ProvisionRequest{
		Domain: fmt.Sprintf(machine, "kvm"),
		VGPUs:  []vgpu.Request{{Type: "mtty-1", Address: "0000:00:08.0", Display: "on", RAMFB: "on"}},
	})
	require.NoError(t, err)
	look := func(context.Context, string) error { return errors.New("it was looked at") }
	require.ErrorContains(t, show(t.Context(), w.Manager, "kvm", "mtty-1", look), "left alone")
	require.Len(t, vms(), 1)
	assert.True(t, vms()[0].VGPUs[0].Present)
}
