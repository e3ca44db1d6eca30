//go:build cgo

package virt

import "context"

// A place is what a call needs: its turn, on a connection.
type place struct {
	turn *turn
	lane *lane
	link *link
}

// take waits for a place, and counts a task until which Close waits.
func (c *Conn) take(ctx context.Context, slow bool) (*place, error) {
	if ctx.Err() != nil {
		return nil, ended(ctx)
	}
	// A daemon that cannot be reached is told at once, not in turn.
	first, err := c.lanes[0].acquire(ctx, nil)
	if err != nil {
		return nil, err
	}
	first.release()
	p := &place{lane: c.lanes[0]}
	if slow {
		if p.turn, err = c.slow.wait(ctx, c.done); err == nil {
			p.lane = c.enter()
		}
	} else {
		p.turn, err = c.quick.wait(ctx, c.done)
	}
	if err != nil {
		return nil, err
	}
	var broken <-chan struct{}
	if !p.lane.first {
		broken = first.lost // it notices a daemon that hangs, which an attempt to connect does not
	}
	if p.link, err = p.lane.acquire(ctx, broken); err != nil {
		p.free()
		return nil, err
	}
	// Close adds no more tasks once it waits, so ask under its lock.
	c.mu.Lock()
	closed := c.closed
	if !closed {
		c.tasks.Add(1)
	}
	c.mu.Unlock()
	if closed {
		p.free()
		return nil, errClosed
	}
	return p, nil
}

// free gives the place to the next.
func (p *place) free() {
	if p.link != nil {
		p.link.release()
	}
	if !p.lane.first {
		p.lane.leave()
	}
	p.turn.end()
}
