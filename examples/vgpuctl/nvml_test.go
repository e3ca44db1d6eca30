package main

import (
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vgpukit/vgpukit/examples/nvml"
	"github.com/vgpukit/vgpukit/mdev"
)

// TestOnlyTheRealHostIsAsked: a simulated host's GPUs may have the addresses of real ones.
func TestOnlyTheRealHostIsAsked(t *testing.T) {
	for root, asked := range map[string]bool{"/": true, "//": true, "/..": true, t.TempDir(): false, ".": false} {
		assert.Equal(t, asked, (&globals{Root: root}).source() != nil, root)
	}
}

// TestWithoutTheLibrary: where the library is missing nothing is known, and nothing is wrong; a
// library that is there and fails is told.
func TestWithoutTheLibrary(t *testing.T) {
	asked := func(err error) (mdev.Facts, error) {
		return management{func() (*nvml.Source, error) { return nil, err }}.Facts(t.Context(), "0000:41:00.0")
	}
	facts, err := asked(fmt.Errorf("%w: it cannot be loaded", nvml.ErrMissing))
	require.NoError(t, err)
	assert.Zero(t, facts)
	mismatch := errors.New("driver and library have other versions")
	_, err = asked(mismatch)
	assert.ErrorIs(t, err, mismatch)
}
