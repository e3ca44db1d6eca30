package vgpu

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vgpukit/vgpukit/domain"
	"github.com/vgpukit/vgpukit/mdev"
	"github.com/vgpukit/vgpukit/vgpu/placement"
)

// TestOneLimit: what can be placed in one VM can be written into its document.
func TestOneLimit(t *testing.T) {
	assert.Equal(t, domain.MaxVGPUs, MaxVGPUs)
}

// TestRefusalInAnError: a VM without a place is told of in one line, and its reasons
// travel.
func TestRefusalInAnError(t *testing.T) {
	s, err := placement.NewSnapshot(placement.HostInventory{Inventory: &mdev.Inventory{GPUs: []mdev.GPU{{Name: "0000:41:00.0"}}}})
	require.NoError(t, err)
	_, refusal := s.Place([]placement.Request{{Type: "nvidia-22"}}, placement.Options{})
	err = &Error{Op: "plan", VM: "vm", Step: "place", Kind: kindOf(refusal), Err: refusal}
	assert.EqualError(t, err, `plan vm: place vGPU 0: no GPU has a type "nvidia-22" now; 0000:41:00.0 has no parent that makes vGPUs`)
	require.ErrorIs(t, err, ErrNotFound)
	var read Error
	data, err := json.Marshal(err)
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(data, &read))
	assert.Len(t, NewEnvelope(&read).Reasons, 1)
}
