package vgputest

import (
	"bufio"
	"context"
	"net"
	"sync"
	"sync/atomic"

	rpc "github.com/vgpukit/vgpukit/internal/libvirtrpc"
)

// readAhead is how many messages are taken off the connection before their turn, so that
// the end of a client is seen behind them.
const readAhead = 1 << 10

// client is one connection.
type client struct {
	server *server
	h      *Hypervisor
	conn   net.Conn
	calls  sync.WaitGroup
	slots  chan struct{}

	opened   atomic.Bool
	readOnly atomic.Bool

	listenMu  sync.Mutex
	listening bool

	mu        sync.Mutex // also: one message is written at a time
	lastID    int32
	callbacks []callback
}

func newClient(s *server, conn net.Conn) *client {
	return &client{server: s, h: s.h, conn: conn, slots: make(chan struct{}, s.requests)}
}

// serve reads calls until the client goes, the daemon is restarted or ctx ends, and
// returns when nothing is left of them.
func (c *client) serve(ctx context.Context, restarted <-chan struct{}) {
	ctx, cancel := context.WithCancel(ctx)
	c.calls.Go(func() {
		select {
		case <-ctx.Done():
		case <-restarted:
			cancel()
		}
		_ = c.conn.Close() // ends the reading, and a write that hangs
	})
	defer c.calls.Wait()
	defer cancel()
	messages := make(chan rpc.Message, readAhead)
	c.calls.Go(func() {
		defer cancel()
		c.read(ctx, messages)
	})
	for {
		// As libvirtd, look at no message before there is room for a call.
		select {
		case c.slots <- struct{}{}:
		case <-ctx.Done():
			return
		}
		select {
		case m := <-messages:
			if !c.take(ctx, m) {
				return
			}
		case <-ctx.Done():
			return
		}
	}
}

// read passes messages on until the connection ends.
func (c *client) read(ctx context.Context, messages chan<- rpc.Message) {
	in := bufio.NewReader(c.conn)
	for {
		m, err := rpc.Read(in)
		if err != nil {
			return
		}
		select {
		case messages <- m:
		case <-ctx.Done():
			return
		}
	}
}

// take answers a message, or has it answered, and gives its place back. It is false for
// what breaks the protocol, and when ctx has ended.
func (c *client) take(ctx context.Context, m rpc.Message) bool {
	called := false
	defer func() {
		if !called {
			<-c.slots
		}
	}()
	if m.Program == rpc.ProgramKeepalive {
		answer, ok := rpc.Keepalive(m.Header)
		return !ok || c.send(answer, nil) == nil
	}
	switch m.Type {
	case rpc.TypeCall:
	case rpc.TypeStream:
		return true // of a stream that was refused
	default:
		return false
	}
	c.h.received(m.Procedure)
	called = true
	c.calls.Go(func() {
		defer func() { <-c.slots }()
		if leave, ok := c.server.workers.enter(ctx, m.Procedure); ok {
			c.answer(ctx, m)
			leave()
		}
	})
	return true
}

// answer makes the call and replies.
func (c *client) answer(ctx context.Context, m rpc.Message) {
	reply := m.Header
	reply.Type = rpc.TypeReply
	result, err := c.dispatch(ctx, m)
	if err == nil {
		if err = c.send(reply, result); err == nil {
			return
		}
	}
	reply.Status = rpc.StatusError
	_ = c.send(reply, wireError(err)) // the connection may be gone
}

// send writes a message. An error of the connection's ends it.
func (c *client) send(h rpc.Header, v any) error {
	b, err := rpc.Frame(h, v)
	if err != nil {
		return refuse(rpc.CodeRPC, nil, "Unable to encode message payload: %v", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.write(b)
}

// write needs the lock.
func (c *client) write(b []byte) error {
	_, err := c.conn.Write(b)
	if err != nil {
		_ = c.conn.Close()
	}
	return err
}
