package mdev_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vgpukit/vgpukit/mdev"
	"github.com/vgpukit/vgpukit/mdev/mdevtest"
)

const (
	// allowed is what the operations have here.
	allowed = 2 * time.Second
	// late is how much longer one may take that changes something, to undo it or to say
	// who is in the way.
	late = 1100 * time.Millisecond
)

// accessesOf counts the accesses of an operation.
func accessesOf(sim *mdevtest.Host, do func()) int {
	sim.ResetAccesses()
	do()
	return sim.Accesses()
}

// Whichever file does not answer, what only reads returns when its context ends, with
// the name of that file; and when it answers at last, nothing is left of it.
func TestHangingReadsHangNobody(t *testing.T) {
	ops := map[string]func(context.Context, *mdev.Host, string) error{
		"inventory": func(ctx context.Context, h *mdev.Host, _ string) error { _, err := h.Inventory(ctx); return err },
		"device":    func(ctx context.Context, h *mdev.Host, id string) error { _, err := h.Device(ctx, id); return err },
		"find":      func(ctx context.Context, h *mdev.Host, id string) error { _, err := h.Find(ctx, id); return err },
		"boot":      func(ctx context.Context, h *mdev.Host, _ string) error { _, err := h.Boot(ctx); return err },
		"machine":   func(ctx context.Context, h *mdev.Host, _ string) error { _, err := h.Machine(ctx); return err },
		"plan": func(ctx context.Context, h *mdev.Host, _ string) error {
			_, err := h.PlanVFs(ctx, "0000:41:00.0", mdev.AllVFs)
			return err
		},
		"definitions": func(ctx context.Context, h *mdev.Host, _ string) error { _, err := h.Definitions(ctx); return err },
		"probe": func(ctx context.Context, h *mdev.Host, id string) error {
			_, err := h.Probe(ctx, id)
			if !strings.HasPrefix(id, "0") { // NVIDIA's refuse
				return err
			}
			return ctx.Err()
		},
	}
	for _, spec := range []string{"mtty", "l40s,vfs=2"} {
		for name, op := range ops {
			if spec == "mtty" && name == "plan" {
				continue
			}
			t.Run(spec+" "+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					sim, host := simulated(t, spec)
					typ := inventory(t, host).GPUs[0].Capacity[0].Type
					created, err := host.Create(t.Context(), mdev.CreateRequest{Type: typ})
					require.NoError(t, err)
					release, err := sim.Use(created.ID, "win10", 4711)
					require.NoError(t, err)
					if name == "probe" {
						release()
					}
					n := accessesOf(sim, func() { require.NoError(t, op(t.Context(), host, created.ID)) })
					for i := 1; i <= n; i++ {
						at := make(chan string, 1)
						sim.Fail(mdevtest.Fault{N: i, Do: func(a mdevtest.Access) error { at <- a.Name; return nil }})
						letGo := sim.Fail(mdevtest.Fault{N: i, Hang: true})
						start := time.Now()
						ctx, cancel := context.WithTimeout(t.Context(), allowed)
						err := op(ctx, host, created.ID)
						cancel()
						hung := <-at
						require.ErrorIs(t, err, context.DeadlineExceeded, "access %d, %s", i, hung)
						assert.Equal(t, allowed, time.Since(start), "access %d, %s", i, hung)
						assert.True(t, name == "probe" || strings.Contains(err.Error(), hung), "%s: %v", hung, err)
						letGo()
						synctest.Wait()
						require.NoError(t, op(t.Context(), host, created.ID))
					}
				})
			})
		}
	}
}

// A disk that does not answer hangs no definition: the error says that the change may still
// be made.
func TestHangingDiskHangsNoDefinition(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim, host := simulated(t, "mtty")
		def := mdev.Definition{Parent: "mtty", UUID: uuid.New(), Type: "mtty-1"}
		for name, op := range map[string]func(context.Context) error{
			"define":   func(ctx context.Context) error { return host.Define(ctx, def) },
			"undefine": func(ctx context.Context) error { return host.Undefine(ctx, def.Parent, def.UUID) },
		} {
			letGo := sim.Fail(mdevtest.Fault{Op: mdevtest.OpStore, Hang: true})
			ctx, cancel := context.WithTimeout(t.Context(), allowed)
			start := time.Now()
			err := op(ctx)
			cancel()
			require.ErrorIs(t, err, context.DeadlineExceeded, name)
			require.ErrorContains(t, err, "/etc/mdevctl.d/mtty/"+def.UUID.String(), name)
			var e *mdev.Error
			require.ErrorAs(t, err, &e, name)
			assert.True(t, e.Pending, name)
			assert.Equal(t, allowed, time.Since(start), name)
			letGo()
			synctest.Wait()
		}
	})
}

// Without a deadline there is a bound.
func TestHangingReadIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim, host := simulated(t, "mtty")
		letGo := sim.Fail(mdevtest.Fault{Path: "available_instances", Hang: true})
		start := time.Now()
		_, err := host.Inventory(context.Background())
		require.ErrorIs(t, err, context.DeadlineExceeded)
		assert.Contains(t, err.Error(), "sys/devices/virtual/mtty/mtty/mdev_supported_types/mtty-1/available_instances")
		assert.Equal(t, 30*time.Second, time.Since(start))
		letGo()
	})
}

// Whichever access does not answer, Create and Remove return soon after their context has
// ended; and when it answers at last, a creation that failed has left nothing, and a
// removal has removed the device or can be repeated.
func TestHangingAccessesHangNoChange(t *testing.T) {
	for _, spec := range []string{"mtty", "tesla-m60", "a40,vfs=2", "l40s,vfs=2"} {
		t.Run(spec, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sim, host := simulated(t, spec)
				before := inventory(t, host)
				req := mdev.CreateRequest{Type: before.GPUs[0].Capacity[0].Type}
				if !strings.HasPrefix(spec, "l40s") {
					req.UUID = uuid.New()
				}
				if spec != "mtty" {
					req.Params = []mdev.Param{{Name: "vgpu_params", Value: "enable_uvm=1"}}
				}
				var id string
				create := func(ctx context.Context) error {
					created, err := host.Create(ctx, req)
					id = created.ID
					return err
				}
				remove := func(ctx context.Context) error { return host.Remove(ctx, id) }
				creating := accessesOf(sim, func() { require.NoError(t, create(t.Context())) })
				removing := accessesOf(sim, func() { require.NoError(t, remove(t.Context())) })
				hang := func(n int, op func(context.Context) error) error {
					letGo := sim.Fail(mdevtest.Fault{N: n, Hang: true})
					ctx, cancel := context.WithTimeout(t.Context(), allowed)
					defer cancel()
					start := time.Now()
					err := op(ctx)
					require.LessOrEqual(t, time.Since(start), allowed+late, "access %d: %v", n, err)
					letGo()
					time.Sleep(time.Minute) // of the simulated clock: whatever goes on has ended
					return err
				}
				for n := 1; n <= creating; n++ {
					if err := hang(n, create); err == nil {
						require.NoError(t, remove(t.Context()))
					} else {
						require.ErrorIs(t, err, context.DeadlineExceeded, "access %d", n)
					}
					require.Equal(t, before, inventory(t, host), "access %d", n)
				}
				for n := 1; n <= removing; n++ {
					require.NoError(t, create(t.Context()))
					if err := hang(n, remove); err != nil {
						require.ErrorIs(t, err, context.DeadlineExceeded, "access %d", n)
						if err := remove(t.Context()); err != nil {
							require.ErrorIs(t, err, mdev.ErrNotFound, "access %d", n)
						}
					}
					require.Equal(t, before, inventory(t, host), "access %d", n)
				}
			})
		})
	}
}
