package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vgpukit/vgpukit/internal/exampletest"
	"github.com/vgpukit/vgpukit/vgpu"
)

// TestProvision: the VM runs with the vGPU at the address that was asked for.
func TestProvision(t *testing.T) {
	w := exampletest.New(t, "tesla-m60@0000:05:00.0")
	var out strings.Builder
	err := provision(t.Context(), w.Manager, exampletest.Document("vm"), vgpu.Request{Type: "GRID M60-8Q", Address: "0000:00:08.0"}, &out)
	require.NoError(t, err)
	assert.Equal(t, "vm is running with nvidia-22 of 0000:05:00.0 at 0000:00:08.0\n", out.String())
}
