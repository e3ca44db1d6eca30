package patience_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vgpukit/vgpukit/internal/patience"
)

// A context that nobody pauses ends after its limit, as one with a timeout does, and
// says so.
func TestLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun := time.Now()
		ctx, cancel := patience.With(t.Context(), time.Second)
		defer cancel()
		require.NoError(t, ctx.Err())
		<-ctx.Done()
		assert.Equal(t, time.Second, time.Since(begun))
		require.ErrorIs(t, ctx.Err(), context.DeadlineExceeded)
		require.ErrorIs(t, context.Cause(ctx), context.DeadlineExceeded)
	})
}

// What ends the parent ends the context in the same way, and cancelling it is no limit
// reached.
func TestEnds(t *testing.T) {
	parent, end := context.WithCancel(t.Context())
	ctx, cancel := patience.With(parent, time.Hour)
	end()
	require.ErrorIs(t, ctx.Err(), context.Canceled)
	cancel()
	ctx, cancel = patience.With(t.Context(), time.Hour)
	patience.Pause(ctx)
	cancel()
	require.ErrorIs(t, ctx.Err(), context.Canceled)
}

// Pauses, some of which overlap, are not counted; what was used before them is. The
// clock of a context around stands still as well.
func TestPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun := time.Now()
		outer, cancel := patience.With(t.Context(), 3*time.Second)
		defer cancel()
		inner, cancel := patience.With(context.WithoutCancel(outer), 2*time.Second)
		defer cancel()
		time.Sleep(time.Second)
		first, second := patience.Pause(inner), patience.Pause(inner)
		time.Sleep(time.Hour)
		first()
		first()
		time.Sleep(time.Hour)
		require.NoError(t, inner.Err())
		second()
		<-inner.Done()
		assert.Equal(t, 2*time.Second+2*time.Hour, time.Since(begun))
		require.NoError(t, outer.Err())
		<-outer.Done()
		assert.Equal(t, 3*time.Second+2*time.Hour, time.Since(begun))
		patience.Pause(inner)()
	})
}

// A context without a limit has nothing to pause.
func TestPauseNothing(t *testing.T) {
	patience.Pause(t.Context())()
	require.NoError(t, t.Context().Err())
}
