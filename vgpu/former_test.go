package vgpu

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vgpukit/vgpukit/domain"
)

// TestOlderWishes: the wishes of a stop or teardown that an earlier version of this
// program began, and did not finish, are understood.
func TestOlderWishes(t *testing.T) {
	var r record
	require.NoError(t, json.Unmarshal([]byte(`{"vm":"web1","stop":{"guest":-1,"terminate":3000000000,"force":true},
		"teardown":{"stop":{"guest":60000000000},"undefine":{"ManagedSave":true,"NVRAM":true,"KeepNVRAM":false,"SnapshotsMetadata":true,"CheckpointsMetadata":true}}}`), &r))
	assert.Equal(t, "web1", r.VM)
	assert.Equal(t, &StopOptions{SkipGuest: true, TerminateTimeout: 3 * time.Second, Force: true}, r.Stop)
	assert.Equal(t, &TeardownOptions{
		Stop:     StopOptions{GuestTimeout: time.Minute},
		Undefine: domain.UndefineOptions{ManagedSave: true, NVRAM: true, SnapshotsMetadata: true, CheckpointsMetadata: true},
	}, r.Teardown)

	now := record{VM: "web1", Stop: &StopOptions{GuestTimeout: time.Minute}, Teardown: &TeardownOptions{Undefine: domain.UndefineOptions{KeepNVRAM: true}}}
	data, err := json.Marshal(now)
	require.NoError(t, err)
	var back record
	require.NoError(t, json.Unmarshal(data, &back))
	assert.Equal(t, now, back)
}
