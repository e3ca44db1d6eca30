package vgputest

import (
	"context"

	"github.com/vgpukit/vgpukit/domain"
	rpc "github.com/vgpukit/vgpukit/internal/libvirtrpc"
)

// stateNumbers are libvirt's (virDomainState).
var stateNumbers = map[domain.State]int32{
	domain.StateRunning:      1,
	domain.StatePaused:       3,
	domain.StateShuttingDown: 4,
	domain.StateShutOff:      5,
	domain.StateCrashed:      6,
	domain.StateSuspended:    7,
}

func (c *client) state(ctx context.Context, a *rpc.FlagArgs) (rpc.State, error) {
	if err := checkFlags(a.Flags, 0, "qemuDomainGetState"); err != nil {
		return rpc.State{}, err
	}
	return ask(ctx, c.h, "Info", handleOf(a.Dom), func(m *machine) (rpc.State, error) {
		return rpc.State{State: stateNumbers[m.state], Reason: int32(m.lastReason)}, nil
	})
}

// tells makes a procedure of what is so at the moment. Faults do not strike it: it is
// asked beside other calls.
func tells[R any](f func(*machine) R) func(*client, context.Context, *rpc.DomainArgs) (R, error) {
	return func(c *client, ctx context.Context, a *rpc.DomainArgs) (R, error) {
		return ask(ctx, c.h.Virsh(), "Info", handleOf(a.Dom), func(m *machine) (R, error) { return f(m), nil })
	}
}

// tellsFlags is tells where flags may be given, and none is known.
func tellsFlags[R any](f func(*machine) R) func(*client, context.Context, *rpc.FlagArgs) (R, error) {
	return func(c *client, ctx context.Context, a *rpc.FlagArgs) (R, error) {
		return tells(f)(c, ctx, &rpc.DomainArgs{Dom: a.Dom})
	}
}

func info(m *machine) rpc.Info {
	s := shapeOf(m.current())
	return rpc.Info{State: uint8(stateNumbers[m.state]), MaxMemory: s.Memory.kib(), Memory: s.Current.kib(), CPUs: s.CPUs}
}

func maxMemory(m *machine) rpc.Large { return rpc.Large{N: shapeOf(m.current()).Memory.kib()} }

func cpus(m *machine) rpc.Number { return rpc.Number{N: int32(shapeOf(m.current()).CPUs)} }

func isActive(m *machine) rpc.Number { return number(m.active()) }

// persistent counts as an Info of a VM that is off: its handle says that, and whoever wants
// to know all asks nothing else. Of one that is active he asks for the state as well.
func (c *client) persistent(ctx context.Context, a *rpc.DomainArgs) (rpc.Number, error) {
	h := c.h
	if a.Dom.ID >= 0 {
		h = h.Virsh()
	}
	return ask(ctx, h, "Info", handleOf(a.Dom), func(m *machine) (rpc.Number, error) { return number(m.persistent()), nil })
}

// noLabel is the security label of a VM where no security driver is.
var noLabel = rpc.SecurityLabel{Label: []int8{0}}
