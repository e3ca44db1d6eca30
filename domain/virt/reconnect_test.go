//go:build cgo

package virt

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"libvirt.org/go/libvirt"

	"github.com/vgpukit/vgpukit/domain"
)

// After the daemon was killed and started again, listeners are told that events
// may be lost and get the new ones, without any call from them.
func TestEventsSurviveTheDaemon(t *testing.T) {
	ctx, d := within(t), startDaemon(t)
	c := openURI(t, Config{URI: d.uri()})
	events, err := c.Events(ctx)
	require.NoError(t, err)
	for range 3 {
		d.lifecycle(libvirt.DOMAIN_EVENT_STARTED, 0)
		require.Equal(t, domain.Event{VM: "one", UUID: vmOneUUID, Kind: domain.EventStarted, Detail: "booted"}, next(t, events))
		d.kill()
		d.start()
		require.Equal(t, domain.EventReconnected, next(t, events).Kind)
		d.deviceRemoved("hostdev0")
		require.Equal(t, domain.Event{VM: "one", UUID: vmOneUUID, Kind: domain.EventDeviceRemoved, Detail: "hostdev0"}, next(t, events))
	}
}

// While the daemon is away, a call fails at once and names the socket; the first
// one after its return works.
func TestCallsReconnect(t *testing.T) {
	ctx, d := within(t), startDaemon(t)
	c := openURI(t, Config{URI: d.uri()})
	for range 3 {
		_, err := c.Info(ctx, "one")
		require.NoError(t, err)
		d.kill()
		_, err = c.Info(ctx, "one")
		require.ErrorIs(t, err, domain.ErrUnavailable)
		assert.Contains(t, err.Error(), d.socket)
		assert.Contains(t, err.(*Error).Hint(), "libvirtd --daemon")
		d.start()
	}
	_, err := c.Info(ctx, "one")
	require.NoError(t, err)
}

// A change that was under way when the daemon died is not repeated: it may have
// happened.
func TestChangesAreNotRepeated(t *testing.T) {
	ctx, d := within(t), startDaemon(t)
	c := openURI(t, Config{URI: d.uri()})
	d.answer(procCreateFlags, func(*xdr) ([]byte, error) {
		d.restart()
		return vmOne, nil
	})
	err := c.Start(ctx, "one")
	require.ErrorIs(t, err, domain.ErrUnavailable)
	assert.Contains(t, err.Error(), "may have been carried out")
	assert.Equal(t, 1, d.count(procCreateFlags))
	_, err = c.Info(ctx, "one")
	require.NoError(t, err)
}

// A question that was under way when the daemon died is asked once more.
func TestReadsAreRepeatedOnce(t *testing.T) {
	ctx, d := within(t), startDaemon(t)
	c := openURI(t, Config{URI: d.uri()})
	var deaths atomic.Int32
	deaths.Store(1)
	d.answer(procState, func(*xdr) ([]byte, error) {
		if deaths.Add(-1) >= 0 {
			d.restart()
		}
		return words(1, 0), nil
	})
	_, err := c.Info(ctx, "one")
	require.NoError(t, err)
	assert.Equal(t, 2, d.count(procState))

	deaths.Store(2)
	_, err = c.Info(ctx, "one")
	require.ErrorIs(t, err, domain.ErrUnavailable)
	assert.Equal(t, 4, d.count(procState))
}

// A daemon that hangs holds nobody longer than the context, and what was
// abandoned is freed when the daemon answers after all.
func TestFrozenDaemon(t *testing.T) {
	d := startDaemon(t)
	c := openURI(t, Config{URI: d.uri(), KeepAlive: -1, MaxCalls: 2, MaxConnections: 1})
	thaw := d.freeze()
	defer thaw()
	for i := range 2 { // these reach the daemon
		ctx, cancel := context.WithCancel(t.Context())
		result := make(chan error, 1)
		go func() { result <- c.Start(ctx, "one") }()
		require.Eventually(t, func() bool { return c.slow.underWay() == i+1 }, 10*time.Second, time.Millisecond)
		cancel()
		err := <-result
		require.ErrorIs(t, err, context.Canceled)
		require.NotErrorIs(t, err, domain.ErrUnavailable)
		assert.Contains(t, err.Error(), "may still be carried out")
	}
	for range 3 { // these wait for a place
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		err := c.Start(ctx, "one")
		cancel()
		require.ErrorIs(t, err, context.DeadlineExceeded)
		assert.NotContains(t, err.Error(), "may still be carried out")
	}
	thaw()
	_, err := c.Info(within(t), "one")
	require.NoError(t, err)
}

// Keep-alive messages find out that the daemon hangs, without any deadline.
func TestKeepAlive(t *testing.T) {
	start := func(c *Conn) error { return c.Start(within(t), "one") }
	for name, test := range map[string]struct {
		before, call func(*Conn) error
		says         string
	}{
		"quick":                                {nil, func(c *Conn) error { return c.Undefine(within(t), "one", domain.UndefineOptions{}) }, "keepalive"},
		"slow":                                 {start, start, "keepalive"},
		"slow, while its connection is opened": {nil, start, "before the request was sent"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := startDaemon(t)
			c := openURI(t, Config{URI: d.uri(), KeepAlive: time.Second})
			if test.before != nil {
				require.NoError(t, test.before(c))
			}
			thaw := d.freeze()
			defer thaw()
			err := test.call(c)
			require.ErrorIs(t, err, domain.ErrUnavailable)
			assert.Contains(t, err.Error(), test.says)
		})
	}
}

// Opening is bounded by the context and by OpenTimeout, and a connection that
// comes too late is closed.
func TestOpenFrozen(t *testing.T) {
	d := startDaemon(t)
	thaw := d.freeze()
	defer thaw()
	_, err := Open(t.Context(), Config{URI: d.uri(), OpenTimeout: 20 * time.Millisecond})
	require.ErrorIs(t, err, domain.ErrUnavailable)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err = Open(ctx, Config{URI: d.uri()})
	require.ErrorIs(t, err, context.DeadlineExceeded)
	thaw()
	d.kill()
	require.NoError(t, settled(1<<30, 10*time.Second))
}

// An attempt that takes longer than a call waits is not wasted: the next call
// has its connection, and there was only one attempt.
func TestLateConnectionIsUsed(t *testing.T) {
	d := startDaemon(t)
	c := openURI(t, Config{URI: d.uri()})
	c.openTimeout = 20 * time.Millisecond
	d.kill()
	_, err := c.Info(within(t), "one")
	require.ErrorIs(t, err, domain.ErrUnavailable)
	opened := d.count(procOpen)
	d.start()
	thaw := d.freeze()
	defer thaw()
	for range 3 {
		_, err := c.Info(within(t), "one")
		require.ErrorIs(t, err, domain.ErrUnavailable)
	}
	thaw()
	require.EventuallyWithT(t, func(t *assert.CollectT) {
		_, err := c.Info(context.Background(), "one")
		assert.NoError(t, err)
	}, 10*time.Second, time.Millisecond)
	assert.Equal(t, opened+1, d.count(procOpen))
}

// Close waits for a daemon that hangs 5 s, no longer, and says so; all later
// calls are refused.
func TestCloseFrozen(t *testing.T) {
	t.Parallel()
	d := startDaemon(t)
	c, err := Open(within(t), Config{URI: d.uri(), KeepAlive: -1})
	require.NoError(t, err)
	thaw := d.freeze()
	calls := make(chan error, 1)
	go func() { calls <- c.Start(context.Background(), "one") }()
	require.Eventually(t, func() bool { return c.slow.underWay() == 1 }, 10*time.Second, time.Millisecond)

	begun := time.Now()
	err = c.Close()
	require.ErrorIs(t, err, domain.ErrUnavailable)
	assert.InDelta(t, closeWait.Seconds(), time.Since(begun).Seconds(), 3)
	require.ErrorIs(t, <-calls, domain.ErrUnavailable)
	require.NoError(t, c.Close(), "closing again does nothing")
	require.ErrorIs(t, c.Start(within(t), "one"), domain.ErrUnavailable)
	_, err = c.Events(within(t))
	require.ErrorIs(t, err, domain.ErrUnavailable)
	thaw()
}
