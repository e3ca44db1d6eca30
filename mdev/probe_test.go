package mdev_test

import (
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vgpukit/vgpukit/mdev"
)

// filesOnly is an FS that can do nothing but what it must.
type filesOnly struct{ mdev.FS }

// A probe tells what can be known, and leaves alone what is in use.
func TestProbe(t *testing.T) {
	for typ, test := range map[string]struct {
		board string
		want  mdev.Migration
		err   error
	}{
		"mtty-2":         {"mtty", mdev.Migration{StopCopy: true, P2P: true, PreCopy: true, DirtyTracking: true}, nil},
		"mdpy-xga":       {"mdpy", mdev.Migration{}, nil},
		"GRID M60-2Q":    {"tesla-m60", mdev.Migration{}, mdev.ErrRefused},
		"NVIDIA L40S-2Q": {"l40s,vfs=1", mdev.Migration{}, mdev.ErrRefused},
		"i915-GVTg_V5_4": {"gvt-g", mdev.Migration{}, mdev.ErrUnsupported},
	} {
		t.Run(typ, func(t *testing.T) {
			sim, host := simulated(t, test.board)
			before := inventory(t, host)
			created, err := host.Create(t.Context(), mdev.CreateRequest{Type: typ})
			require.NoError(t, err)
			probe, err := host.Probe(t.Context(), created.ID)
			require.ErrorIs(t, err, test.err)
			if err == nil {
				assert.Equal(t, created.ID, probe.Device)
				assert.Equal(t, test.want, probe.Migration)
				assert.NotEmpty(t, probe.Regions)
			}
			release, err := sim.Use(created.ID, "desk1", 4242)
			require.NoError(t, err)
			_, err = host.Probe(t.Context(), created.ID)
			require.ErrorIs(t, err, mdev.ErrInUse)
			assert.Contains(t, err.Error(), "desk1")
			release()

			plain, err := mdev.Open(mdev.Config{FS: filesOnly{sim}})
			require.NoError(t, err)
			_, err = plain.Probe(t.Context(), created.ID)
			require.ErrorIs(t, err, mdev.ErrUnsupported)
			assert.Contains(t, err.(*mdev.Error).Hint(), "mdev.ProbeFS")
			require.NoError(t, host.Remove(t.Context(), created.ID))
			assert.Equal(t, before, inventory(t, host))
		})
	}
	_, host := simulated(t, "mtty")
	_, err := host.Probe(t.Context(), uuid.NewString())
	require.ErrorIs(t, err, mdev.ErrNotFound)
}
