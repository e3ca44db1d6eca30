//go:build cgo

package virt

import (
	"bytes"
	"context"
	"errors"
	"io"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"libvirt.org/go/libvirt"

	"github.com/vgpukit/vgpukit/domain"
)

// saving is a daemon with a save under way, which ends when it is aborted, with
// the given result. operation is the job that it reports.
func saving(t *testing.T, operation uint32, result error) (d *daemon, begun <-chan struct{}) {
	d = startDaemon(t)
	started, aborted := make(chan struct{}), make(chan struct{})
	d.answer(procManagedSave, func(*xdr) ([]byte, error) {
		close(started)
		<-aborted
		return nil, result
	})
	var polls atomic.Int32
	end := sync.OnceFunc(func() { close(aborted) })
	d.answer(procJobStats, func(*xdr) ([]byte, error) {
		op := operation
		if polls.Add(1) < 3 {
			op = uint32(libvirt.DOMAIN_JOB_OPERATION_MIGRATION_OUT) // somebody's, which ours waits for
		}
		return append(append(words(2, 1), text("operation")...), words(1, op)...), nil
	})
	d.answer(procAbortJob, func(*xdr) ([]byte, error) {
		assert.GreaterOrEqual(t, polls.Load(), int32(3), "somebody's migration was aborted")
		end()
		return nil, nil
	})
	return d, started
}

// A save whose context ends is aborted, and nobody else's job is. The result is
// what came true: aborted, or saved after all.
func TestSaveIsAborted(t *testing.T) {
	aborted := libvirt.Error{Code: libvirt.ERR_OPERATION_ABORTED, Domain: 10, Message: "operation aborted: domain save job: canceled by client"}
	for _, tt := range []struct {
		name   string
		result error
	}{{"aborted", aborted}, {"saved after all", nil}} {
		t.Run(tt.name, func(t *testing.T) {
			d, begun := saving(t, uint32(libvirt.DOMAIN_JOB_OPERATION_SAVE), tt.result)
			c := openURI(t, Config{URI: d.uri(), MaxCalls: 1, MaxConnections: 1})
			ctx, cancel := context.WithCancel(t.Context())
			go func() {
				<-begun
				cancel()
			}()
			err := c.ManagedSave(ctx, "one")
			assert.Equal(t, 1, d.count(procAbortJob))
			if tt.result == nil {
				require.NoError(t, err)
				return
			}
			require.ErrorIs(t, err, context.Canceled)
			require.ErrorIs(t, err, libvirt.ERR_OPERATION_ABORTED)
			require.NotErrorIs(t, err, domain.ErrState)
			assert.Contains(t, err.Error(), "the VM goes on")
		})
	}
}

// A save whose context has ended, or ends while it waits for its turn, never
// begins.
func TestSaveNeverBegins(t *testing.T) {
	d := startDaemon(t)
	c := openURI(t, Config{URI: d.uri(), MaxCalls: 1, MaxConnections: 1})
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for range 50 {
		require.ErrorIs(t, c.ManagedSave(ended, "one"), context.Canceled)
	}
	busy, release := make(chan struct{}), make(chan struct{})
	d.answer(procCreateFlags, func(*xdr) ([]byte, error) {
		close(busy)
		<-release
		return vmOne, nil
	})
	started := make(chan error, 1)
	go func() { started <- c.Start(within(t), "one") }()
	<-busy
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, c.ManagedSave(ctx, "one"), context.DeadlineExceeded)
	close(release)
	require.NoError(t, <-started)
	assert.Zero(t, d.count(procManagedSave))
}

// A VM's state goes to a file and comes back from it.
func TestSaveAndRestore(t *testing.T) {
	ctx, c := within(t), openTest(t)
	file := filepath.Join(t.TempDir(), "one.save")
	require.NoError(t, c.Save(ctx, "one", file))
	info, err := c.Info(ctx, "one")
	require.NoError(t, err)
	assert.Equal(t, domain.StateShutOff, info.State)
	require.NoError(t, c.Restore(ctx, file, ""))
	info, err = c.Info(ctx, "one")
	require.NoError(t, err)
	assert.Equal(t, domain.StateRunning, info.State)
	require.ErrorIs(t, c.Restore(ctx, file, ""), domain.ErrState, "it runs already")
	require.ErrorIs(t, c.Restore(ctx, file+".none", ""), domain.ErrNotFound)
}

// The managed image is there after ManagedSave, used by Start, and gone after
// ManagedSaveRemove, which may be repeated.
func TestManagedSave(t *testing.T) {
	ctx, c := within(t), openTest(t)
	has := func() bool {
		t.Helper()
		has, err := c.HasManagedSave(ctx, "one")
		require.NoError(t, err)
		return has
	}
	require.False(t, has())
	require.NoError(t, c.ManagedSave(ctx, "one"))
	require.True(t, has())
	require.NoError(t, c.Start(ctx, "one"))
	require.False(t, has())
	require.NoError(t, c.ManagedSave(ctx, "one"))
	require.NoError(t, c.ManagedSaveRemove(ctx, "one"))
	require.False(t, has())
	require.NoError(t, c.ManagedSaveRemove(ctx, "one"))
}

// A job's numbers come as libvirt gives them.
func TestJobInfo(t *testing.T) {
	d := startDaemon(t)
	c := openURI(t, Config{URI: d.uri()})
	d.answer(procJobStats, func(*xdr) ([]byte, error) {
		b := words(2, 3) // unbounded, three parameters
		b = append(append(b, text("operation")...), words(1, uint32(libvirt.DOMAIN_JOB_OPERATION_MIGRATION_OUT))...)
		b = append(append(b, text("time_elapsed")...), words(4, 0, 1500)...)
		return append(append(b, text("data_remaining")...), words(4, 1, 0)...), nil
	})
	job, err := c.JobInfo(within(t), "one")
	require.NoError(t, err)
	assert.Equal(t, Job{Active: true, Operation: "migration-out", Elapsed: 1500e6, Remaining: 1 << 32}, job)
}

// A screenshot is all of what libvirt sends, and its type.
func TestScreenshot(t *testing.T) {
	d := startDaemon(t)
	c := openURI(t, Config{URI: d.uri()})
	want := bytes.Repeat([]byte("\x89PNG"), 100_000)
	d.stream(procScreenshot, append(words(1), text("image/png")...), want)
	image, mimeType, err := c.Screenshot(within(t), "one", 0)
	require.NoError(t, err)
	assert.Equal(t, "image/png", mimeType)
	assert.True(t, bytes.Equal(want, image))
	d.answer(procScreenshot, func(*xdr) ([]byte, error) {
		return nil, libvirt.Error{Code: 55, Domain: 10, Message: "Requested operation is not valid: domain is not running"}
	})
	_, _, err = c.Screenshot(within(t), "one", 0)
	require.ErrorIs(t, err, domain.ErrState)
}

// A stream is read to its end, up to the limit, while the context lasts.
func TestReceive(t *testing.T) {
	data := bytes.Repeat([]byte("0123456789abcdef"), 10000)
	for _, r := range []io.Reader{bytes.NewReader(data), iotest.OneByteReader(bytes.NewReader(data)), iotest.DataErrReader(bytes.NewReader(data))} {
		got, err := receive(t.Context(), r, len(data))
		require.NoError(t, err)
		require.True(t, bytes.Equal(data, got))
	}
	_, err := receive(t.Context(), bytes.NewReader(data), len(data)-1)
	require.ErrorIs(t, err, errTooLong)
	broken := errors.New("broken")
	_, err = receive(t.Context(), io.MultiReader(bytes.NewReader(data), iotest.ErrReader(broken)), len(data))
	require.ErrorIs(t, err, broken)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = receive(ctx, bytes.NewReader(data), len(data))
	require.ErrorIs(t, err, context.Canceled)
}
