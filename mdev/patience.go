package mdev

import (
	"context"
	"time"
)

const (
	firstPause = time.Millisecond
	lastPause  = 50 * time.Millisecond
)

// patience paces the looking for something that the kernel tells no event of:
// with growing pauses, until it ends.
type patience struct {
	until time.Time
	pause time.Duration
}

func newPatience(bound time.Duration) *patience {
	return &patience{until: time.Now().Add(bound), pause: firstPause}
}

// sleep pauses; false when ctx or the patience has ended.
func (p *patience) sleep(ctx context.Context) bool {
	pause := min(p.pause, time.Until(p.until))
	if pause <= 0 {
		return false
	}
	p.pause = min(2*p.pause, lastPause)
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
