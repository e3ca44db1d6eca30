// Package fanout gives each event to everybody who listens, and lets nobody wait for
// another's reading.
package fanout

import (
	"context"
	"sync"
)

// limit is how many events wait for a slow reader before they are dropped.
const limit = 1024

// A Hub gives each event to each subscriber. Its zero value is ready.
type Hub[E any] struct {
	mu   sync.Mutex
	subs map[*Subscriber[E]]struct{}
}

// A Subscriber has a queue of its own.
type Subscriber[E any] struct {
	want     func(E) bool
	overflow E
	ready    chan struct{} // holds one token while the queue is not empty

	mu    sync.Mutex
	queue []E
}

// Add subscribes, from now on, to what want accepts. When more than 1,024 events wait
// to be taken, overflow stands in their place.
func (h *Hub[E]) Add(want func(E) bool, overflow E) *Subscriber[E] {
	s := &Subscriber[E]{want: want, overflow: overflow, ready: make(chan struct{}, 1)}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.subs == nil {
		h.subs = make(map[*Subscriber[E]]struct{})
	}
	h.subs[s] = struct{}{}
	return s
}

// Remove ends a subscription.
func (h *Hub[E]) Remove(s *Subscriber[E]) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.subs, s)
}

// Clear ends all subscriptions.
func (h *Hub[E]) Clear() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.subs = nil
}

// Wanted tells whether anybody listens.
func (h *Hub[E]) Wanted() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.subs) > 0
}

// Publish queues an event for each subscriber that wants it.
func (h *Hub[E]) Publish(e E) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for s := range h.subs {
		if s.want(e) {
			s.put(e)
		}
	}
}

func (s *Subscriber[E]) put(e E) {
	s.mu.Lock()
	if len(s.queue) >= limit {
		s.queue = []E{s.overflow}
	}
	s.queue = append(s.queue, e)
	s.mu.Unlock()
	select {
	case s.ready <- struct{}{}:
	default:
	}
}

// Ready has a token whenever there is something to take.
func (s *Subscriber[E]) Ready() <-chan struct{} { return s.ready }

// Take returns what has come since the last time.
func (s *Subscriber[E]) Take() []E {
	s.mu.Lock()
	defer s.mu.Unlock()
	events := s.queue
	s.queue = nil
	return events
}

// Stream passes on what a subscriber gets until ctx ends or done is closed; then the
// subscription ends and the channel is closed.
func (h *Hub[E]) Stream(ctx context.Context, done <-chan struct{}, s *Subscriber[E]) <-chan E {
	out := make(chan E)
	go func() {
		defer close(out)
		defer h.Remove(s)
		for {
			select {
			case <-s.ready:
			case <-ctx.Done():
				return
			case <-done:
				return
			}
			for _, e := range s.Take() {
				select {
				case out <- e:
				case <-ctx.Done():
					return
				case <-done:
					return
				}
			}
		}
	}()
	return out
}
