package vgputest

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	rpc "github.com/vgpukit/vgpukit/internal/libvirtrpc"
)

// hanging makes suspends hang: each says on began that it is made, and goes on when it
// is let, or ends with its client and says so.
func hanging(h *Hypervisor) (began, let chan struct{}, ended chan error) {
	began, let, ended = make(chan struct{}, 100), make(chan struct{}, 100), make(chan error, 100)
	h.Fail(Fault{Method: "Suspend", Do: func(ctx context.Context, _ Call) error {
		began <- struct{}{}
		select {
		case <-let:
			return nil
		case <-ctx.Done():
			ended <- ctx.Err()
			return ctx.Err()
		}
	}})
	return began, let, ended
}

// TestClientRequests: while as many calls as a client may have wait for their answers,
// it is not heard, its signs of life neither; its end is seen all the same.
func TestClientRequests(t *testing.T) {
	for name, test := range map[string]struct{ limits, requests int }{"as shipped": {0, 5}, "less": {2, 2}, "more": {7, 7}} {
		t.Run(name, func(t *testing.T) {
			h := newWorld(t)
			h.SetLimits(Limits{ClientRequests: test.limits})
			began, let, ended := hanging(h)
			socket, _ := serveAt(t, h)
			c, other := dial(t, socket, 0), dial(t, socket, 0)
			for range test.requests {
				c.begin(rpc.DomainSuspend, rpc.DomainArgs{Dom: web})
				<-began
			}
			ping := rpc.Header{Program: rpc.ProgramKeepalive, Version: rpc.Version, Procedure: rpc.Ping, Type: rpc.TypeMessage}
			require.NoError(t, rpc.Write(c.conn, ping, nil))
			c.begin(rpc.DomainGetState, rpc.FlagArgs{Dom: web})
			other.must(rpc.DomainGetState, rpc.FlagArgs{Dom: web}, &rpc.State{})
			require.Equal(t, 1, h.Messages()["virDomainGetState"], "that of the other client")
			let <- struct{}{}
			assert.Equal(t, rpc.DomainSuspend, c.read().Procedure, "the answer that makes room comes first")
			assert.Equal(t, rpc.Pong, c.read().Procedure)
			assert.Equal(t, rpc.DomainGetState, c.read().Procedure)
			c.begin(rpc.DomainSuspend, rpc.DomainArgs{Dom: web})
			<-began
			require.NoError(t, c.conn.Close())
			for range test.requests {
				require.ErrorIs(t, <-ended, context.Canceled)
			}
		})
	}
}

// TestWorkers: calls of all clients share the workers; those of a high priority have
// some for themselves.
func TestWorkers(t *testing.T) {
	h := newWorld(t)
	h.SetLimits(Limits{Workers: 3, PriorityWorkers: 1})
	began, let, _ := hanging(h)
	socket, _ := serveAt(t, h)
	a, b := dial(t, socket, 0), dial(t, socket, 0)
	for _, c := range []*caller{a, a, a} {
		c.begin(rpc.DomainSuspend, rpc.DomainArgs{Dom: web})
		<-began
	}
	waits := b.begin(rpc.DomainGetXMLDesc, rpc.FlagArgs{Dom: web})
	urgent := b.begin(rpc.DomainGetState, rpc.FlagArgs{Dom: web})
	assert.Equal(t, urgent, b.read().Serial)
	let <- struct{}{}
	assert.Equal(t, waits, b.read().Serial)
}

// TestLimitsAreChecked: there are no limits below zero.
func TestLimitsAreChecked(t *testing.T) {
	h := newWorld(t)
	for _, l := range []Limits{{ClientRequests: -1}, {Workers: -1}, {PriorityWorkers: -1}} {
		assert.Panics(t, func() { h.SetLimits(l) })
	}
}
