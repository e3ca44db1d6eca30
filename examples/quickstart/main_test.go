package main

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vgpukit/vgpukit/domain/virt"
	"github.com/vgpukit/vgpukit/internal/exampletest"
	"github.com/vgpukit/vgpukit/vgpu"
)

// TestOnlyWhatItMade: a VM of that name that was there before is left alone; what
// it made itself goes, also when it fails half way.
func TestOnlyWhatItMade(t *testing.T) {
	conn, err := virt.Open(t.Context(), virt.Config{URI: "test:///default"})
	require.NoError(t, err)
	defer conn.Close()
	manager := exampletest.Manager(t, exampletest.Host(t, "mtty"))
	vms := func() []vgpu.VM {
		list, err := manager.List(t.Context())
		require.NoError(t, err)
		return list
	}

	// libvirt's test driver starts the VM and has no QEMU monitor.
	require.ErrorContains(t, show(t.Context(), conn, manager, "test", "mtty-1"), "monitor")
	assert.Empty(t, vms())

	_, err = manager.Provision(t.Context(), vgpu.ProvisionRequest{
		Domain: fmt.Sprintf(machine, "test"),
		VGPUs:  []vgpu.Request{{Type: "mtty-1", Address: "0000:00:08.0", Display: "on", RAMFB: "on"}},
	})
	require.NoError(t, err)
	require.ErrorContains(t, show(t.Context(), conn, manager, "test", "mtty-1"), "left alone")
	require.Len(t, vms(), 1)
	assert.True(t, vms()[0].VGPUs[0].Present)
	require.NoError(t, manager.Teardown(t.Context(), "quickstart", vgpu.TeardownOptions{}))
}
