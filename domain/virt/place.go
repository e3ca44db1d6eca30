//go:build cgo

package virt

import "context"

// A place is what a call needs: its turn, on a connection.
type place struct {
	turn *turn
	lane *lane
	slow bool
	link *link
}

// take waits for a place, and counts a task until which Close waits.
func (c *Conn) take(ctx context.Context, slow bool) (*place, error) {
	if ctx.Err() != nil {
		return nil, ended(ctx)
	}
	// A daemon that cannot be reached is told at once, not in turn.
	l, err := c.lanes[0].acquire(ctx)
	if err != nil {
		return nil, err
	}
	l.release()
	in := c.quick
	if slow {
		in = c.slow
	}
	p := &place{slow: slow}
	if p.turn, err = in.wait(ctx, c.done); err != nil {
		return nil, err
	}
	p.lane = c.enter(slow)
	if p.link, err = p.lane.acquire(ctx); err != nil {
		p.free()
		return nil, err
	}
	// Close adds no more tasks once it waits, so ask under its lock.
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		p.free()
		return nil, errClosed
	}
	c.tasks.Add(1)
	c.mu.Unlock()
	return p, nil
}

// free gives the place to the next.
func (p *place) free() {
	if p.link != nil {
		p.link.release()
	}
	p.lane.c.leave(p.lane, p.slow)
	p.turn.end()
}
