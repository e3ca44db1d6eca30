//go:build cgo

package virt

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/vgpukit/vgpukit/internal/patience"
)

// A line is where calls of one kind, quick or slow, wait for a place. Whose operation began
// first goes first (package patience), so that of many at once the first are soon done, and not
// all at the end.
type line struct {
	places int

	mu      sync.Mutex
	taken   int
	waiting []*waiter     // in the order in which they go
	givenUp int           // of the calls under way, those that nobody waits for any more
	silent  chan struct{} // closed while that is all that there may be
}

// A waiter is a call that waits for its place.
type waiter struct {
	since time.Time
	turn  chan struct{} // closed when it is his
}

func newLine(places int) *line {
	return &line{places: places, silent: make(chan struct{})}
}

// A turn is one place in a line that was taken.
type turn struct {
	line          *line
	over, givenUp bool // under the line's lock
}

// wait takes a place. What the caller grants libvirt for its answer (package patience)
// does not run meanwhile, unless all places are taken by calls that were given up: then
// it is libvirt that is silent.
func (l *line) wait(ctx context.Context, done <-chan struct{}) (*turn, error) {
	w, silent := l.join(patience.Begun(ctx))
	if w == nil {
		return &turn{line: l}, nil
	}
	resume := patience.Pause(ctx)
	defer resume()
	for {
		select {
		case <-w.turn:
			return &turn{line: l}, nil
		case <-silent:
			resume()
			silent = nil
		case <-ctx.Done():
			l.leave(w)
			return nil, ended(ctx)
		case <-done:
			l.leave(w)
			return nil, errClosed
		}
	}
}

// join takes a place, or one in the line if there is none.
func (l *line) join(since time.Time) (w *waiter, silent <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.taken < l.places {
		l.taken++
		return nil, nil
	}
	w = &waiter{since, make(chan struct{})}
	at := len(l.waiting)
	for at > 0 && w.since.Before(l.waiting[at-1].since) {
		at--
	}
	l.waiting = slices.Insert(l.waiting, at, w)
	return w, l.silent
}

// leave is for one who waits no more; if it was his turn, it is the next one's.
func (l *line) leave(w *waiter) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if at := slices.Index(l.waiting, w); at >= 0 {
		l.waiting = slices.Delete(l.waiting, at, at+1)
	} else {
		l.next()
	}
}

// next gives a place that is free to the first in the line. The lock is held.
func (l *line) next() {
	if len(l.waiting) == 0 {
		l.taken--
		return
	}
	close(l.waiting[0].turn)
	l.waiting = slices.Delete(l.waiting, 0, 1)
}

// giveUp says that the caller waits no more; libvirt still has the call.
func (t *turn) giveUp() {
	l := t.line
	l.mu.Lock()
	defer l.mu.Unlock()
	if t.over {
		return
	}
	t.givenUp = true
	if l.givenUp++; l.givenUp == l.places {
		close(l.silent)
	}
}

// end gives the place to the next.
func (t *turn) end() {
	l := t.line
	l.mu.Lock()
	defer l.mu.Unlock()
	t.over = true
	if t.givenUp {
		if l.givenUp == l.places {
			l.silent = make(chan struct{})
		}
		l.givenUp--
	}
	l.next()
}
