package mdev_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vgpukit/vgpukit/mdev"
	"github.com/vgpukit/vgpukit/mdev/mdevtest"
)

func TestVirtualFunctions(t *testing.T) {
	_, host := simulated(t, "a40@0001:41:00.0", "tesla-m60")
	const gpu = "0001:41:00.0"
	_, err := host.SetVFs(t.Context(), gpu, 0)
	require.NoError(t, err)
	inv, err := host.Inventory(t.Context())
	require.NoError(t, err)
	require.Equal(t, gpu, inv.GPUs[2].Name, "a GPU whose functions are not enabled is shown")
	require.Len(t, inv.AllProblems(), 1)
	require.Equal(t, mdev.ProblemVFsOff, inv.AllProblems()[0].Code)
	require.Empty(t, inv.GPUs[2].Parents)
	total := inv.GPUs[2].SRIOV.Total
	plan, err := host.PlanVFs(t.Context(), gpu, mdev.AllVFs)
	require.NoError(t, err)
	assert.Equal(t, mdev.VFPlan{GPU: gpu, From: 0, To: total, Tool: "sriov-manage", Wipes: []string{"mixed-size mode, if it is on"}, Blockers: []string{}}, plan)

	for range 2 { // the second time it is already so
		state, err := host.SetVFs(t.Context(), gpu, mdev.AllVFs)
		require.NoError(t, err)
		assert.Equal(t, total, state.Enabled)
		assert.Len(t, state.VFs, total)
	}
	created, err := host.Create(t.Context(), mdev.CreateRequest{Type: "NVIDIA A40-2Q"})
	require.NoError(t, err)
	_, err = host.SetVFs(t.Context(), gpu, 0)
	require.ErrorIs(t, err, mdev.ErrInUse)
	assert.Contains(t, err.Error(), created.ID)
	require.NoError(t, host.Remove(t.Context(), created.ID))
	state, err := host.SetVFs(t.Context(), gpu, 0)
	require.NoError(t, err)
	assert.Empty(t, state.VFs)

	for object, want := range map[string]error{"mtty": mdev.ErrInvalid, "0009:00:00.0": mdev.ErrNotFound, "0000:05:00.0": mdev.ErrUnsupported} {
		_, err := host.SetVFs(t.Context(), object, mdev.AllVFs)
		require.ErrorIs(t, err, want, object)
	}
	_, err = host.SetVFs(t.Context(), gpu, 3)
	require.ErrorIs(t, err, mdev.ErrInvalid, "NVIDIA's are all or none")
}

// liar is a host whose sriov-manage says success and does nothing.
type liar struct {
	*mdevtest.Host
	says string
}

func (l liar) Run(context.Context, string, ...string) ([]byte, error) { return []byte(l.says), nil }

func TestSRIOVManageIsNotBelieved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim, host := simulated(t, "a40")
		gpu := inventory(t, host).GPUs[0].Name
		for says, want := range map[string]error{"": mdev.ErrRefused, "Cannot obtain unbindLock for " + gpu + "\n": mdev.ErrInUse} {
			host, err := mdev.Open(mdev.Config{FS: liar{sim, says}})
			require.NoError(t, err)
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			_, err = host.SetVFs(ctx, gpu, 0)
			require.ErrorIs(t, err, want)
			assert.Contains(t, err.Error(), strings.TrimSpace(says))
		}
	})
}
