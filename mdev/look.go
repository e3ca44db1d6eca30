package mdev

import (
	"context"
	"fmt"
	"runtime"
	"time"
)

const (
	// readTimeout bounds an operation that only reads and whose context has no deadline.
	readTimeout = 30 * time.Second
	// graceAfterEnd is for what is still looked at once a context has ended, to say why.
	graceAfterEnd = time.Second
	// maxStuck is how many reads may hang at a time before no more are begun: each keeps
	// a thread of the system's.
	maxStuck = 1000
)

// look reads in a goroutine of its own, since a driver may not answer, and waits for that
// no longer than ctx. The error then says at which file it is; what it reads is lost.
func look[T any](ctx context.Context, h *Host, op, object string, read func(*scan) (T, error)) (T, error) {
	var none T
	if err := ended(ctx, op, object); err != nil {
		return none, err
	}
	if err := h.tooManyStuck(op, object); err != nil {
		return none, err
	}
	s := h.newScan()
	type answer struct {
		value T
		err   error
	}
	got, ok := run(ctx, &h.stuck, func() (a answer) {
		s.during(func() { a.value, a.err = read(s) })
		return a
	}, nil)
	if !ok {
		return none, s.hung(ctx, op, object)
	}
	return got.value, got.err
}

func (h *Host) tooManyStuck(op, object string) error {
	if h.stuck.Load() < maxStuck {
		return nil
	}
	return &Error{Op: op, Object: object, Meaning: fmt.Sprintf("%d reads hang already", maxStuck), Cause: "a driver does not answer", Next: "see the kernel log (dmesg)", Kind: ErrInUse}
}

// try is look for what is only good to know: ok is false when it cannot be had in time.
func try[T any](ctx context.Context, h *Host, read func(*scan) T) (value T, ok bool) {
	value, err := look(ctx, h, "", "", func(s *scan) (T, error) { return read(s), nil })
	return value, err == nil
}

// readFile reads one file.
func (h *Host) readFile(ctx context.Context, file string) ([]byte, error) {
	return look(ctx, h, "read", "/"+file, func(s *scan) ([]byte, error) { return s.fs.ReadFile(file) })
}

// hung is the error of a wait that has ended before the reading that it was for.
func (s *scan) hung(ctx context.Context, op, object string) *Error {
	e := explain(op, object, anyFile, ctx.Err())
	if at := s.fs.where(); at != "" {
		e.Cause = "it was still to " + at
	}
	return e
}

// counter counts what goes on alone.
type counter interface{ Add(int64) int64 }

// run calls do in a goroutine of its own. Ok is false when ctx has ended before it; do then
// goes on alone, which stuck counts, and late, unless it is nil, is given what comes of it.
// If do ends its goroutine, run ends the caller's.
func run[T any](ctx context.Context, stuck counter, do func() T, late func(T)) (result T, ok bool) {
	done := make(chan T, 1)
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		done <- do()
	}()
	select {
	case <-gone:
	case <-ctx.Done():
		select {
		case <-gone: // both: what is done counts
		default:
			stuck.Add(1)
			go func() {
				<-gone
				stuck.Add(-1)
				if late != nil && len(done) > 0 {
					late(<-done)
				}
			}()
			return result, false
		}
	}
	select {
	case result = <-done:
		return result, true
	default:
		runtime.Goexit()
		return result, false
	}
}

// afterwards does what must be done although ctx may have ended, in a time of its own. It
// waits as long as ctx, and graceAfterEnd beyond; ok is false when it goes on alone.
func (h *Host) afterwards(ctx context.Context, do func(context.Context) error) (err error, ok bool) {
	waiting, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(graceAfterEnd, stop) })()
	return run(waiting, &h.stuck, func() error {
		own, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTimeout)
		defer cancel()
		return do(own)
	}, nil)
}

// graced is a context for a last look once ctx has ended.
func graced(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), graceAfterEnd)
}
