package statedir

import (
	"context"
	"math/rand/v2"
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
	from  int64     // tickets before this one are passed over
	ahead int64     // the ticket before his; 0: his turn is next
	moved time.Time // when that changed last
	free  time.Time // since when the lock is seen free though somebody is ahead; zero: it is not
}

// wait waits for the lane's turn until ctx ends.
func (l *lane) wait(ctx context.Context) error {
	w := &waiter{lane: l, from: firstTicket, moved: time.Now()}
	for {
		// The first look is before the first wait: a ticket shall be had at once.
		entered, err := w.look(time.Now())
		if err != nil || entered {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(w.pause(time.Now())):
		}
	}
}

// look takes the lock if it is this one's turn.
func (w *waiter) look(now time.Time) (entered bool, err error) {
	if err := w.queue(); err != nil {
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
