//go:build cgo

package virt

import (
	"net/url"
	"time"
)

// laneIdle is how long a further connection is kept when nothing uses it.
const laneIdle = 30 * time.Second

// A lane is a connection that is opened when it is needed, and again when it was lost.
// The first one of a Conn has the events and the quick calls; each of the others has
// one slow call at a time. Other calls on its connection would wait with it: in all
// versions for the daemon, which takes some at a time, and in those of [losesWakeups]
// for its answer.
type lane struct {
	c     *Conn
	first bool

	// Under the Conn's lock.
	link    *link    // nil: not connected
	opening *opening // the attempt under way, nil: none
	busy    bool     // with a slow call
	idle    *time.Timer
}

// newLanes makes the lanes of a Conn and the lines for them.
func (c *Conn) newLanes(connections, calls int) {
	c.lanes = []*lane{{c: c, first: true}}
	c.quick = newLine(calls)
	if connections == 1 {
		c.slow = c.quick
		return
	}
	for range connections - 1 {
		c.lanes = append(c.lanes, &lane{c: c})
	}
	c.slow = newLine(connections - 1)
}

// enter chooses the lane of a slow call that has its turn. Those that come first are
// preferred, so that no more connections are open than needed.
func (c *Conn) enter() *lane {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, ln := range c.lanes[1:] {
		if !ln.busy {
			ln.busy = true
			if ln.idle != nil {
				ln.idle.Stop()
				ln.idle = nil
			}
			return ln
		}
	}
	return c.lanes[0] // the only one
}

// leave undoes enter.
func (ln *lane) leave() {
	ln.c.mu.Lock()
	defer ln.c.mu.Unlock()
	if ln.busy && !ln.c.closed {
		ln.idle = time.AfterFunc(laneIdle, ln.rest)
	}
	ln.busy = false
}

// rest closes a connection that nothing uses.
func (ln *lane) rest() {
	ln.c.mu.Lock()
	defer ln.c.mu.Unlock()
	if l := ln.link; l != nil && !ln.busy && !ln.c.closed {
		ln.link = nil
		ln.c.retire(l)
	}
}

// defaultConnections is how many lanes there are where the caller does not say.
func defaultConnections(uri string) int {
	u, err := url.Parse(uri)
	switch {
	case err != nil, inProcess(u):
		return 1
	case u.Host != "":
		return 5 // sshd, as shipped, begins to refuse when ten log in at a time
	}
	return 17 // with MaxCalls, as many calls as libvirtd makes at a time
}

// inProcess tells whether the driver runs in this process: there is no daemon whose
// limits count, and another connection may be another host.
func inProcess(u *url.URL) bool {
	return u.Path == "/embed" || u.Scheme == "test" && u.Host == ""
}
