package vgpu

import (
	"cmp"
	"time"
)

// Timeouts bound the Manager's waits. A caller's context ends them earlier. Zero
// fields have the default.
type Timeouts struct {
	Lock    time.Duration // for another operation on the VM or the GPU: 30 s
	Call    time.Duration // for libvirt to answer, where it is not told to wait longer: 60 s
	Start   time.Duration // for a VM to start and be seen running: 60 s
	Release time.Duration // for a stopped VM's vGPUs to be let go, driver included: 30 s
	Undo    time.Duration // for undoing a failed operation, all in all: 60 s
}

// Check refuses times below zero, with [ErrInvalid].
func (t Timeouts) Check() error {
	return cmp.Or(
		notNegative("Timeouts.Lock", t.Lock), notNegative("Timeouts.Call", t.Call), notNegative("Timeouts.Start", t.Start),
		notNegative("Timeouts.Release", t.Release), notNegative("Timeouts.Undo", t.Undo),
	)
}

// orDefault fills what is zero.
func (t Timeouts) orDefault() Timeouts {
	return Timeouts{
		Lock: cmp.Or(t.Lock, 30*time.Second), Call: cmp.Or(t.Call, time.Minute), Start: cmp.Or(t.Start, time.Minute),
		Release: cmp.Or(t.Release, 30*time.Second), Undo: cmp.Or(t.Undo, time.Minute),
	}
}

func (o StartOptions) check() error { return notNegative("StartOptions.Timeout", o.Timeout) }

func (o StopOptions) check() error {
	return cmp.Or(notNegative("StopOptions.GuestTimeout", o.GuestTimeout), notNegative("StopOptions.TerminateTimeout", o.TerminateTimeout))
}

// notNegative: a time below zero is a mistake of whoever computed it, and never meant
// as the default.
func notNegative(name string, d time.Duration) error {
	if d < 0 {
		return invalid("leave it 0 for the default, or give a time above 0", "%s is %v, below zero", name, d)
	}
	return nil
}
