package vgpu

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vgpukit/vgpukit/domain"
	"github.com/vgpukit/vgpukit/vgpu/vgputest"
)

type observed struct{}

// TestObserverHasTheCallersContext: what the caller put into his context is there in
// each call, and what an observer puts there is in all that happens within, down to
// libvirt's calls.
func TestObserverHasTheCallersContext(t *testing.T) {
	type key struct{ name string }
	caller := context.WithValue(t.Context(), key{"caller"}, true)
	r := newRig(t, "mtty")
	var order []string
	within := func(ctx context.Context, what string, keys ...string) {
		for _, k := range append(keys, "caller") {
			assert.NotNil(t, ctx.Value(key{k}), "%s lacks the context of %s", what, k)
		}
		order = append(order, what)
	}
	r.hyper.Fail(vgputest.Fault{Method: "Define", Do: func(ctx context.Context, _ vgputest.Call) error {
		within(ctx, "libvirt", "operation", "step define")
		return &domain.Error{Op: "define", Kind: domain.ErrPermission}
	}})
	m := r.through(r.hyper)
	m.observer = Observer{
		OperationBegun: func(ctx context.Context, op Operation) context.Context {
			within(ctx, "begun "+op.Op)
			return context.WithValue(ctx, key{"operation"}, true)
		},
		OperationEnded: func(ctx context.Context, op Operation, err error) {
			within(ctx, "ended "+op.Op, "operation")
			require.ErrorIs(t, err, ErrPermission)
			assert.NotZero(t, op.Took)
		},
		StepBegun: func(ctx context.Context, s Step) context.Context {
			return context.WithValue(ctx, key{"step " + s.Name}, true)
		},
		StepEnded: func(ctx context.Context, s Step, err error) {
			within(ctx, s.Name, "operation", "step "+s.Name)
			assert.Equal(t, s.Name == "define", err != nil, s.Name)
		},
		StepUndone: func(ctx context.Context, s Step, err error) {
			within(ctx, "undone "+s.Name, "operation")
			assert.NoError(t, err)
		},
	}
	_, err := m.Provision(caller, request("vm", "mtty-1", 1))
	require.ErrorIs(t, err, ErrPermission)
	assert.Equal(t, []string{
		"begun provision", "lock", "find", "lock", "look", "place", "document", "journal", "create", "grant", "libvirt", "define",
		"undone define", "undone grant", "undone create", "ended provision",
	}, order)
}

// TestJoinedObservers: each is told of all, in their order, and of ends in the reverse
// order; what one puts into the context the others see.
func TestJoinedObservers(t *testing.T) {
	var told []string
	tell := func(name string) Observer {
		return Observer{
			OperationBegun: func(ctx context.Context, _ Operation) context.Context {
				before, _ := ctx.Value(observed{}).(string)
				return context.WithValue(ctx, observed{}, before+name)
			},
			OperationEnded: func(ctx context.Context, _ Operation, _ error) {
				told = append(told, "operation "+name+" "+ctx.Value(observed{}).(string))
			},
			StepBegun:  func(ctx context.Context, _ Step) context.Context { told = append(told, "begun "+name); return ctx },
			StepEnded:  func(context.Context, Step, error) { told = append(told, "ended "+name) },
			StepUndone: func(context.Context, Step, error) { told = append(told, "undone "+name) },
			StepWaits:  func(context.Context, Step, string) { told = append(told, "waits "+name) },
		}
	}
	o := JoinObservers(Observer{}, tell("a"), Observer{}, tell("b"))
	ctx := o.OperationBegun(t.Context(), Operation{})
	ctx = o.StepBegun(ctx, Step{})
	o.StepWaits(ctx, Step{}, "it")
	o.StepEnded(ctx, Step{}, errors.New("no"))
	o.StepUndone(ctx, Step{}, nil)
	o.OperationEnded(ctx, Operation{}, nil)
	assert.Equal(t, []string{
		"begun a", "begun b", "waits a", "waits b", "ended b", "ended a", "undone b", "undone a", "operation b ab", "operation a ab",
	}, told)
	assert.Equal(t, Observer{}, JoinObservers(), "none observes nothing")
}
