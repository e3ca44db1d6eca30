package statedir

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

// How long a freed lock may go unnoticed: a wait in the kernel would have no deadline.
// The one whose turn is next looks often, those behind the less the longer nothing
// moves.
const (
	pollFirst = 500 * time.Microsecond
	pollNext  = 5 * time.Millisecond
	// PollMost is the longest.
	PollMost = 50 * time.Millisecond
	// perTurn is what each of those before takes at least.
	perTurn = 250 * time.Microsecond
	// asleep is how long the lock must be free, and not be taken by the one whose turn
	// it is, until he is passed over: he may be stopped.
	asleep = 250 * time.Millisecond
)

// waiter is one who waits in a lane.
type waiter struct {
	*lane
	place int64     // his ticket, as others of this process may read it
	from  int64     // tickets before this one are passed over
	ahead int64     // the ticket before his; 0: his turn is next
	moved time.Time // when that changed last
	free  time.Time // since when the lock is seen free though somebody is ahead; zero: it is not
	wake  chan struct{}
}

// waiting are those of this process who wait, by lock: who gives a lock back wakes the one
// that came first, so that only he looks often.
type waiting struct {
	mu sync.Mutex
	at map[string][]*waiter
}

var sameProcess = waiting{at: map[string][]*waiter{}}

func (q *waiting) join(lock string, w *waiter) (leave func()) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.at[lock] = append(q.at[lock], w)
	return func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		q.at[lock] = slices.DeleteFunc(q.at[lock], func(other *waiter) bool { return other == w })
		if len(q.at[lock]) == 0 {
			delete(q.at, lock)
		}
	}
}

// first is the one of this process that came first.
func (q *waiting) first(lock string) (first *waiter) {
	for _, w := range q.at[lock] {
		if w.place > 0 && (first == nil || w.place < first.place) {
			first = w
		}
	}
	return first
}

// last is the ticket of the one of this process that came last; 0: there is none.
func (q *waiting) last(lock string) (ticket int64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, w := range q.at[lock] {
		ticket = max(ticket, w.place)
	}
	return ticket
}

// freed wakes the first.
func (q *waiting) freed(lock string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if w := q.first(lock); w != nil {
		select {
		case w.wake <- struct{}{}:
		default: // he is about to look
		}
	}
}

// queued notes a waiter's ticket, and tells whether he is the first.
func (q *waiting) queued(lock string, w *waiter) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	w.place = w.ticket
	return w.place == 0 || q.first(lock) == w
}

// wait waits for the lane's turn until ctx ends.
func (l *lane) wait(ctx context.Context) error {
	w := &waiter{lane: l, from: firstTicket, moved: time.Now(), wake: make(chan struct{}, 1)}
	defer sameProcess.join(l.lock, w)()
	for {
		// The first look is before the first wait: a ticket shall be had at once.
		entered, err := w.look(time.Now())
		if err != nil || entered {
			return err
		}
		pause := PollMost
		if sameProcess.queued(l.lock, w) {
			pause = w.pause(time.Now())
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-w.wake:
		case <-time.After(pause):
		}
	}
}

// look takes the lock if it is this one's turn.
func (w *waiter) look(now time.Time) (entered bool, err error) {
	if err := w.queue(sameProcess.last(w.lock)); err != nil {
		return false, err
	}
	if w.ticket == 0 { // there are none
		return w.enter()
	}
	ahead, any, err := w.held(w.from, w.ticket)
	if err != nil {
		return false, err
	}
	if !any {
		ahead = 0
	}
	if ahead != w.ahead {
		w.ahead, w.moved, w.free = ahead, now, time.Time{}
	}
	if ahead == 0 {
		return w.pass()
	}
	_, taken, err := w.held(door, firstTicket)
	switch {
	case err != nil:
		return false, err
	case taken:
		w.free = time.Time{}
	case w.free.IsZero():
		w.free = now
	case now.Sub(w.free) > asleep:
		w.from, w.free = ahead+1, time.Time{}
		return w.look(now)
	}
	return false, nil
}

// pause is how long to wait until the next look.
func (w *waiter) pause(now time.Time) time.Duration {
	d := max(pollFirst, now.Sub(w.moved)/8)
	switch {
	case w.ticket == 0:
		return min(d, pollNext) + rand.N(pollNext) // so that two do not meet again and again
	case w.ahead == 0:
		return min(d, pollNext)
	}
	return min(max(d, time.Duration(w.ticket-w.ahead)*perTurn), PollMost)
}
