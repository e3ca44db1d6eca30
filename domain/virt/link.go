//go:build cgo

package virt

import (
	"context"
	"errors"
	"sync"
	"time"

	"libvirt.org/go/libvirt"
)

var (
	// errClosed is what a call meets after Close.
	errClosed = errors.New("the connection was closed")
	// errBroken is what it meets when the daemon is gone before it was asked.
	errBroken = errors.New("the connection broke before the request was sent")
)

// A link is one libvirt connection, from its opening to its loss. Its lane owns
// one reference and each call under way another; the last one closes it.
type link struct {
	conn *libvirt.Connect
	lost chan struct{} // closed when the connection is dead
	once sync.Once

	mu   sync.Mutex
	refs int

	eventMu   sync.Mutex
	callbacks []int // registered with libvirt
}

// An opening is one attempt to connect. There is only one at a time: libvirt
// cannot be made to give up, so a second one would hang beside the first.
type opening struct {
	done chan struct{}
	err  error
}

// acquire returns the link with a reference, and connects first if there is
// none, unless broken is closed meanwhile. The caller releases it.
func (ln *lane) acquire(ctx context.Context, broken <-chan struct{}) (*link, error) {
	c := ln.c
	var timeout <-chan time.Time
	for {
		c.mu.Lock()
		if c.closed {
			c.mu.Unlock()
			return nil, errClosed
		}
		if l := ln.link; l != nil && !l.isLost() {
			l.retain()
			c.mu.Unlock()
			return l, nil
		}
		o := ln.opening
		if o == nil {
			o = &opening{done: make(chan struct{})}
			ln.opening = o
			c.tasks.Add(1)
			go ln.open(o)
		}
		c.mu.Unlock()

		if timeout == nil {
			timer := time.NewTimer(c.openTimeout)
			defer timer.Stop()
			timeout = timer.C
		}
		select {
		case <-o.done:
			if o.err != nil {
				return nil, o.err
			}
		case <-timeout:
			return nil, errOpenTimeout{c.openTimeout}
		case <-broken:
			return nil, errBroken
		case <-ctx.Done():
			return nil, ended(ctx)
		case <-c.done:
			return nil, errClosed
		}
	}
}

// open makes the attempt, however long libvirt takes, and installs the link.
func (ln *lane) open(o *opening) {
	c := ln.c
	defer c.tasks.Done()
	l, err := ln.dial()

	c.mu.Lock()
	ln.opening = nil
	o.err = err
	again := false
	if err == nil {
		if c.closed {
			defer c.retire(l)
			o.err = errClosed
		} else {
			again = ln.first && c.connected
			c.connected = true
			if dead := ln.link; dead != nil {
				c.retire(dead) // its watcher has not come to it yet
			}
			ln.link = l
			c.tasks.Add(1)
			go ln.watch(l)
		}
	}
	c.mu.Unlock()
	if again {
		c.log.Info("connected to libvirt again", "uri", c.uri)
		c.hub.Publish(reconnected("connection restored"))
	}
	close(o.done)
}

func (ln *lane) dial() (*link, error) {
	c := ln.c
	// Without an auth object libvirt never asks anybody anything.
	conn, err := libvirt.NewConnectWithAuth(c.uri, nil, 0)
	if err != nil {
		return nil, err
	}
	held(handleConnect, +1)
	l := &link{conn: conn, lost: make(chan struct{}), refs: 1}
	if seconds, misses := keepAlive(c.keepAlive, losesWakeups()); seconds > 0 {
		if err := conn.SetKeepAlive(seconds, misses); err != nil {
			c.log.Debug("no keep-alive on this connection", "uri", c.uri, "error", err)
		}
	}
	// Called on the event loop with libvirt's locks held: only signal.
	err = conn.RegisterCloseCallback(func(*libvirt.Connect, libvirt.ConnectCloseReason) { l.lose() })
	if err != nil {
		c.log.Debug("no notice of a lost connection", "uri", c.uri, "error", err)
	}
	if ln.first && c.hub.Wanted() {
		if err := l.subscribe(&c.hub); err != nil {
			l.release()
			return nil, err
		}
	}
	return l, nil
}

// watch retires the link when it is lost, and connects again for those who
// wait for events.
func (ln *lane) watch(l *link) {
	c := ln.c
	defer c.tasks.Done()
	select {
	case <-c.done:
		return // Close retires it
	case <-l.lost:
	}
	c.mu.Lock()
	mine := ln.link == l
	if mine {
		ln.link = nil
	}
	start := mine && ln.first && !c.closed && !c.reconnecting && c.hub.Wanted()
	if start {
		c.reconnecting = true
		c.tasks.Add(1)
	}
	c.mu.Unlock()
	if mine {
		c.log.Warn("lost the connection to libvirt", "uri", c.uri)
		c.retire(l)
	}
	if start {
		go c.reconnect()
	}
}

// reconnect tries until there is a link, nobody listens any more, or Close.
func (c *Conn) reconnect() {
	defer c.tasks.Done()
	for pause := minBackoff; ; pause = min(2*pause, c.maxBackoff) {
		l, err := c.lanes[0].acquire(context.Background(), nil)
		if err == nil {
			l.release()
		}
		c.mu.Lock()
		// A link that was lost at once has left the work to this loop.
		if c.lanes[0].link != nil || c.closed || !c.hub.Wanted() {
			c.reconnecting = false
			c.mu.Unlock()
			return
		}
		c.mu.Unlock()
		c.log.Info("libvirt not reachable, trying again", "uri", c.uri, "pause", pause, "error", err)
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-c.done:
			timer.Stop()
		}
	}
}

// retire gives up the Conn's own reference. Closing talks to the daemon, which
// may hang, so it has a goroutine of its own.
func (c *Conn) retire(l *link) {
	l.lose()
	c.tasks.Add(1)
	go func() {
		defer c.tasks.Done()
		l.release()
	}()
}

func (l *link) lose() { l.once.Do(func() { close(l.lost) }) }

func (l *link) isLost() bool {
	select {
	case <-l.lost:
		return true
	default:
		return false
	}
}

// alive asks libvirt, without talking to the daemon.
func (l *link) alive() bool {
	if l.isLost() {
		return false
	}
	alive, err := l.conn.IsAlive()
	if err != nil || !alive {
		l.lose()
		return false
	}
	return true
}

func (l *link) retain() {
	l.mu.Lock()
	l.refs++
	l.mu.Unlock()
}

func (l *link) release() {
	l.mu.Lock()
	l.refs--
	last := l.refs == 0
	l.mu.Unlock()
	if !last {
		return
	}
	// On a dead connection these fail after they have freed what is local.
	l.unsubscribe()
	_ = l.conn.UnregisterCloseCallback()
	// References that the event loop still has go with its present round.
	_, _ = l.conn.Close()
	held(handleConnect, -1)
}
