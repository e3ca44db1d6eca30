package mdev

import (
	"context"
	"os"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A socket that fails is told to the receiver, unless it was closed because the
// context has ended.
func TestPumpTellsItsFailure(t *testing.T) {
	failing := func(err error) func(func(uintptr) bool) error {
		return func(func(uintptr) bool) error { return err }
	}
	events := make(chan Uevent, 1)
	pump(t.Context(), failing(syscall.EBADF), events)
	last, open := <-events
	require.True(t, open)
	assert.ErrorIs(t, last.Err, syscall.EBADF)
	_, open = <-events
	assert.False(t, open)

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	events = make(chan Uevent, 1)
	pump(ctx, failing(os.ErrClosed), events)
	_, open = <-events
	assert.False(t, open, "nothing is told when the context has ended")
}
