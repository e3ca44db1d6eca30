//go:build cgo

package virt

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/vgpukit/vgpukit/domain"
	"github.com/vgpukit/vgpukit/internal/fanout"
)

const (
	defaultOpenTimeout = 30 * time.Second
	defaultKeepAlive   = 5 * time.Second
	defaultMaxCalls    = 4
	defaultMaxBackoff  = 10 * time.Second
	minBackoff         = 100 * time.Millisecond
	closeWait          = 5 * time.Second
)

// Config says how to reach libvirt. Its zero value is the local system daemon.
type Config struct {
	// URI of the hypervisor: "qemu:///system", "qemu:///session",
	// "qemu+ssh://user@host/system", "qemu+tls://host/system",
	// "test:///default". Empty: the environment's LIBVIRT_DEFAULT_URI, then
	// "qemu:///system". [CheckURI] says what is accepted.
	URI string
	// Logger is told of lost and regained connections. nil: silence.
	Logger *slog.Logger
	// OpenTimeout bounds each attempt to connect, in addition to the context.
	// 0: 30 s.
	OpenTimeout time.Duration
	// KeepAlive is the interval, rounded up to seconds, of the messages that
	// find out whether the daemon is alive; five without an answer end the
	// connection. 0: 5 s. Negative: a silent daemon is never given up. With
	// libvirt's client library before 10.0.0 the messages are a second apart,
	// which makes up for a fault of its own; the time to give up is the same.
	KeepAlive time.Duration
	// MaxCalls bounds the libvirt calls under way at a time on the first
	// connection. 0: 4, because libvirtd reads nothing more from a connection,
	// keep-alive messages neither, while max_client_requests of its calls (in
	// libvirtd.conf, 5 as shipped) wait for their answers.
	MaxCalls int
	// MaxConnections bounds the connections. The first one is always open; each of
	// the others takes one slow call, and is there while it is needed. 1: slow calls
	// wait with the others. 0: 17, so that with MaxCalls there are as many calls as
	// libvirtd makes at a time (max_workers, 20 as shipped); 5 to another host. A
	// driver in this process, such as test:///default, has one.
	MaxConnections int
	// MaxBackoff bounds the pause between two attempts to connect again, which
	// starts at 100 ms and doubles. 0: 10 s.
	MaxBackoff time.Duration
}

// Conn is a connection to one libvirt daemon, or some, which are opened again when
// they are lost. It is safe for concurrent use.
type Conn struct {
	uri         string
	log         *slog.Logger
	openTimeout time.Duration
	keepAlive   time.Duration
	maxBackoff  time.Duration

	quick, slow *line // of calls that wait for a place; the same with one lane
	lanes       []*lane
	hub         fanout.Hub[domain.Event]

	abortMu sync.Mutex     // aborting a save takes no place: one at a time
	done    chan struct{}  // closed by Close
	tasks   sync.WaitGroup // calls and watchers; Close waits for them

	mu           sync.Mutex
	closed       bool
	connected    bool // the first lane had a link once
	reconnecting bool
}

// Open connects to libvirt. It fails when there is no connection within the
// context and Config.OpenTimeout: then the error tells which socket did not
// answer and which command starts its daemon. Nothing ever asks for a password.
func Open(ctx context.Context, cfg Config) (*Conn, error) {
	uri, err := resolveURI(cfg.URI)
	if err != nil {
		return nil, err
	}
	if cfg.MaxCalls < 0 || cfg.MaxConnections < 0 || cfg.OpenTimeout < 0 || cfg.MaxBackoff < 0 {
		return nil, invalid("connect to", uri, "negative OpenTimeout, MaxCalls, MaxConnections or MaxBackoff",
			"leave them 0 for the defaults")
	}
	c := &Conn{
		uri:         uri,
		log:         cfg.Logger,
		openTimeout: orDefault(cfg.OpenTimeout, defaultOpenTimeout),
		keepAlive:   orDefault(cfg.KeepAlive, defaultKeepAlive),
		maxBackoff:  orDefault(cfg.MaxBackoff, defaultMaxBackoff),
		done:        make(chan struct{}),
	}
	connections := defaultConnections(uri)
	if connections > 1 {
		connections = orDefault(cfg.MaxConnections, connections)
	}
	c.newLanes(connections, orDefault(cfg.MaxCalls, defaultMaxCalls))
	if c.log == nil {
		c.log = slog.New(slog.DiscardHandler)
	}
	if err := startEventLoop(c.log); err != nil {
		return nil, explain("connect to", uri, err)
	}
	l, err := c.lanes[0].acquire(ctx, nil)
	if err != nil {
		c.shut() // not Close: an attempt that hangs is not waited for
		return nil, c.wrap("connect to", uri, err)
	}
	l.release()
	return c, nil
}

// URI returns the URI that is connected to, with the defaults resolved.
func (c *Conn) URI() string { return c.uri }

// Close ends the connection and closes the channels of [Conn.Events]. It waits
// up to 5 s for calls that libvirt has not answered; when it fails, some are
// left, and their handles are freed when the answers come. Closing again does
// nothing.
func (c *Conn) Close() error {
	if !c.shut() {
		return nil
	}
	idle := make(chan struct{})
	go func() {
		c.tasks.Wait()
		close(idle)
	}()
	timer := time.NewTimer(closeWait)
	defer timer.Stop()
	select {
	case <-idle:
		return nil
	case <-timer.C:
		return &Error{
			Op: "close", Object: c.uri,
			Meaning: fmt.Sprintf("libvirt has not answered some calls within %v; they end when it does", closeWait),
			Cause:   "the daemon hangs, or a long job such as a save is under way",
			Next:    "check the daemon: systemctl status libvirtd virtqemud",
			Kind:    domain.ErrUnavailable,
		}
	}
}

// shut ends everything without waiting. It is false when that was done before.
func (c *Conn) shut() bool {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return false
	}
	c.closed = true
	var links []*link
	for _, ln := range c.lanes {
		if ln.link != nil {
			links = append(links, ln.link)
			ln.link = nil
		}
	}
	c.mu.Unlock()

	close(c.done)
	c.hub.Clear()
	for _, l := range links {
		c.retire(l)
	}
	return true
}

// orDefault returns v, or d when v is zero.
func orDefault[T comparable](v, d T) T {
	var zero T
	if v == zero {
		return d
	}
	return v
}
