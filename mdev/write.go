package mdev

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"
)

// undoGrace is how much longer than its context a creation may take so that it
// can be undone before it returns.
const undoGrace = time.Second

// write writes an attribute and waits for it no longer than ctx. A write that
// the kernel blocks goes on alone.
func (h *Host) write(ctx context.Context, file, value string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	done := make(chan error, 1)
	go func() { done <- h.fs.WriteAttr(file, []byte(value)) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("write %q to %s: %w", strings.TrimSpace(value), file, ctx.Err())
	}
}

// writeOrUndo is write for a file that makes the device id. When ctx ends first,
// and the kernel still makes it, then it is removed again: mostly before
// writeOrUndo returns, else soon after the kernel lets go of the write.
func (h *Host) writeOrUndo(ctx context.Context, file, value, id string) error {
	done := make(chan error, 1)
	go func() { done <- h.fs.WriteAttr(file, []byte(value+"\n")) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	undone := make(chan error, 1)
	go func() {
		if err := <-done; err != nil {
			undone <- ctx.Err()
			return
		}
		undone <- h.undo(ctx, id, ctx.Err())
	}()
	late := time.NewTimer(undoGrace)
	defer late.Stop()
	select {
	case err := <-undone:
		return err
	case <-late.C:
		return errPending{fmt.Errorf("write %q to %s: %w", value, file, ctx.Err())}
	}
}

// errPending is the end of a wait for a write that goes on.
type errPending struct{ error }

func (e errPending) Unwrap() error { return e.error }

// bounded gives ctx a deadline if it has none.
func bounded(ctx context.Context, bound time.Duration) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, bound)
}

// writeGuarded writes an attribute while it holds guard, which it closes once
// the write is done, also when ctx has ended before.
func (h *Host) writeGuarded(ctx context.Context, file, value string, guard io.Closer) error {
	done := make(chan error, 1)
	go func() {
		err := h.fs.WriteAttr(file, []byte(value))
		if guard != nil {
			_ = guard.Close() // a node that we only held: nothing is lost
		}
		done <- err
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("write %q to %s: %w", strings.TrimSpace(value), file, ctx.Err())
	}
}
