package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vgpukit/vgpukit/internal/exampletest"
)

// TestPlan: packing fills one GPU before the next, spreading alternates, and both
// find as many places as there are.
func TestPlan(t *testing.T) {
	var out strings.Builder
	require.NoError(t, plan(t.Context(), exampletest.New(t, "tesla-m60@0000:05:00.0").Host, "GRID M60-4Q", &out))
	var where []string
	for _, line := range strings.Split(out.String(), "\n") {
		if _, parent, ok := strings.Cut(line, ": 0000:"); ok && !strings.Contains(line, "no GPU can take") {
			where = append(where, parent)
		}
	}
	assert.Equal(t, []string{"05:00.0", "05:00.0", "06:00.0", "06:00.0", "05:00.0", "06:00.0", "05:00.0", "06:00.0"}, where, out.String())
}
