package mdevtest

import (
	"io/fs"
	"path"
	"slices"
	"strings"
	"sync"
	"syscall"
)

// Op is a kind of access to the host's files.
type Op string

// The kinds of access; they are the methods of [mdev.FS]. The last three are
// the optional ones.
const (
	OpRead     Op = "read"
	OpReadDir  Op = "readdir"
	OpReadlink Op = "readlink"
	OpStat     Op = "stat"
	OpWrite    Op = "write"
	OpOpen     Op = "open"
	OpStore    Op = "store"
	OpRun      Op = "run"
)

// Access is one access to the host's files.
type Access struct {
	N    int // counts all accesses from 1
	Op   Op
	Name string // as asked for: "sys/bus/mdev/devices"
	Data string // what is written, or the arguments of a program
}

// Fault describes what goes wrong, and when. The zero value fails every
// access with EIO.
type Fault struct {
	// Op is the kind of access; empty: any.
	Op Op
	// Path is a pattern of [path.Match] for the whole name as asked for, or,
	// when it has no slash, for its last element: "create". Empty: any.
	Path string
	// N is which of the matching accesses fails, from 1; 0: each.
	N int
	// Err is what the access fails with. Nil stands for EIO when Do is nil
	// too and Hang is not set, else for "does not fail".
	Err error
	// Do is called instead of failing at once, outside of any lock: it may
	// block, or use the host. The access fails with its error, or with Err.
	Do func(Access) error
	// Hang keeps the access waiting, as a driver does that does not answer, until the
	// function that Fail returned is called, or a crash. Then it goes on, or fails with Err.
	Hang bool
	// After lets the access take effect before it fails.
	After bool
	// Crash makes this access the last one: it and all later ones fail with
	// Err, as if the process had been killed here; what it held open is
	// closed. The host lives on, and the function that Fail returned lets a
	// new process in.
	Crash bool
}

type fault struct {
	Fault
	seen int
	over chan struct{} // closed when it is taken out
}

// Fail injects a fault. The function that it returns takes it out again and
// ends the crash that it may have caused. Faults are asked in the order in
// which they were injected.
func (h *Host) Fail(f Fault) (undo func()) {
	if f.Err == nil && f.Do == nil && !f.Hang {
		f.Err = syscall.EIO
	}
	injected := &fault{Fault: f, over: make(chan struct{})}
	end := sync.OnceFunc(func() { close(injected.over) })
	h.mu.Lock()
	defer h.mu.Unlock()
	h.faults = append(h.faults, injected)
	return func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		end()
		h.faults = slices.DeleteFunc(h.faults, func(other *fault) bool { return other == injected })
		if h.crashedBy == injected {
			h.crashedBy, h.crashed = nil, make(chan struct{})
		}
	}
}

// Accesses returns how many accesses there were since the host was made, or
// since [Host.ResetAccesses]. A test that runs once to count them can then
// fail each in turn.
func (h *Host) Accesses() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.accesses
}

// ResetAccesses starts the count of accesses again.
func (h *Host) ResetAccesses() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.accesses = 0
}

// access runs one access: counted, failed when a fault says so, under the
// host's lock, and waited for.
func (h *Host) access(op Op, name, data string, do func() effect) error {
	h.mu.Lock()
	h.accesses++
	var after []*fault
	if len(h.faults) > 0 {
		a := Access{N: h.accesses, Op: op, Name: name, Data: data}
		for _, f := range slices.Clone(h.faults) {
			if !f.hit(a) {
				continue
			}
			if f.After {
				after = append(after, f)
			} else if err := h.strike(f, a); err != nil {
				h.mu.Unlock()
				return &fs.PathError{Op: string(op), Path: name, Err: err}
			}
		}
	}
	if h.crashedBy != nil {
		err := h.crashedBy.Err
		h.mu.Unlock()
		return &fs.PathError{Op: string(op), Path: name, Err: err}
	}
	done := do()
	for _, f := range after {
		if err := h.strike(f, Access{N: h.accesses, Op: op, Name: name, Data: data}); err != nil {
			done = failed(err)
		}
	}
	crashed := h.crashed
	h.mu.Unlock()
	if done.err == nil && done.wait != nil {
		select {
		case <-done.wait:
		case <-crashed:
			done.err = syscall.EIO
		}
	}
	if done.err != nil {
		return &fs.PathError{Op: string(op), Path: name, Err: done.err}
	}
	return nil
}

func (f *fault) hit(a Access) bool {
	if f.Op != "" && f.Op != a.Op {
		return false
	}
	if f.Path != "" {
		name := a.Name
		if !strings.Contains(f.Path, "/") {
			name = path.Base(name)
		}
		if ok, _ := path.Match(f.Path, name); !ok {
			return false
		}
	}
	f.seen++
	return f.N == 0 || f.N == f.seen
}

// strike lets a fault act. It is called, and returns, with the lock held, but
// not throughout.
func (h *Host) strike(f *fault, a Access) error {
	if h.crashedBy != nil {
		return h.crashedBy.Err
	}
	err := f.Err
	if f.Hang {
		crashed := h.crashed
		h.mu.Unlock()
		select {
		case <-f.over:
		case <-crashed:
		}
		h.mu.Lock()
	}
	if f.Do != nil {
		h.mu.Unlock()
		if e := f.Do(a); e != nil {
			err = e
		}
		h.mu.Lock()
	}
	if f.Crash && h.crashedBy == nil {
		if err == nil {
			err = syscall.EIO
		}
		f.Err = err
		h.crashedBy = f
		close(h.crashed)
		for _, close := range h.open {
			close()
		}
		clear(h.open)
	}
	return err
}
