//go:build cgo

package virt

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vgpukit/vgpukit/domain"
	"github.com/vgpukit/vgpukit/internal/patience"
)

// holdStarts makes starts wait until release is closed, and counts those that have come.
func (d *daemon) holdStarts() (arrived, release chan struct{}) {
	arrived, release = make(chan struct{}, 100), make(chan struct{})
	d.answer(procCreateFlags, func(*xdr) ([]byte, error) {
		arrived <- struct{}{}
		<-release
		return vmOne, nil
	})
	return arrived, release
}

// libvirtd, as shipped, stops reading when five calls of one connection wait for their
// answers, and makes twenty at a time. By default we stay below the one and do not go
// beyond the other, whatever the number of callers; and calls that wait for a QEMU
// leave room for those that do not.
func TestCallsStayBelowTheDaemonsLimits(t *testing.T) {
	d := startDaemon(t)
	c := openURI(t, Config{URI: d.uri()})
	arrived, release := d.holdStarts()
	var all sync.WaitGroup
	for range 40 {
		all.Go(func() { assert.NoError(t, c.Start(within(t), "one")) })
	}
	for range 16 {
		<-arrived
	}
	for range 20 {
		all.Go(func() {
			_, err := c.Info(within(t), "one")
			assert.NoError(t, err)
		})
	}
	_, err := c.Info(within(t), "one")
	require.NoError(t, err, "a quick call waits for no slow one")
	assert.Empty(t, arrived, "no more than 16 starts at a time")
	assert.Equal(t, 17, d.count(procOpen))
	close(release)
	all.Wait()
	d.mu.Lock()
	defer d.mu.Unlock()
	assert.LessOrEqual(t, d.most, 4)
}

// Further connections are opened when a slow call needs one, kept for the next, and
// closed when they have rested.
func TestConnectionsComeAndGo(t *testing.T) {
	d := startDaemon(t)
	c := openURI(t, Config{URI: d.uri(), MaxConnections: 2})
	_, err := c.Info(within(t), "one")
	require.NoError(t, err)
	require.Equal(t, 1, d.count(procOpen))
	for range 3 {
		require.NoError(t, c.Start(within(t), "one"))
	}
	require.Equal(t, 2, d.count(procOpen))
	arrived, release := d.holdStarts()
	var all sync.WaitGroup
	all.Go(func() { assert.NoError(t, c.Start(within(t), "one")) })
	<-arrived
	further := c.lanes[1]
	further.rest() // it is busy
	require.NotNil(t, further.link)
	close(release)
	all.Wait()
	further.rest()
	require.Nil(t, further.link)
	require.Eventually(t, func() bool { return d.count(procClose) == 1 }, 10*time.Second, time.Millisecond)
	require.NoError(t, c.Start(within(t), "one"))
	require.Equal(t, 3, d.count(procOpen))
}

// A further connection that was lost is opened again by the next call that needs it,
// and nobody is told that events were lost.
func TestFurtherConnectionIsLost(t *testing.T) {
	ctx, d := within(t), startDaemon(t)
	c := openURI(t, Config{URI: d.uri()})
	require.NoError(t, c.Start(ctx, "one"))
	events, err := c.Events(ctx)
	require.NoError(t, err)
	c.lanes[1].link.lose()
	require.NoError(t, c.Start(ctx, "one"))
	require.Equal(t, 3, d.count(procOpen))
	d.deviceRemoved("hostdev0")
	assert.Equal(t, domain.EventDeviceRemoved, next(t, events).Kind)
}

// What a caller grants libvirt for its answer does not run while the call waits for its
// turn: each of ten calls in a row takes a good part of it, and none takes all.
func TestWaitingIsNotSilence(t *testing.T) {
	d := startDaemon(t)
	c := openURI(t, Config{URI: d.uri(), MaxCalls: 1, MaxConnections: 1})
	const answer = 50 * time.Millisecond
	d.answer(procCreateFlags, func(*xdr) ([]byte, error) {
		<-time.After(answer)
		return vmOne, nil
	})
	begun := time.Now()
	var all sync.WaitGroup
	for range 10 {
		all.Go(func() {
			ctx, cancel := patience.With(t.Context(), 6*answer)
			defer cancel()
			assert.NoError(t, c.Start(ctx, "one"))
		})
	}
	all.Wait()
	assert.Greater(t, time.Since(begun), 10*answer)
}

// When libvirt holds all the calls that there may be and their callers have given them
// up, it is silent: who waits for a place waits no longer than for an answer. When it
// answers one of them, waiting is no silence any more.
func TestAllCallsGivenUpIsSilence(t *testing.T) {
	d := startDaemon(t)
	c := openURI(t, Config{URI: d.uri(), MaxCalls: 2, MaxConnections: 1})
	arrived, release := d.holdStarts()
	impatient := func() error {
		ctx, cancel := patience.With(t.Context(), 20*time.Millisecond)
		defer cancel()
		return c.Start(ctx, "one")
	}
	require.ErrorIs(t, impatient(), context.DeadlineExceeded)
	<-arrived
	waits, giveUp := context.WithCancel(t.Context())
	held := make(chan error, 1)
	go func() { held <- c.Start(waits, "one") }()
	<-arrived
	inLine := make(chan error, 1)
	go func() { inLine <- impatient() }()
	giveUp()
	require.ErrorIs(t, <-held, context.Canceled)
	err := <-inLine
	require.ErrorIs(t, err, context.DeadlineExceeded)
	assert.NotContains(t, err.Error(), "may still be carried out")
	require.ErrorIs(t, impatient(), context.DeadlineExceeded, "also who comes then")
	close(release)
	require.Eventually(t, func() bool { return c.slow.underWay() == 0 }, 10*time.Second, time.Millisecond)
	select {
	case <-c.slow.silence():
		require.Fail(t, "libvirt has answered")
	default:
	}
	require.NoError(t, c.Start(within(t), "one"))
}

// underWay is how many calls have a place.
func (l *line) underWay() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.taken
}

func (l *line) silence() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.silent
}

// Of those in line, who belongs to what began first goes first; who gives up keeps nobody
// back, not even when it was just his turn.
func TestWhoBeganFirstGoesFirst(t *testing.T) {
	l := newLine(1)
	held, err := l.wait(t.Context(), nil)
	require.NoError(t, err)
	begin := time.Now()
	var went []int
	var all sync.WaitGroup
	for i, since := range []int{3, 1, 4, 2, 0} {
		ctx, giveUp := context.WithCancel(patience.Since(t.Context(), begin.Add(time.Duration(since))))
		defer giveUp()
		all.Go(func() {
			turn, err := l.wait(ctx, nil)
			if since == 0 {
				assert.ErrorIs(t, err, context.Canceled)
				return
			}
			if assert.NoError(t, err) {
				went = append(went, since)
				turn.end()
			}
		})
		require.Eventually(t, func() bool { l.mu.Lock(); defer l.mu.Unlock(); return len(l.waiting) == i+1 }, 10*time.Second, time.Millisecond)
		if since == 0 {
			giveUp()
			require.Eventually(t, func() bool { l.mu.Lock(); defer l.mu.Unlock(); return len(l.waiting) == 4 }, 10*time.Second, time.Millisecond)
		}
	}
	held.end()
	all.Wait()
	assert.Equal(t, []int{1, 2, 3, 4}, went)
	assert.Zero(t, l.underWay())

	mine, _ := l.join(begin)
	require.Nil(t, mine)
	late, _ := l.join(begin)
	(&turn{line: l}).end()
	<-late.turn
	l.leave(late) // he had given up when it became his turn
	assert.Zero(t, l.underWay())
}

// How many connections there are follows from who is at the other end.
func TestDefaultConnections(t *testing.T) {
	for uri, want := range map[string]int{
		"qemu:///system": 17, "qemu:///session": 17, "qemu+unix:///system?socket=/s": 17, "test+unix:///default?socket=/s": 17,
		"qemu+ssh://host/system": 5, "qemu://host/system": 5, "test+tcp://host/default": 5,
		"test:///default": 1, "test:///path": 1, "qemu:///embed?root=/dir": 1,
	} {
		require.NoError(t, CheckURI(uri))
		assert.Equal(t, want, defaultConnections(uri), uri)
	}
}
