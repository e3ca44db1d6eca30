package vgpu

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestTransitions walks the table of transitions whole: from each state each
// operation leads where the table says, and what the table does not have is refused
// with the VM's state in the error, and changes nothing.
func TestTransitions(t *testing.T) {
	into := map[State]func(*rig, string){
		StateAbsent:  func(*rig, string) {},
		StateOff:     provisioned(2, Reserved),
		StateRunning: started(2, Reserved),
		StateIncomplete: func(r *rig, typ string) {
			provisioned(2, Reserved)(r, typ)
			v, err := r.m.Status(context.Background(), "vm")
			require.NoError(r.t, err)
			require.NoError(r.t, r.host.Remove(context.Background(), v.VGPUs[0].ID))
		},
	}
	operations := map[string]func(context.Context, *Manager, string) error{
		opProvision: provision(1, Reserved), // another VM than that which may be there
		opStart:     start, opStop: stop, opTeardown: teardown,
		opAdopt: func(ctx context.Context, m *Manager, _ string) error {
			_, err := m.Adopt(ctx, "vm", AdoptOptions{})
			return err
		},
		opUpdate: func(ctx context.Context, m *Manager, _ string) error {
			_, err := m.Update(ctx, "vm", UpdateOptions{})
			return err
		},
		opForget: func(ctx context.Context, m *Manager, _ string) error { return m.Forget(ctx, "vm") },
	}
	for op := range transitions {
		require.Contains(t, operations, op)
		for from, to := range transitions[op] {
			require.Contains(t, into, from)
			require.Contains(t, into, to)
		}
	}
	for _, b := range everyBoard {
		for op, do := range operations {
			for from, enter := range into {
				t.Run(fmt.Sprint(b.board, " ", op, " ", from), func(t *testing.T) {
					r := newRig(t, b.board)
					enter(r, b.typ)
					state := func() State {
						v, err := r.m.Status(t.Context(), "vm")
						if err != nil {
							require.ErrorIs(t, err, ErrNotFound)
							return StateAbsent
						}
						return v.State
					}
					require.Equal(t, from, state())
					before := r.picture()
					err := do(t.Context(), r.m, b.typ)
					to, ok := transitions[op][from]
					if ok && op == opForget {
						require.NoError(t, err)
						_, err := r.hyper.Info(t.Context(), "vm")
						assert.NoError(t, err, "the VM stays")
						return
					}
					if ok {
						require.NoError(t, err)
						assert.Equal(t, to, state())
						return
					}
					switch {
					case from == StateAbsent:
						require.ErrorIs(t, err, ErrNotFound)
					case op == opUpdate:
						require.ErrorIs(t, err, ErrState)
						assert.ErrorContains(t, err, string(from))
					default:
						require.ErrorIs(t, err, ErrExists)
						assert.ErrorContains(t, err, string(from))
					}
					assert.Equal(t, before, r.picture())
				})
			}
		}
	}
}
