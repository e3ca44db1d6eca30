//go:build cgo

package virt

import (
	"net/url"
	"time"
)

// laneIdle is how long a further connection is kept when nothing uses it.
const laneIdle = 30 * time.Second

// A lane is a connection that is opened when it is needed, and again when it was lost.
// The first one of a Conn has the events and the quick calls.
type lane struct {
	c     *Conn
	first bool
	slow  int // slow calls that it may have at a time

	// Under the Conn's lock.
	link    *link    // nil: not connected
	opening *opening // the attempt under way, nil: none
	busy    int      // slow calls
	idle    *time.Timer
}

// newLanes returns the lanes of a Conn and the lines for them.
func (c *Conn) newLanes(connections, calls int) {
	if connections == 1 { // all calls are alike
		c.lanes = []*lane{{c: c, first: true, slow: calls}}
		c.quick = newLine(calls)
		c.slow = c.quick
		return
	}
	// The first lane takes one slow call, so that who makes one at a time needs no
	// other connection.
	first := &lane{c: c, first: true, slow: min(1, calls-1)}
	c.lanes = []*lane{first}
	for range connections - 1 {
		c.lanes = append(c.lanes, &lane{c: c, slow: calls})
	}
	c.quick = newLine(calls - first.slow)
	c.slow = newLine(first.slow + (connections-1)*calls)
}

// enter chooses the lane of a call that has its turn.
func (c *Conn) enter(slow bool) *lane {
	if !slow || len(c.lanes) == 1 {
		return c.lanes[0]
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, ln := range c.lanes {
		if ln.busy < ln.slow {
			if ln.busy++; ln.idle != nil {
				ln.idle.Stop()
				ln.idle = nil
			}
			return ln
		}
	}
	panic("virt: more turns than lanes have places")
}

// leave undoes enter.
func (c *Conn) leave(ln *lane, slow bool) {
	if !slow || len(c.lanes) == 1 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if ln.busy--; ln.busy == 0 && !ln.first && !c.closed {
		ln.idle = time.AfterFunc(laneIdle, ln.rest)
	}
}

// rest closes a connection that nothing uses.
func (ln *lane) rest() {
	ln.c.mu.Lock()
	defer ln.c.mu.Unlock()
	if l := ln.link; l != nil && ln.busy == 0 && !ln.c.closed {
		ln.link = nil
		ln.c.retire(l)
	}
}

// inProcess tells whether the driver runs in this process: it has no daemon whose limits
// count, and another connection may be another host.
func inProcess(uri string) bool {
	u, err := url.Parse(uri)
	if err != nil {
		return false
	}
	return u.Path == "/embed" || u.Scheme == "test" && u.Host == ""
}
