package vgpu

import (
	"context"
	"time"
)

// Operation is one call of the Manager, as an [Observer] sees it. Reconcile does its
// work on each VM, and the finishing of an interrupted operation under that one's name,
// as operations within its own.
type Operation struct {
	Op   string        `json:"op"`            // provision, start, stop, teardown, reconcile, adopt, plan, status, list, policy
	VM   string        `json:"vm,omitempty"`  // the VM's name; empty: of the whole host
	Took time.Duration `json:"took,omitzero"` // zero when it begins
}

// Step is one step of an operation, as an [Observer] sees it.
type Step struct {
	Op     string        `json:"op"`               // the operation
	VM     string        `json:"vm,omitempty"`     // the VM's name
	Name   string        `json:"step"`             // lock, place, document, journal, create, define, …
	Object string        `json:"object,omitempty"` // what it works on: a vGPU's id, a parent; may be empty
	Took   time.Duration `json:"took,omitzero"`    // zero when it begins
}

// Observer is told of operations and of their steps, in the goroutine that does them
// and in order. Nil funcs are left out. The funcs must not call the Manager.
//
// The contexts come from the caller's. Those that OperationBegun and StepBegun
// return are used for what is done within, libvirt's and the host's calls too; to
// end the operation early, cancel the caller's.
type Observer struct {
	OperationBegun func(context.Context, Operation) context.Context
	OperationEnded func(context.Context, Operation, error) // nil: it succeeded

	StepBegun  func(context.Context, Step) context.Context
	StepEnded  func(context.Context, Step, error)  // nil: it succeeded; else what was done before is undone now
	StepUndone func(context.Context, Step, error)  // an earlier step was undone (nil), or could not be
	StepWaits  func(context.Context, Step, string) // the step waits for something: says for what
}

// JoinObservers returns an Observer that tells several, in their order; what has
// ended, in the reverse order.
func JoinObservers(observers ...Observer) Observer {
	var joined Observer
	for _, o := range observers {
		joined = Observer{
			OperationBegun: chain(joined.OperationBegun, o.OperationBegun),
			OperationEnded: both(o.OperationEnded, joined.OperationEnded),
			StepBegun:      chain(joined.StepBegun, o.StepBegun),
			StepEnded:      both(o.StepEnded, joined.StepEnded),
			StepUndone:     both(o.StepUndone, joined.StepUndone),
			StepWaits:      both(joined.StepWaits, o.StepWaits),
		}
	}
	return joined
}

func chain[T any](first, second func(context.Context, T) context.Context) func(context.Context, T) context.Context {
	if first == nil || second == nil {
		return either(first, second, first == nil)
	}
	return func(ctx context.Context, what T) context.Context { return second(first(ctx, what), what) }
}

func both[T, U any](first, second func(context.Context, T, U)) func(context.Context, T, U) {
	if first == nil || second == nil {
		return either(first, second, first == nil)
	}
	return func(ctx context.Context, what T, how U) {
		first(ctx, what, how)
		second(ctx, what, how)
	}
}

func either[F any](first, second F, useSecond bool) F {
	if useSecond {
		return second
	}
	return first
}

// The Observer's funcs, where they are set.

func (o Observer) operationBegun(ctx context.Context, op Operation) context.Context {
	if o.OperationBegun == nil {
		return ctx
	}
	return o.OperationBegun(ctx, op)
}

func (o Observer) operationEnded(ctx context.Context, op Operation, err error) {
	if o.OperationEnded != nil {
		o.OperationEnded(ctx, op, err)
	}
}

func (o Observer) stepBegun(ctx context.Context, step Step) context.Context {
	if o.StepBegun == nil {
		return ctx
	}
	return o.StepBegun(ctx, step)
}

func (o Observer) stepEnded(ctx context.Context, step Step, err error) {
	if o.StepEnded != nil {
		o.StepEnded(ctx, step, err)
	}
}

func (o Observer) stepUndone(ctx context.Context, step Step, err error) {
	if o.StepUndone != nil {
		o.StepUndone(ctx, step, err)
	}
}

func (o Observer) stepWaits(ctx context.Context, step Step, what string) {
	if o.StepWaits != nil {
		o.StepWaits(ctx, step, what)
	}
}
