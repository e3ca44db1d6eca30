package mdev

import (
	"context"
	"io/fs"
	"runtime"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

// An FS that ends the goroutine of who reads it, as a test's t.FailNow does, ends that of
// the caller: nobody waits for an answer that cannot come.
func TestAReadThatEndsItsGoroutineEndsTheCallers(t *testing.T) {
	h, err := Open(Config{FS: quitter{newTree(t)}})
	require.NoError(t, err)
	for name, op := range map[string]func(context.Context) error{
		"inventory": func(ctx context.Context) error { _, err := h.Inventory(ctx); return err },
		"boot":      func(ctx context.Context) error { _, err := h.Boot(ctx); return err },
	} {
		ended := true
		done := make(chan struct{})
		go func() {
			defer close(done)
			_ = op(t.Context())
			ended = false
		}()
		<-done
		require.True(t, ended, name)
	}
}

// quitter ends whoever reads.
type quitter struct{ FS }

func (q quitter) ReadFile(string) ([]byte, error)       { runtime.Goexit(); return nil, nil }
func (q quitter) Stat(string) (fs.FileInfo, error)      { runtime.Goexit(); return nil, nil }
func (q quitter) ReadDir(string) ([]fs.DirEntry, error) { runtime.Goexit(); return nil, nil }

// Reads that hang do not use up the system's threads: there is a bound, which is told.
func TestHangingReadsAreBounded(t *testing.T) {
	h := newTree(t).host()
	h.stuck.Store(maxStuck)
	for name, op := range map[string]func(context.Context) error{
		"inventory": func(ctx context.Context) error { _, err := h.Inventory(ctx); return err },
		"boot":      func(ctx context.Context) error { _, err := h.Boot(ctx); return err },
	} {
		err := op(t.Context())
		require.ErrorIs(t, err, ErrInUse, name)
		require.ErrorContains(t, err, "1000 reads hang already")
	}
	h.stuck.Store(0)
	_, err := h.Inventory(t.Context())
	require.NoError(t, err)
}

// What comes too late is handed to whoever clears it away.
func TestLateResultIsClearedAway(t *testing.T) {
	var stuck atomic.Int64
	ctx, cancel := context.WithCancel(t.Context())
	let, cleared := make(chan struct{}), make(chan int)
	cancel()
	_, ok := run(ctx, &stuck, func() int { <-let; return 7 }, func(n int) { cleared <- n })
	require.False(t, ok)
	require.EqualValues(t, 1, stuck.Load())
	close(let)
	require.Equal(t, 7, <-cleared)
	require.Zero(t, stuck.Load())
}
