package fanout

import (
	"context"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestSlowListener: a listener that does not read costs a bounded amount of memory, is
// told that it lost events, and gets the newest.
func TestSlowListener(t *testing.T) {
	var h Hub[int]
	s := h.Add(func(e int) bool { return e >= 0 }, -1)
	const n = 3*limit + 7
	for i := range n {
		h.Publish(i)
		h.Publish(-2) // not wanted
	}
	<-s.Ready()
	got := s.Take()
	assert.LessOrEqual(t, len(got), limit+1)
	assert.Equal(t, -1, got[0])
	for i, e := range slices.Backward(got[1:]) {
		assert.Equal(t, n-len(got)+1+i, e)
	}
	assert.Empty(t, s.Take())
}

// TestStreamEnds: a stream gives what is published, and ends with its context or with
// its publisher, whether or not it is read.
func TestStreamEnds(t *testing.T) {
	for _, read := range []bool{true, false} {
		for _, byContext := range []bool{true, false} {
			var h Hub[int]
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan struct{})
			s := h.Add(func(int) bool { return true }, -1)
			events := h.Stream(ctx, done, s)
			h.Publish(1)
			if read {
				require.Equal(t, 1, <-events)
			}
			if byContext {
				cancel()
			} else {
				close(done)
			}
			for range events {
			}
			assert.False(t, h.Wanted())
			cancel()
		}
	}
}
