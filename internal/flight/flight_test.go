package flight

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestCallersShare: callers that come while a reading is under way share the next one, or, by
// Join, have that one, or one that ended after they had begun, which is told; nobody else gets a
// reading that began before his call.
func TestCallersShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var shared Shared[int]
		var begun atomic.Int64
		gate := make(chan struct{})
		read := func(context.Context) (int, error) {
			n := begun.Add(1)
			<-gate
			return int(n), nil
		}
		got := make(chan int, 10)
		do := func() {
			n, err := shared.Do(t.Context(), read)
			assert.NoError(t, err)
			got <- n
		}
		go do()
		synctest.Wait()
		for range 4 {
			go do()
		}
		go func() {
			n, older, err := shared.Join(t.Context(), time.Now(), read)
			assert.NoError(t, err)
			assert.True(t, older)
			got <- n
		}()
		synctest.Wait()
		close(gate)
		synctest.Wait()
		readings := map[int]int{}
		for range 6 {
			readings[<-got]++
		}
		assert.Equal(t, map[int]int{1: 2, 2: 4}, readings)
		join := func(begun time.Time) (int, bool) {
			n, older, err := shared.Join(t.Context(), begun, read)
			require.NoError(t, err)
			return n, older
		}
		before := time.Now()
		n, older := join(before)
		assert.Equal(t, 3, n, "the last one had ended when this caller began")
		assert.False(t, older)
		n, older = join(before.Add(-1))
		assert.Equal(t, 3, n, "a caller that began before it ended")
		assert.True(t, older)
		time.Sleep(recent)
		n, older = join(before.Add(-1))
		assert.Equal(t, 4, n, "one that is too old")
		assert.False(t, older)
	})
}

// TestCallersLeave: a caller whose time is over leaves, and a reading that nobody waits for any
// more is cancelled, while the next caller has one of his own.
func TestCallersLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var shared Shared[int]
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() {
			_, err := shared.Do(ctx, func(reading context.Context) (int, error) {
				<-reading.Done()
				return 0, reading.Err()
			})
			ended <- err
		}()
		synctest.Wait()
		cancel()
		require.ErrorIs(t, <-ended, context.Canceled)
		n, err := shared.Do(t.Context(), func(context.Context) (int, error) { return 7, nil })
		require.NoError(t, err)
		assert.Equal(t, 7, n)
	})
}
