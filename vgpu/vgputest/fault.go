package vgputest

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"sync/atomic"
	"time"

	"github.com/vgpukit/vgpukit/domain"
)

// Call is one call of a method of [Hypervisor].
type Call struct {
	N      int    // counts all calls from 1
	Method string // "Start"
	VM     string // its name; empty for calls that concern none
	XML    string // the document or element that came with it
}

// Fault describes what goes wrong with which calls, and when. The zero value fails
// every call with an internal error of libvirt's.
type Fault struct {
	Method string // which calls: a method's name, "Start"; empty: any
	VM     string // on which VM, by name or UUID; empty: any
	N      int    // which of the matching calls, from 1; 0: each

	// After lets the call take effect before the rest happens: its answer is lost.
	After bool
	// Delay is how long the call takes, or less if its context or the daemon ends.
	Delay time.Duration
	// Do is called, outside of any lock: it may block, or use the hypervisor. The call
	// fails with its error.
	Do func(context.Context, Call) error
	// Hang lets the call wait until its context or the daemon ends, or the fault is
	// taken out.
	Hang bool
	// Err is what the call fails with. Nil stands for an internal error where nothing
	// of Delay, Hang and Do is set, else for "does not fail".
	Err error
}

type injected struct {
	Fault
	seen int
	out  chan struct{} // closed when it is taken out
}

// Fail injects a fault into the calls of the program under test, not into those of
// [Hypervisor.Virsh], whichever of the two it is asked of. The function that it returns
// takes it out again. Faults strike in the order in which they were injected. Fail
// panics at what could never strike: a method that is no call, a number or a delay below
// zero.
func (h *Hypervisor) Fail(f Fault) (undo func()) {
	switch {
	case f.Method != "" && !isCall(f.Method):
		panic(fmt.Sprintf("vgputest: Hypervisor has no method %q that is a call of libvirt's", f.Method))
	case f.N < 0:
		panic(fmt.Sprintf("vgputest: call %d", f.N))
	case f.Delay < 0:
		panic(fmt.Sprintf("vgputest: a delay of %v", f.Delay))
	}
	if f.Err == nil && f.Delay == 0 && !f.Hang && f.Do == nil {
		f.Err = refuse(codeInternal, nil, "internal error: injected")
	}
	i := &injected{Fault: f, out: make(chan struct{})}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.faults = append(h.faults, i)
	var once atomic.Bool
	return func() {
		if once.Swap(true) {
			return
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		h.faults = slices.DeleteFunc(h.faults, func(other *injected) bool { return other == i })
		close(i.out)
	}
}

// isCall tells whether a method is what a client asks of libvirt: it has a context.
func isCall(method string) bool {
	m, ok := reflect.TypeFor[*Hypervisor]().MethodByName(method)
	return ok && method != "Serve" && m.Type.NumIn() > 1 && m.Type.In(1) == reflect.TypeFor[context.Context]()
}

// Calls returns how many calls there were, those of [Hypervisor.Virsh] left out, since
// the hypervisor was made or since [Hypervisor.ResetCalls].
func (h *Hypervisor) Calls() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.calls
}

// ResetCalls starts the counts of calls and of messages again.
func (h *Hypervisor) ResetCalls() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.calls = 0
	clear(h.messages)
}

// call runs do with the lock held, and the faults around it. c.VM may be a name or a
// UUID.
func call[T any](ctx context.Context, h *Hypervisor, c Call, do func() (T, error)) (T, error) {
	return around(ctx, h, c, func() (T, error) { return locked(h.world, do) })
}

// locked runs do with the lock held, while the daemon is up.
func locked[T any](w *world, do func() (T, error)) (T, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.away() {
		var none T
		return none, connectionLost()
	}
	return do()
}

func connectionLost() error {
	return refuse(codeSystem, domain.ErrUnavailable, "Cannot recv data: Connection reset by peer")
}

// around runs do, which takes the lock itself, with the faults around it.
func around[T any](ctx context.Context, h *Hypervisor, c Call, do func() (T, error)) (T, error) {
	var none T
	fail := func(err error) (T, error) { return none, at(c.Method, c.VM, err) }
	if err := ctx.Err(); err != nil {
		return fail(err)
	}
	h.mu.Lock()
	id := ""
	if m := h.lookUp(c.VM); m != nil {
		c.VM, id = m.name, m.uuid.String()
	}
	var before, after []*injected
	if !h.virsh {
		h.calls++
		c.N = h.calls
		for _, f := range h.faults {
			switch {
			case !f.hit(c, id):
			case f.After:
				after = append(after, f)
			default:
				before = append(before, f)
			}
		}
	}
	broken := h.restarted
	h.mu.Unlock()
	for _, f := range before {
		if err := f.strike(ctx, c, broken); err != nil {
			return fail(err)
		}
	}
	result, err := do()
	if err != nil {
		return fail(err)
	}
	for _, f := range after {
		if err := f.strike(ctx, c, broken); err != nil {
			return fail(err)
		}
	}
	return result, nil
}

// act is call for what returns nothing.
func act(ctx context.Context, h *Hypervisor, c Call, do func() error) error {
	_, err := call(ctx, h, c, func() (struct{}, error) { return struct{}{}, do() })
	return err
}

// on is act for what is done to a VM that exists.
func on(ctx context.Context, h *Hypervisor, method, vm string, do func(*machine) error) error {
	return act(ctx, h, Call{Method: method, VM: vm}, func() error {
		m, err := h.find(vm)
		if err != nil {
			return err
		}
		return do(m)
	})
}

// ask is on for what returns something.
func ask[T any](ctx context.Context, h *Hypervisor, method, vm string, do func(*machine) (T, error)) (T, error) {
	return call(ctx, h, Call{Method: method, VM: vm}, func() (T, error) {
		m, err := h.find(vm)
		if err != nil {
			var none T
			return none, err
		}
		return do(m)
	})
}

// hit tells whether a fault strikes a call on the VM with that UUID.
func (f *injected) hit(c Call, id string) bool {
	if f.Method != "" && f.Method != c.Method || f.VM != "" && f.VM != c.VM && f.VM != id {
		return false
	}
	f.seen++
	return f.N == 0 || f.N == f.seen
}

// strike does what the fault says; a wait ends also when the daemon does.
func (f *injected) strike(ctx context.Context, c Call, broken <-chan struct{}) error {
	if f.Delay > 0 {
		timer := time.NewTimer(f.Delay)
		defer timer.Stop()
		if err := f.wait(ctx, broken, timer.C); err != nil {
			return err
		}
	}
	if f.Do != nil {
		if err := f.Do(ctx, c); err != nil {
			return err
		}
	}
	if f.Hang {
		if err := f.wait(ctx, broken, nil); err != nil {
			return err
		}
	}
	return f.Err
}

// wait returns when the time is over or the fault is taken out.
func (f *injected) wait(ctx context.Context, broken <-chan struct{}, over <-chan time.Time) error {
	select {
	case <-over:
	case <-f.out:
	case <-broken:
		return connectionLost()
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}
