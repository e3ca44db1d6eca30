//go:build cgo

package virt

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/google/uuid"
	"libvirt.org/go/libvirt"
)

// What held counts.
const (
	handleConnect = "connect"
	handleDomain  = "domain"
	handleStream  = "stream"
)

// onHandle is told of each libvirt handle that is taken (+1) and freed (-1);
// the tests' leak check sets it.
var onHandle func(kind string, delta int)

func held(kind string, delta int) {
	if onHandle != nil {
		onHandle(kind, delta)
	}
}

// A kind of calls.
type kind struct {
	repeat bool // it only reads: when the connection breaks, it may be repeated
	slow   bool // libvirt waits for a QEMU, or for the VM's turn, before it answers
}

var (
	reads  = kind{repeat: true}
	writes = kind{}
	looks  = kind{repeat: true, slow: true}
	acts   = kind{slow: true}
)

// call runs f on the connection in a goroutine of its own and returns what it
// returns, or the context's error at once when that ends first. T must not hold
// libvirt handles: nobody would free those of an abandoned call.
func call[T any](ctx context.Context, c *Conn, op, object string, of kind, f func(*link) (T, error)) (T, error) {
	v, err := attempt(ctx, c, of, f)
	if of.repeat && errors.As(err, new(errLost)) {
		v, err = attempt(ctx, c, of, f)
	}
	if err != nil {
		var zero T
		return zero, c.wrap(op, object, err)
	}
	return v, nil
}

func attempt[T any](ctx context.Context, c *Conn, of kind, f func(*link) (T, error)) (T, error) {
	var zero T
	p, err := c.take(ctx, of.slow)
	if err != nil {
		return zero, err
	}

	type answer struct {
		v   T
		err error
	}
	answers := make(chan answer, 1)
	go func() {
		defer c.tasks.Done()
		v, err := f(p.link)
		if err != nil && isLibvirt(err) && !p.link.alive() {
			err = errLost{err}
		}
		p.free()
		answers <- answer{v, err}
	}()
	select {
	case a := <-answers:
		return a.v, a.err
	case <-ctx.Done():
		p.turn.giveUp()
		return zero, errAbandoned{ended(ctx)}
	case <-c.done:
		return zero, errClosed
	}
}

// ended returns the error of a context that has ended, so that errors.Is finds
// both what the context says and why.
func ended(ctx context.Context) error {
	cause := context.Cause(ctx)
	if errors.Is(cause, context.Canceled) || errors.Is(cause, context.DeadlineExceeded) {
		return cause
	}
	return fmt.Errorf("%w: %w", ctx.Err(), cause)
}

// do is call for what returns nothing.
func do(ctx context.Context, c *Conn, op, object string, of kind, f func(*link) error) error {
	_, err := call(ctx, c, op, object, of, func(l *link) (struct{}, error) { return struct{}{}, f(l) })
	return err
}

// onDomain runs f on the domain that vm names, and frees the handle after it.
func onDomain[T any](ctx context.Context, c *Conn, op, vm string, of kind, f func(*link, *libvirt.Domain) (T, error)) (T, error) {
	if err := checkVM(op, vm); err != nil {
		var zero T
		return zero, err
	}
	return call(ctx, c, op, vm, of, func(l *link) (T, error) {
		d, err := lookup(l, vm)
		if err != nil {
			var zero T
			return zero, err
		}
		defer free(d)
		return f(l, d)
	})
}

// doDomain is onDomain for what returns nothing.
func doDomain(ctx context.Context, c *Conn, op, vm string, of kind, f func(*link, *libvirt.Domain) error) error {
	_, err := onDomain(ctx, c, op, vm, of, func(l *link, d *libvirt.Domain) (struct{}, error) {
		return struct{}{}, f(l, d)
	})
	return err
}

// lookup finds a domain by UUID if vm is one, else by name. The caller frees it.
func lookup(l *link, vm string) (d *libvirt.Domain, err error) {
	if id, parsed := uuid.Parse(vm); parsed == nil && len(vm) == 36 {
		d, err = l.conn.LookupDomainByUUIDString(id.String())
	} else {
		d, err = l.conn.LookupDomainByName(vm)
	}
	if err != nil {
		return nil, err
	}
	held(handleDomain, +1)
	return d, nil
}

func free(d *libvirt.Domain) {
	_ = d.Free()
	held(handleDomain, -1)
}

func checkVM(op, vm string) error {
	switch {
	case vm == "":
		return invalid(op, "VM", "the name is empty", "give the VM's name or UUID")
	case strings.ContainsRune(vm, 0):
		return invalid(op, vm, "the name holds a NUL byte", "give the VM's name or UUID")
	}
	return nil
}

// checkText refuses what C would cut short.
func checkText(op, object, what, text string) error {
	switch {
	case strings.TrimSpace(text) == "":
		return invalid(op, object, what+" is empty", "give "+what)
	case strings.ContainsRune(text, 0):
		return invalid(op, object, what+" holds a NUL byte", "remove it")
	}
	return nil
}
