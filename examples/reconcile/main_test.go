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

// TestSettle: at start-up a vGPU that a reboot took is made again, and a stranger's
// is named and left alone.
func TestSettle(t *testing.T) {
	w := exampletest.New(t, "mtty")
	vm, err := w.Manager.Provision(t.Context(), vgpu.ProvisionRequest{
		Domain: exampletest.Document("vm"), VGPUs: []vgpu.Request{{Type: "mtty-1"}},
	})
	require.NoError(t, err)
	w.Sim.Reboot()
	stranger, err := w.Host.Create(t.Context(), mdev.CreateRequest{Type: "mtty-2"})
	require.NoError(t, err)

	var out strings.Builder
	require.NoError(t, settle(t.Context(), w.Manager, &out))
	assert.Contains(t, out.String(), "restore vm "+vm.VGPUs[0].ID)
	assert.Contains(t, out.String(), "(done: true)")
	assert.Contains(t, out.String(), "not ours: "+stranger.ID+", mtty-2 of mtty")
	for _, id := range []string{vm.VGPUs[0].ID, stranger.ID} {
		_, err := w.Host.Device(t.Context(), id)
		assert.NoError(t, err)
	}
}
