// Package patience bounds how long a caller waits for an answer, without counting how
// long its call waits for its turn.
//
// Who calls says by [With] how long the other side may be silent. Who makes calls wait
// in line, such as a connection that takes only some at a time, stops that clock with
// [Pause] for as long. A context of With that nobody pauses is one with a timeout.
package patience

import (
	"context"
	"sync"
	"time"
)

// clock is a context whose time can stand still.
type clock struct {
	context.Context
	cancel context.CancelCauseFunc

	mu     sync.Mutex
	left   time.Duration // when it ran last
	since  time.Time     // it runs
	timer  *time.Timer
	pauses int
}

type key struct{}

// With returns a context that ends with [context.DeadlineExceeded] when it has run for
// so long. It has no deadline, as nobody knows when that will be. The caller cancels it.
func With(parent context.Context, limit time.Duration) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(parent)
	c := &clock{Context: ctx, cancel: cancel, left: limit, since: time.Now()}
	c.timer = time.AfterFunc(limit, func() { c.cancel(context.DeadlineExceeded) })
	return c, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.timer.Stop()
		c.cancel(context.Canceled)
	}
}

// Err is the parent's, or tells a limit that was reached from a cancellation.
func (c *clock) Err() error {
	err := c.Context.Err()
	if err != nil && context.Cause(c.Context) == context.DeadlineExceeded {
		return context.DeadlineExceeded
	}
	return err
}

func (c *clock) Value(k any) any {
	if k == (key{}) {
		return c
	}
	return c.Context.Value(k)
}

// Pause stops the clocks of all of the context's [With], until resume is called, which
// may be called more than once. Without any it does nothing.
func Pause(ctx context.Context) (resume func()) {
	var stopped []*clock
	for {
		c, ok := ctx.Value(key{}).(*clock)
		if !ok {
			break
		}
		c.pause()
		stopped = append(stopped, c)
		ctx = c.Context
	}
	return sync.OnceFunc(func() {
		for _, c := range stopped {
			c.resume()
		}
	})
}

func (c *clock) pause() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.pauses++; c.pauses == 1 && c.timer.Stop() {
		c.left -= time.Since(c.since)
	}
}

func (c *clock) resume() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.pauses--; c.pauses == 0 && c.Context.Err() == nil {
		c.since = time.Now()
		c.timer.Reset(max(c.left, 0))
	}
}

type sinceKey struct{}

// Since marks the calls of something that has gone on since a moment: who waits in line
// goes before those that began later.
func Since(ctx context.Context, t time.Time) context.Context {
	return context.WithValue(ctx, sinceKey{}, t)
}

// Begun is since when that goes on which a call belongs to; unmarked, it begins now.
func Begun(ctx context.Context) time.Time {
	if t, ok := ctx.Value(sinceKey{}).(time.Time); ok {
		return t
	}
	return time.Now()
}
