package vgputest

import (
	"context"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/vgpukit/vgpukit/domain"
	rpc "github.com/vgpukit/vgpukit/internal/libvirtrpc"
)

// eventNumbers are libvirt's numbers of the events of the life cycle, and the places of
// their details are those of the details (virDomainEventType).
var eventNumbers = map[domain.EventKind]struct {
	number  int32
	details []string
}{
	domain.EventDefined:   {0, []string{"added", "updated", "renamed", "snapshot"}},
	domain.EventUndefined: {1, []string{"removed", "renamed"}},
	domain.EventStarted:   {2, []string{"booted", "migrated", "restored", "snapshot", "wakeup", "recreated"}},
	domain.EventSuspended: {3, []string{"paused", "migrated", "i/o error", "watchdog", "restored", "snapshot", "api error"}},
	domain.EventResumed:   {4, []string{"unpaused", "migrated", "snapshot"}},
	domain.EventStopped:   {5, []string{"shutdown", "destroyed", "crashed", "migrated", "saved", "failed", "snapshot", "recreated"}},
	domain.EventShutdown:  {6, []string{"finished", "guest request", "host request"}},
	domain.EventCrashed:   {8, []string{"panicked", "crashloaded"}},
}

// deviceEvents are about one device.
var deviceEvents = map[domain.EventKind]struct {
	id        rpc.EventID
	procedure rpc.Procedure
}{
	domain.EventDeviceAdded:   {rpc.EventIDDeviceAdded, rpc.CallbackDeviceAdded},
	domain.EventDeviceRemoved: {rpc.EventIDDeviceRemoved, rpc.CallbackDeviceRemoved},
}

// operations are libvirt's numbers of what a job can be (virDomainJobOperation).
var operations = []string{
	"unknown", "start", "save", "restore", "migration-in", "migration-out",
	"snapshot", "snapshot-revert", "dump", "backup", "snapshot-delete",
}

// callback is what a client listens to. Kinds of events that never come here are
// registered all the same.
type callback struct {
	id    int32
	event rpc.EventID
	of    *uuid.UUID // nil: all domains
}

func (c *client) register(ctx context.Context, a *rpc.RegisterArgs) (rpc.Number, error) {
	if a.Event < 0 || a.Event > rpc.LastEventID {
		return rpc.Number{}, refuse(rpc.CodeInternal, nil, "internal error: unsupported event ID %d", a.Event)
	}
	if err := c.listen(ctx); err != nil {
		return rpc.Number{}, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	cb := callback{id: c.lastID, event: a.Event}
	if a.Dom != nil {
		cb.of = &a.Dom.UUID
	}
	c.lastID++
	c.callbacks = append(c.callbacks, cb)
	return rpc.Number{N: cb.id}, nil
}

func (c *client) deregister(_ context.Context, a *rpc.Number) (rpc.Void, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := len(c.callbacks)
	c.callbacks = slices.DeleteFunc(c.callbacks, func(cb callback) bool { return cb.id == a.N })
	if len(c.callbacks) == n {
		return rpc.Void{}, refuse(rpc.CodeInternal, nil, "internal error: domain event callback %d not registered", a.N)
	}
	return rpc.Void{}, nil
}

// listen sends events from now on, until ctx, the connection's, ends.
func (c *client) listen(ctx context.Context) error {
	c.listenMu.Lock()
	defer c.listenMu.Unlock()
	if c.listening {
		return nil
	}
	events, err := c.h.Events(ctx)
	if err != nil {
		return err
	}
	c.listening = true
	c.calls.Go(func() {
		for e := range events {
			if e.Kind == domain.EventReconnected { // some are lost: the client learns it so
				_ = c.conn.Close()
				return
			}
			c.notify(ctx, e)
		}
	})
	return nil
}

// notify sends an event to those of the client's callbacks that want it.
func (c *client) notify(ctx context.Context, e domain.Event) {
	d := rpc.Domain{Name: e.VM, UUID: e.UUID, ID: -1}
	if e.Kind != domain.EventStopped {
		if now, err := c.handle(ctx, e.UUID.String()); err == nil {
			d.ID = now.Dom.ID
		}
	}
	id, procedure, message := translate(d, e)
	if message == nil {
		return
	}
	h := rpc.Header{Program: rpc.ProgramRemote, Version: rpc.Version, Procedure: procedure, Type: rpc.TypeMessage}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, cb := range c.callbacks {
		if cb.event != id || cb.of != nil && *cb.of != e.UUID {
			continue
		}
		b, err := rpc.Frame(h, message(cb.id))
		if err != nil || c.write(b) != nil {
			return
		}
	}
}

// translate returns an event in libvirt's form, nil if that has none for it.
func translate(d rpc.Domain, e domain.Event) (rpc.EventID, rpc.Procedure, func(callback int32) any) {
	if n, ok := eventNumbers[e.Kind]; ok {
		detail := int32(max(slices.Index(n.details, e.Detail), 0))
		return rpc.EventIDLifecycle, rpc.CallbackLifecycle, forCallback(rpc.LifecycleEvent{Dom: d, Event: n.number, Detail: detail})
	}
	if device, ok := deviceEvents[e.Kind]; ok {
		return device.id, device.procedure, forCallback(rpc.DeviceEvent{Dom: d, Alias: e.Detail})
	}
	if e.Kind != domain.EventJobCompleted {
		return 0, 0, nil
	}
	operation, outcome, _ := strings.Cut(e.Detail, " ")
	return rpc.EventIDJobCompleted, rpc.CallbackJobCompleted, forCallback(rpc.JobEvent{Dom: d, Params: []rpc.Param{
		{Field: "operation", Value: int32(max(slices.Index(operations, operation), 0))},
		{Field: "success", Value: outcome == "completed"},
	}})
}

func forCallback[T any](event T) func(callback int32) any {
	return func(callback int32) any { return rpc.ForCallback[T]{Callback: callback, Event: event} }
}
