package vgpu

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vgpukit/vgpukit/mdev"
)

// full are hosts that have room for exactly 64 vGPUs of a type.
var full = []struct {
	name, typ string
	boards    []string
}{
	{"M60", "GRID M60-1Q", []string{"tesla-m60@0000:05:00.0", "tesla-m60@0000:15:00.0", "tesla-m60@0000:25:00.0", "tesla-m60@0000:35:00.0"}},
	{"A40", "NVIDIA A40-1Q", []string{"a40@0000:41:00.0,vfs=32", "a40@0000:61:00.0,vfs=32"}},
	{"L40S", "NVIDIA L40S-1Q", []string{"l40s@0000:41:00.0,vfs=32", "l40s@0000:61:00.0,vfs=32"}},
}

// TestAllAtOnce: of 64 VMs that are provisioned and started at the same moment, by one
// program or by many, each gets its vGPU as long as the host has room, no two get one, and who
// is refused is told that no room is left.
func TestAllAtOnce(t *testing.T) {
	for _, host := range full {
		for _, by := range []string{"goroutines", "processes"} {
			for _, room := range []int{64, 60} {
				for _, life := range []Lifetime{Reserved, WhileRunning} {
					if by == "processes" && (room == 64) == (life == Reserved) && os.Getenv("VGPUKIT_POINTS") != "all" {
						continue // each takes its time
					}
					t.Run(fmt.Sprint(host.name, " ", by, " ", room, " ", life), func(t *testing.T) {
						r := newRig(t, host.boards...)
						for range 64 - room {
							_, err := r.host.Create(t.Context(), mdev.CreateRequest{Type: host.typ})
							require.NoError(t, err)
						}
						r.allAtOnce(host.typ, by, room, life)
					})
				}
			}
		}
	}
}

func (r *rig) allAtOnce(typ, by string, room int, life Lifetime) {
	t := r.t
	before := r.picture()
	managers := make([]*Manager, 64)
	for i := range managers {
		managers[i] = r.m
		if by == "processes" {
			managers[i] = r.manager(Observer{})
		}
		managers[i].timeouts = Timeouts{}.orDefault()
	}
	errs := atOnce(64, func(i int) error {
		req := request(fmt.Sprint("vm", i), typ, 1)
		req.Lifetime = life
		_, err := managers[i].Provision(t.Context(), req)
		return err
	})
	started := atOnce(64, func(i int) error {
		if errs[i] != nil {
			return nil
		}
		_, err := managers[i].Start(t.Context(), fmt.Sprint("vm", i), StartOptions{})
		return err
	})
	refused := 0
	for i := range errs {
		if err := errors.Join(errs[i], started[i]); err != nil {
			refused++
			require.ErrorIs(t, err, ErrNoCapacity)
		}
	}
	assert.Equal(t, 64-room, refused)
	vms, err := r.m.List(t.Context())
	require.NoError(t, err)
	devices := map[string]string{}
	for _, vm := range vms {
		if vm.State != StateRunning {
			continue
		}
		require.Len(t, vm.VGPUs, 1)
		require.True(t, vm.VGPUs[0].Present)
		require.Empty(t, vm.VGPUs[0].Problem)
		require.NotContains(t, devices, vm.VGPUs[0].ID)
		devices[vm.VGPUs[0].ID] = vm.Name
	}
	assert.Len(t, devices, room)
	for _, err := range atOnce(len(vms), func(i int) error {
		return managers[i].Teardown(t.Context(), vms[i].Name, TeardownOptions{Stop: quickStop})
	}) {
		require.NoError(t, err)
	}
	assert.Equal(t, before, r.picture())
}

// atOnce does something n times at the same moment.
func atOnce(n int, do func(i int) error) []error {
	errs := make([]error, n)
	gate := make(chan struct{})
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			<-gate
			errs[i] = do(i)
		})
	}
	close(gate)
	all.Wait()
	return errs
}

// TestRoomIsKept: after a reboot the room of a Reserved vGPU that is not made again yet is
// refused to others, on every framework; in capacity asked by Plan too.
func TestRoomIsKept(t *testing.T) {
	for _, c := range []struct{ board, typ string }{
		{"tesla-m60", "GRID M60-8Q"}, {"a40,vfs=4", "NVIDIA A40-24Q"}, {"l40s,vfs=4", "NVIDIA L40S-24Q"}, {"mdpy", "mdpy-xga"},
	} {
		t.Run(c.board, func(t *testing.T) {
			r := newRig(t, c.board)
			n := 0
			for ; ; n++ {
				if _, err := r.m.Provision(t.Context(), request(fmt.Sprint("vm", n), c.typ, 1)); err != nil {
					require.ErrorIs(t, err, ErrNoCapacity)
					break
				}
			}
			require.NotZero(t, n)
			r.sim.Reboot()
			_, err := r.m.Plan(t.Context(), request("late", c.typ, 1))
			require.ErrorIs(t, err, ErrNoCapacity)
			_, err = r.m.Provision(t.Context(), request("late", c.typ, 1))
			require.ErrorIs(t, err, ErrNoCapacity)
			require.NoError(t, r.m.Teardown(t.Context(), "vm0", TeardownOptions{}))
			_, err = r.m.Provision(t.Context(), request("late", c.typ, 1))
			require.NoError(t, err, "what is torn down is free")
			for i := 1; i < n; i++ {
				_, err = r.m.Start(t.Context(), fmt.Sprint("vm", i), StartOptions{})
				require.NoError(t, err)
			}
		})
	}
}
