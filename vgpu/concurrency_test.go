package vgpu

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// together lets n processes do something at the same time, and returns what each
// got.
func (r *rig) together(n int, do func(i int, m *Manager) error) []error {
	errs := make([]error, n)
	gate := make(chan struct{})
	var all sync.WaitGroup
	for i := range n {
		p := r.launch(nil)
		all.Go(func() {
			<-gate
			errs[i] = do(i, p.m)
		})
	}
	close(gate)
	all.Wait()
	return errs
}

// TestSameName: of processes that provision the same VM at the same time one makes
// it, and the others find it there as asked.
func TestSameName(t *testing.T) {
	for _, b := range everyBoard {
		t.Run(b.board, func(t *testing.T) {
			r := newRig(t, b.board)
			var made sync.Map
			for _, err := range r.together(6, func(i int, m *Manager) error {
				vm, err := m.Provision(t.Context(), request("vm", b.typ, 2))
				if err == nil && !vm.Existed {
					made.Store(i, true)
				}
				return err
			}) {
				require.NoError(t, err)
			}
			makers := 0
			made.Range(func(any, any) bool { makers++; return true })
			assert.Equal(t, 1, makers)
			require.NoError(t, r.m.Teardown(t.Context(), "vm", TeardownOptions{}))
		})
	}
}

// TestLastInstance: of processes that want the last instances as many get one as
// there are, and the others are told that there is none; nothing of theirs is left.
func TestLastInstance(t *testing.T) {
	for _, c := range []struct {
		board, typ string
		room       int
	}{
		{"mdpy", "mdpy-xga", 4}, // of 4 instances
		{"tesla-m60", "GRID M60-8Q", 2},
		{"a40,vfs=4", "NVIDIA A40-24Q", 2},
		{"l40s,vfs=4", "NVIDIA L40S-24Q", 2},
		{"l40s,vfs=2", "NVIDIA L40S-4Q", 2},
	} {
		for _, life := range []Lifetime{Reserved, WhileRunning} {
			t.Run(fmt.Sprint(c.board, " ", life), func(t *testing.T) {
				r := newRig(t, c.board)
				before := r.picture()
				won := 0
				for _, err := range r.together(6, func(i int, m *Manager) error {
					req := request(fmt.Sprint("vm", i), c.typ, 1)
					req.Lifetime = life
					if _, err := m.Provision(t.Context(), req); err != nil {
						return err
					}
					_, err := m.Start(t.Context(), fmt.Sprint("vm", i), StartOptions{})
					return err
				}) {
					if err == nil {
						won++
						continue
					}
					// A virtual function lists only the types that have room.
					full := strings.HasPrefix(c.board, "l40s") && errors.Is(err, ErrNotFound)
					assert.True(t, full || errors.Is(err, ErrNoCapacity), "%v", err)
				}
				assert.Equal(t, c.room, won)
				vms, err := r.m.List(t.Context())
				require.NoError(t, err)
				for _, v := range vms {
					require.NoError(t, r.m.Teardown(t.Context(), v.Name, TeardownOptions{Stop: quickStop}))
				}
				report, err := r.m.Reconcile(t.Context(), ReconcileOptions{})
				require.NoError(t, err)
				assert.Empty(t, report.Actions)
				assert.Equal(t, before, r.picture())
			})
		}
	}
}

// TestManyProcesses: whatever several processes do on one host at the same time,
// each operation succeeds or fails with a named error, and what is true of the host
// after one process is true after all of them.
func TestManyProcesses(t *testing.T) {
	seed := seeded(t) // repeats what is done; not when
	for n := range uint64(len(smallHosts)) {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			t.Parallel()
			m := newHostModelOn(t, rand.New(rand.NewPCG(seed, n)), smallHosts[n].boards, smallHosts[n].types)
			for range 5 {
				plans := make([][]verb, 4)
				for i := range plans {
					for range 5 {
						plans[i] = append(plans[i], m.operation(m.sites[0], m.one(vmNames)))
					}
				}
				errs := m.sites[0].together(len(plans), func(i int, manager *Manager) error {
					ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
					defer cancel()
					var odd []error
					for _, j := range plans[i] {
						err := j.do(ctx, manager)
						var e *Error
						if err != nil && (!errors.As(err, &e) || e.Kind == nil || errors.Is(err, ErrUnavailable)) {
							odd = append(odd, fmt.Errorf("%s: %w", j.what, err))
						}
					}
					return errors.Join(odd...)
				})
				require.NoError(t, errors.Join(errs...), m)
				m.trust(m.sites[0])
				m.settle()
			}
		})
	}
}
