package mdev

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Every row of the table says what happened, in lower case without a full stop,
// and is one of the sentinels.
func TestReadings(t *testing.T) {
	sentinels := []error{ErrInvalid, ErrNotFound, ErrExists, ErrInUse, ErrNoCapacity, ErrRefused, ErrPermission, ErrUnsupported}
	for kind, rows := range readings {
		for errno, r := range rows {
			assert.Contains(t, sentinels, r.kind, "%d %v", kind, errno)
			assert.NotEmpty(t, r.meaning, "%d %v", kind, errno)
			assert.NotRegexp(t, `\.$|\n`, r.meaning+r.cause+r.next)
			err := explain("create", "x", kind, &fs.PathError{Op: "write", Path: "create", Err: errno})
			require.ErrorIs(t, err, r.kind)
			require.ErrorIs(t, err, errno)
			assert.Equal(t, r.next, err.Hint())
		}
	}
}

func TestErrorIsOneLine(t *testing.T) {
	err := fmt.Errorf("provision: %w", &Error{Op: "create", Object: "nvidia-22", Errno: syscall.EIO, Meaning: "the driver refused", Cause: "no room", Next: "make room", Kind: ErrNoCapacity})
	assert.Equal(t, "provision: create nvidia-22: the driver refused (EIO); no room", err.Error())
	require.ErrorIs(t, err, ErrNoCapacity)
	require.NotErrorIs(t, err, ErrRefused, "the cause is known better than that, and an error is of one kind")
	require.ErrorIs(t, err, syscall.EIO)
	require.NotErrorIs(t, err, ErrInUse)
	assert.Equal(t, "create: failed", (&Error{Op: "create"}).Error())
	unknown := explain("create", "x", createFile, syscall.EXDEV)
	assert.Equal(t, "create x: invalid cross-device link (EXDEV)", unknown.Error())
	assert.ErrorIs(t, unknown, syscall.EXDEV)
	assert.True(t, errors.Is(unknown, syscall.EXDEV))
}

// A problem is one line for people: what, what about it, what to do.
func TestProblemIsOneLine(t *testing.T) {
	assert.Equal(t, "mtty: it is odd; look again", Problem{Object: "mtty", Text: "it is odd", Next: "look again"}.String())
	assert.Equal(t, "read mtty: odd", Problem{Object: "mtty", Text: "read mtty: odd"}.String(), "an object is named once")
	assert.Equal(t, "x: two lines", fmt.Sprint(Problem{Object: "x", Text: "two\nlines"}))
}

// An operation that its context ends says so, and what to do.
func TestEndOfTheContextIsExplained(t *testing.T) {
	h := newTree(t).host()
	for _, cause := range []error{context.Canceled, context.DeadlineExceeded} {
		ctx, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
		if cause == context.Canceled {
			ctx, cancel = context.WithCancel(t.Context())
			cancel()
		}
		_, errCreate := h.Create(ctx, CreateRequest{Type: "mtty-2"})
		_, errDevice := h.Device(ctx, testUUID.String())
		_, errPlan := h.PlanVFs(ctx, "0000:41:00.0", AllVFs)
		for _, err := range []error{errCreate, errDevice, errPlan, h.Remove(ctx, testUUID.String()), h.Undefine(ctx, "mtty", testUUID), explain("create", "x", anyFile, cause)} {
			require.ErrorIs(t, err, cause)
			var e *Error
			require.ErrorAs(t, err, &e)
			assert.Regexp(t, "before it was done", e.Meaning)
			assert.NotEmpty(t, e.Hint())
		}
		cancel()
	}
}

// A group that is not viable is not taken for one in use.
func TestProbeOfAGroupThatIsNotViable(t *testing.T) {
	err := newTree(t).host().probeFailed(t.Context(), &Device{ID: testUUID.String(), IOMMUGroup: "7"}, errNotViable)
	require.ErrorIs(t, err, ErrUnsupported)
	require.NotErrorIs(t, err, ErrInUse)
	assert.Contains(t, err.Error(), "not viable")
	assert.Contains(t, err.(*Error).Hint(), "/sys/kernel/iommu_groups/7/devices")
}
