//go:build cgo

package virt

import (
	"context"
	"errors"

	"github.com/google/uuid"
	"libvirt.org/go/libvirt"

	"github.com/vgpukit/vgpukit/domain"
	"github.com/vgpukit/vgpukit/internal/fanout"
)

// Events returns a channel of what happens to all VMs from now on. Events of one
// VM come in libvirt's order. The channel is closed when the context ends or
// the Conn is closed; cancel the context when the channel is read no more.
//
// After a lost connection, and when more than 1,024 events wait for the reader,
// some are lost: [domain.EventReconnected] stands in their place, and the
// reader looks at what there is. Drivers that lack a kind of event (the test
// driver has only those of the life cycle) just never send it.
func (c *Conn) Events(ctx context.Context) (<-chan domain.Event, error) {
	s, err := c.listen(ctx, func(domain.Event) bool { return true })
	if err != nil {
		return nil, err
	}
	return c.hub.Stream(ctx, c.done, s), nil
}

// listen queues the events that want accepts, from before it returns. The
// caller removes the subscriber from the hub.
func (c *Conn) listen(ctx context.Context, want func(domain.Event) bool) (*fanout.Subscriber[domain.Event], error) {
	// First, so that a connection opened meanwhile has them too.
	s := c.hub.Add(func(e domain.Event) bool { return e.Kind == domain.EventReconnected || want(e) },
		reconnected("too many events waited for their reader"))
	err := do(ctx, c, "listen to", c.uri, reads, func(l *link) error { return l.subscribe(&c.hub) })
	if err != nil {
		c.hub.Remove(s)
		return nil, err
	}
	return s, nil
}

// reconnected stands for events that were lost.
func reconnected(why string) domain.Event {
	return domain.Event{Kind: domain.EventReconnected, Detail: why}
}

// subscribe registers with libvirt, once in the life of the link. The callbacks
// run on the event loop: they only read what the handle holds, and queue.
func (l *link) subscribe(h *fanout.Hub[domain.Event]) error {
	l.eventMu.Lock()
	defer l.eventMu.Unlock()
	if len(l.callbacks) > 0 {
		return nil
	}
	publish := func(d *libvirt.Domain, kind domain.EventKind, detail string) {
		e := domain.Event{Kind: kind, Detail: detail}
		e.VM, _ = d.GetName()
		if id, err := d.GetUUIDString(); err == nil {
			e.UUID, _ = uuid.Parse(id)
		}
		h.Publish(e)
	}
	id, err := l.conn.DomainEventLifecycleRegister(nil, func(_ *libvirt.Connect, d *libvirt.Domain, e *libvirt.DomainEventLifecycle) {
		if kind, detail, ok := lifecycle(e); ok {
			publish(d, kind, detail)
		}
	})
	if err != nil {
		return err
	}
	l.callbacks = append(l.callbacks, id)
	optional := []func() (int, error){
		func() (int, error) {
			return l.conn.DomainEventDeviceAddedRegister(nil, func(_ *libvirt.Connect, d *libvirt.Domain, e *libvirt.DomainEventDeviceAdded) {
				publish(d, domain.EventDeviceAdded, e.DevAlias)
			})
		},
		func() (int, error) {
			return l.conn.DomainEventDeviceRemovedRegister(nil, func(_ *libvirt.Connect, d *libvirt.Domain, e *libvirt.DomainEventDeviceRemoved) {
				publish(d, domain.EventDeviceRemoved, e.DevAlias)
			})
		},
		func() (int, error) {
			return l.conn.DomainEventDeviceRemovalFailedRegister(nil, func(_ *libvirt.Connect, d *libvirt.Domain, e *libvirt.DomainEventDeviceRemovalFailed) {
				publish(d, eventRemovalFailed, e.DevAlias)
			})
		},
		func() (int, error) {
			return l.conn.DomainEventJobCompletedRegister(nil, func(_ *libvirt.Connect, d *libvirt.Domain, e *libvirt.DomainEventJobCompleted) {
				publish(d, domain.EventJobCompleted, jobOutcome(&e.Info))
			})
		},
	}
	for _, register := range optional {
		id, err := register()
		switch {
		case err == nil:
			l.callbacks = append(l.callbacks, id)
		case errors.Is(err, libvirt.ERR_NO_SUPPORT), errors.Is(err, libvirt.ERR_ARGUMENT_UNSUPPORTED), errors.Is(err, libvirt.ERR_INVALID_ARG):
		default:
			l.drop()
			return err
		}
	}
	return nil
}

func (l *link) unsubscribe() {
	l.eventMu.Lock()
	defer l.eventMu.Unlock()
	l.drop()
}

func (l *link) drop() {
	for _, id := range l.callbacks {
		_ = l.conn.DomainEventDeregister(id)
	}
	l.callbacks = nil
}
