package mdev

import (
	"context"
	"runtime"
	"sync"
)

// shared lets requests that come together share what is read of the host. Each is answered
// by a reading that began after it: one may be under way, and one waiting for its turn.
type shared struct {
	mu      sync.Mutex
	running *sharedReading
	next    *sharedReading // for those who came since
}

// sharedReading is one reading of the inventory.
type sharedReading struct {
	scan    *scan
	cancel  context.CancelFunc // once it has begun
	waiting int

	done      chan struct{}
	answered  bool // else its goroutine was ended
	inventory *Inventory
	err       error
}

// read joins the next reading, and waits for it no longer than ctx.
func (sh *shared) read(ctx context.Context, h *Host) (*Inventory, error) {
	if err := ended(ctx, "inventory", ""); err != nil {
		return nil, err
	}
	r, err := sh.join(h)
	if err != nil {
		return nil, err
	}
	select {
	case <-r.done:
	case <-ctx.Done():
		return nil, sh.leave(r, h).hung(ctx, "inventory", "")
	}
	if !r.answered {
		runtime.Goexit()
	}
	return r.inventory, r.err
}

func (sh *shared) join(h *Host) (*sharedReading, error) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if err := h.tooManyStuck("inventory", ""); err != nil && sh.running == nil {
		return nil, err
	}
	if sh.next == nil {
		sh.next = &sharedReading{scan: h.newScan(), done: make(chan struct{})}
	}
	r := sh.next
	r.waiting++
	sh.begin(h)
	return r, nil
}

// leave takes one out who waits for r, and tells which reading it waited for. One that
// nobody waits for is given up, so that a driver that does not answer it keeps nobody
// else waiting.
func (sh *shared) leave(r *sharedReading, h *Host) *scan {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	at := r.scan
	if sh.running != nil {
		at = sh.running.scan
	}
	if r.waiting--; r.waiting > 0 {
		return at
	}
	switch r {
	case sh.next:
		sh.next = nil
	case sh.running:
		r.cancel()
		h.stuck.Add(1)
		go func() {
			<-r.done
			h.stuck.Add(-1)
		}()
		sh.running = nil
		sh.begin(h)
	}
	return at
}

// begin starts the next reading unless one is under way.
func (sh *shared) begin(h *Host) {
	if sh.running != nil || sh.next == nil {
		return
	}
	r := sh.next
	sh.running, sh.next = r, nil
	var ctx context.Context
	ctx, r.cancel = context.WithCancel(context.Background()) // it outlives whoever asked first
	go func() {
		defer sh.end(r, h)
		r.scan.during(func() { r.inventory, r.err = r.scan.inventory(ctx) })
		r.answered = true
	}()
}

func (sh *shared) end(r *sharedReading, h *Host) {
	r.cancel()
	close(r.done)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if sh.running == r {
		sh.running = nil
		sh.begin(h)
	}
}
