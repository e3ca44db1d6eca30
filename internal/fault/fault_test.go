package fault

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func at(op, object, meaning string, beneath error) *Error {
	return &Error{Op: op, Object: object, Meaning: meaning, Err: beneath}
}

// TestLine: an error is one line that names each operation and each object once, what
// happened, the code, and the causes.
func TestLine(t *testing.T) {
	for want, err := range map[string]error{
		"add: no room":                          at("add", "", "no room", nil),
		"in use":                                &Error{Kind: InUse},
		"add x: in use":                         &Error{Op: "add", Object: "x", Kind: InUse},
		"failed":                                &Error{},
		"start web1: no room":                   at("start", "web1", "", at("start", "web1", "no room", nil)),
		"start web1: define: no room":           at("start", "web1", "", at("define", "web1", "no room", nil)),
		"create web1: nvidia-22 on 05:00.0: no": at("create", "web1", "", at("create", "nvidia-22 on 05:00.0", "no", nil)),
		"create type on 05:00.0: no":            at("create", "05:00.0", "", at("create", "type on 05:00.0", "no", nil)),
		"start web1: recover provision: undefine: no":      at("start", "web1", "", at("recover", "provision", "", at("provision", "web1", "", at("undefine", "", "no", nil)))),
		"look: its time was over before it was done":       at("look", "", "", context.DeadlineExceeded),
		"look: it was cancelled before it was done":        at("look", "", "", context.Canceled),
		"stop: still held":                                 at("stop", "", "still held", context.DeadlineExceeded),
		"two lines; in one":                                at("", "", "two lines\nin one", nil),
		"read: odd; the disk; a guess":                     &Error{Op: "read", Meaning: "odd", Err: errors.New("the disk"), Cause: "a guess"},
		"read: odd; lower":                                 at("read", "", "odd", at("", "", "lower", nil)),
		"read: odd":                                        at("read", "", "odd", at("read", "", "odd", NotFound)),
		"start create: create: no":                         at("start", "create", "", at("create", "", "no", nil)),
		"look: host: its time was over before it was done": at("look", "", "", fmt.Errorf("host: %w", context.DeadlineExceeded)),
		"look: a: x; b: y":                                 at("look", "", "", errors.Join(errors.New("a: x"), errors.New("b: y"))),
		"write: open /x: no space left on device":          at("write", "", "", &fs.PathError{Op: "open", Path: "/x", Err: syscall.ENOSPC}),
	} {
		assert.EqualError(t, err, want)
	}
	assert.Equal(t, "create x: refused (EIO); no room", Line(Parts{Places: []Place{{"create", "x"}}, Meaning: "refused", Code: "EIO", Cause: "no room"}))
}

// TestJoin: several errors are one line, in which those of one reason are told
// together, and of the first one's kind.
func TestJoin(t *testing.T) {
	assert.NoError(t, Join())
	assert.NoError(t, Join(nil, nil))
	one := at("create", "a", "no", nil)
	assert.Same(t, one, Join(nil, one))
	of := func(object, meaning string, kind error) error {
		return &Error{Op: "create", Object: object, Meaning: meaning, Kind: kind}
	}
	for want, errs := range map[string][]error{
		"create a, b: no":                             {of("a", "no", nil), of("b", "no", nil)},
		"create a: no":                                {of("a", "no", nil), of("a", "no", nil)},
		"create a: no; create b: not now":             {of("a", "no", nil), of("b", "not now", nil)},
		"create a: no; not now":                       {of("a", "no", nil), of("a", "not now", nil)},
		"create a, b, c, d and 2 more: no":            {of("a", "no", nil), of("b", "no", nil), of("c", "no", nil), of("d", "no", nil), of("e", "no", nil), of("f", "no", nil)},
		"create a, state directory: no":               {of("a", "no", nil), at("state directory", "", "no", nil)},
		"start web1: create a, b: no":                 {at("start", "web1", "", of("a", "no", nil)), at("start", "web1", "", of("b", "no", nil))},
		"start web1: create a: no; undo create a: it": {at("start", "web1", "", of("a", "no", nil)), at("start", "web1", "", at("undo create", "a", "it", nil))},
	} {
		err := Join(errs...)
		assert.EqualError(t, err, want)
		wrapped := at("start", "web1", "", err)
		assert.NotContains(t, wrapped.Error()[1:], "start web1", "what is around is not said again: %v", wrapped)
	}
	assert.EqualError(t, at("reconcile", "", "", Join(at("reconcile", "web1", "no", nil), at("reconcile", "web2", "never", nil))), "reconcile: web1: no; reconcile web2: never")

	err := Join(of("a", "no", InUse), &Error{Kind: Invalid, Err: syscall.EIO, Next: "retry"})
	require.ErrorIs(t, err, InUse)
	require.NotErrorIs(t, err, Invalid)
	require.ErrorIs(t, err, syscall.EIO, "codes of all are found")
	assert.Equal(t, InUse, KindOf(err))
	assert.Equal(t, "retry", Hint("", err))
	assert.True(t, Any(err, Invalid), "asked for, that of each is found")
	assert.True(t, Any(fmt.Errorf("x: %w", err), Invalid))
	assert.False(t, Any(err, Busy))
	assert.True(t, Any(of("a", "no", InUse), InUse))
	assert.False(t, Any(nil, InUse))
	assert.EqualError(t, at("x", "", "", Join(errors.New(""), errors.New("b"))), "x: b", "what says nothing is left out")
}

// TestOneKind: an error is of the kind of the outermost error that names one; errnos,
// ends of contexts and types beneath are found all the same.
func TestOneKind(t *testing.T) {
	inner := &Error{Op: "create", Kind: Refused, Err: &fs.PathError{Err: syscall.EIO}, Next: "see dmesg"}
	err := error(&Error{Kind: NoCapacity, Err: fmt.Errorf("wrapped: %w", errors.Join(inner, context.Canceled))})
	for _, k := range kinds {
		assert.Equal(t, k == NoCapacity, errors.Is(err, k), "%v", k)
	}
	assert.Equal(t, NoCapacity, KindOf(err))
	require.ErrorIs(t, err, syscall.EIO)
	require.ErrorIs(t, err, context.Canceled)
	var found *Error
	require.ErrorAs(t, errors.Unwrap(fmt.Errorf("x: %w", err)), &found)
	assert.Same(t, err, found)
	assert.Equal(t, "see dmesg", Hint("", err))

	assert.Nil(t, KindOf(nil))
	assert.Nil(t, KindOf(errors.New("somebody else's")))
	assert.Equal(t, context.DeadlineExceeded, KindOf(fmt.Errorf("x: %w", context.DeadlineExceeded)))
	assert.Equal(t, Busy, KindOf(errors.Join(errors.New("x"), Busy, Invalid)), "the first of several")
}

// TestNames: each kind has a name in JSON, and is found by it.
func TestNames(t *testing.T) {
	seen := map[string]bool{}
	for _, kind := range append([]error{context.Canceled, context.DeadlineExceeded}, asErrors(kinds)...) {
		name := Name(kind)
		require.NotEmpty(t, name)
		require.False(t, seen[name], name)
		seen[name] = true
		assert.Equal(t, kind, Named(name))
	}
	assert.Empty(t, Name(nil))
	assert.Nil(t, Named("made up"))
}

func asErrors(kinds []*Kind) (errs []error) {
	for _, k := range kinds {
		errs = append(errs, k)
	}
	return errs
}
