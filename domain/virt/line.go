//go:build cgo

package virt

import (
	"context"
	"sync"

	"github.com/vgpukit/vgpukit/internal/patience"
)

// A line is where calls of one kind, quick or slow, wait for a place.
type line struct {
	places chan struct{} // one is taken by each call under way

	mu      sync.Mutex
	givenUp int           // of the calls under way, those that nobody waits for any more
	silent  chan struct{} // closed while that is all that there may be
}

func newLine(places int) *line {
	return &line{places: make(chan struct{}, places), silent: make(chan struct{})}
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
	select {
	case l.places <- struct{}{}:
		return &turn{line: l}, nil
	default:
	}
	resume := patience.Pause(ctx)
	defer resume()
	silent := l.silence()
	for {
		select {
		case l.places <- struct{}{}:
			return &turn{line: l}, nil
		case <-silent:
			resume()
			silent = nil
		case <-ctx.Done():
			return nil, ended(ctx)
		case <-done:
			return nil, errClosed
		}
	}
}

func (l *line) silence() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.silent
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
	if l.givenUp++; l.givenUp == cap(l.places) {
		close(l.silent)
	}
}

// end gives the place to the next.
func (t *turn) end() {
	l := t.line
	l.mu.Lock()
	t.over = true
	if t.givenUp {
		if l.givenUp == cap(l.places) {
			l.silent = make(chan struct{})
		}
		l.givenUp--
	}
	l.mu.Unlock()
	<-l.places
}
