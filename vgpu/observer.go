package vgpu

import "time"

// Step is one step of an operation, as an [Observer] sees it.
type Step struct {
	Op     string        // provision, start, stop, teardown, reconcile
	VM     string        // the VM's name
	Name   string        // the step: lock, place, document, journal, create, define, …
	Object string        // what it works on: a vGPU's id, a parent; may be empty
	Took   time.Duration // zero when it begins
}

// Observer is told of each step, in the goroutine that does it and in order.
// Nil funcs are left out. The funcs must not call the Manager.
type Observer struct {
	Begun  func(Step)         // the step begins
	Ended  func(Step)         // it succeeded
	Failed func(Step, error)  // it failed; what was done before is undone now
	Undone func(Step, error)  // an earlier step was undone, or could not be
	Waits  func(Step, string) // the step waits for something: says for what
}
