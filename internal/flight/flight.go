// Package flight lets callers that come together share one reading of something.
package flight

import (
	"context"
	"errors"
	"sync"
	"time"
)

// Shared reads a value for many callers at once. A caller gets a reading that began after
// its call, never an older one: at most one is under way, and one waits to begin. The zero
// value is ready to use.
type Shared[T any] struct {
	mu      sync.Mutex
	running *reading[T]
	next    *reading[T]
	last    *reading[T] // the one that succeeded last
}

type reading[T any] struct {
	done  chan struct{}
	ended time.Time
	value T
	err   error

	callers int
	cancel  context.CancelFunc
}

// errEnded is of a reading whose goroutine ended without an answer.
var errEnded = errors.New("the reading was broken off")

// recent is how old a reading may be that a caller of Join is given.
const recent = time.Second

// Join is Do for a caller whom a reading under way will do as well, or the last one if it
// ended after the caller had begun, a moment ago; older tells that it was one of these.
func (s *Shared[T]) Join(ctx context.Context, begun time.Time, read func(context.Context) (T, error)) (value T, older bool, err error) {
	s.mu.Lock()
	if r := s.last; r != nil && r.ended.After(begun) && time.Since(r.ended) < recent {
		s.mu.Unlock()
		return r.value, true, nil
	}
	if r := s.running; r != nil && r.callers > 0 {
		r.callers++
		s.mu.Unlock()
		value, err = s.wait(ctx, r)
		return value, true, err
	}
	s.mu.Unlock()
	value, err = s.Do(ctx, read)
	return value, false, err
}

// Do returns what read gives. It is called with the context of the caller that it begins
// for, without its end: the reading is cancelled when no caller waits for it any more. The
// value is shared with others and must not be changed.
func (s *Shared[T]) Do(ctx context.Context, read func(context.Context) (T, error)) (T, error) {
	s.mu.Lock()
	r := s.next
	if r == nil {
		r = &reading[T]{done: make(chan struct{})}
		s.next = r
		if s.running == nil {
			s.begin(ctx, read)
		} else {
			go s.after(s.running, ctx, read)
		}
	}
	r.callers++
	s.mu.Unlock()
	return s.wait(ctx, r)
}

func (s *Shared[T]) wait(ctx context.Context, r *reading[T]) (T, error) {
	select {
	case <-r.done:
		return r.value, r.err
	case <-ctx.Done():
		s.mu.Lock()
		defer s.mu.Unlock()
		if r.callers--; r.callers == 0 && r.cancel != nil {
			r.cancel()
		}
		var none T
		return none, ctx.Err()
	}
}

// after begins the next reading when one has ended.
func (s *Shared[T]) after(running *reading[T], ctx context.Context, read func(context.Context) (T, error)) {
	<-running.done
	s.mu.Lock()
	defer s.mu.Unlock()
	s.begin(ctx, read)
}

// begin makes the next reading the running one.
func (s *Shared[T]) begin(ctx context.Context, read func(context.Context) (T, error)) {
	r := s.next
	s.running, s.next = r, nil
	ctx, r.cancel = context.WithCancel(context.WithoutCancel(ctx))
	go func() {
		r.err = errEnded
		defer func() {
			s.mu.Lock()
			s.running = nil
			if r.ended = time.Now(); r.err == nil {
				s.last = r
			}
			s.mu.Unlock()
			close(r.done)
			r.cancel()
		}()
		r.value, r.err = read(ctx)
	}()
}
