package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vgpukit/vgpukit/internal/exampletest"
)

// TestSeveral: vGPUs are kept apart where there are GPUs enough, and share where
// not.
func TestSeveral(t *testing.T) {
	for _, c := range []struct {
		vm     string
		boards []string
		want   string
	}{
		{"apart", []string{"l40s@0000:41:00.0,vfs=4", "l40s@0000:61:00.0,vfs=4"}, "0000:61:00.0"},
		{"sharing", []string{"l40s@0000:41:00.0,vfs=4"}, "too few GPUs"},
	} {
		w := exampletest.New(t, c.boards...)
		var out strings.Builder
		require.NoError(t, several(t.Context(), w.Manager, exampletest.Document(c.vm), "NVIDIA L40S-24Q", 2, &out))
		assert.Contains(t, out.String(), c.vm+" has 1155 on 0000:41:00.0 at ")
		assert.Contains(t, out.String(), c.want)
	}
}
