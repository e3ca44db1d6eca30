package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vgpukit/vgpukit/internal/exampletest"
	"github.com/vgpukit/vgpukit/mdev"
	"github.com/vgpukit/vgpukit/vgpu"
)

// TestSettle: at start-up a vGPU that vanished is made again, and a stranger's is
// named and left alone.
func TestSettle(t *testing.T) {
	host := exampletest.Host(t, "mtty")
	manager := exampletest.Manager(t, host)
	vm, err := manager.Provision(t.Context(), vgpu.ProvisionRequest{
		Domain: exampletest.Document("vm"), VGPUs: []vgpu.Request{{Type: "mtty-1"}},
	})
	require.NoError(t, err)
	require.NoError(t, host.Remove(t.Context(), vm.VGPUs[0].ID))
	stranger, err := host.Create(t.Context(), mdev.CreateRequest{Type: "mtty-2"})
	require.NoError(t, err)

	var out strings.Builder
	require.NoError(t, settle(t.Context(), manager, &out))
	assert.Contains(t, out.String(), "restore vm "+vm.VGPUs[0].ID)
	assert.Contains(t, out.String(), "(done: true)")
	assert.Contains(t, out.String(), "not ours: "+stranger.ID+", mtty-2 of mtty")
	for _, id := range []string{vm.VGPUs[0].ID, stranger.ID} {
		_, err := host.Device(t.Context(), id)
		assert.NoError(t, err)
	}
}
