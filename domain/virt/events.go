//go:build cgo

package virt

import (
	"context"
	"errors"
	"sync"

	"github.com/google/uuid"
	"libvirt.org/go/libvirt"

	"github.com/vgpukit/vgpukit/domain"
)

// eventQueue is how many events wait for a slow reader before they are dropped.
const eventQueue = 1024

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
	out := make(chan domain.Event)
	go func() {
		defer close(out)
		defer c.hub.remove(s)
		for {
			select {
			case <-s.ready:
			case <-ctx.Done():
				return
			case <-c.done:
				return
			}
			for _, e := range s.take() {
				select {
				case out <- e:
				case <-ctx.Done():
					return
				case <-c.done:
					return
				}
			}
		}
	}()
	return out, nil
}

// listen queues the events that want accepts, from before it returns. The
// caller removes the subscriber from the hub.
func (c *Conn) listen(ctx context.Context, want func(domain.Event) bool) (*subscriber, error) {
	s := &subscriber{want: want, ready: make(chan struct{}, 1)}
	c.hub.add(s) // first, so that a connection opened meanwhile has them too
	err := do(ctx, c, "listen to", c.uri, reads, func(l *link) error { return l.subscribe(&c.hub) })
	if err != nil {
		c.hub.remove(s)
		return nil, err
	}
	return s, nil
}

// A hub gives each event to each subscriber.
type hub struct {
	mu   sync.Mutex
	subs map[*subscriber]struct{}
}

// A subscriber has a queue of its own, so that nobody waits for its reader: not
// libvirt's event loop, and no other subscriber.
type subscriber struct {
	want  func(domain.Event) bool
	ready chan struct{} // holds one token while the queue is not empty

	mu    sync.Mutex
	queue []domain.Event
}

func (h *hub) add(s *subscriber) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.subs == nil {
		h.subs = make(map[*subscriber]struct{})
	}
	h.subs[s] = struct{}{}
}

func (h *hub) remove(s *subscriber) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.subs, s)
}

func (h *hub) wanted() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.subs) > 0
}

func (h *hub) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.subs = nil
}

func (h *hub) publish(e domain.Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for s := range h.subs {
		s.put(e)
	}
}

func (h *hub) reconnected(why string) {
	h.publish(domain.Event{Kind: domain.EventReconnected, Detail: why})
}

func (s *subscriber) put(e domain.Event) {
	if e.Kind != domain.EventReconnected && !s.want(e) {
		return
	}
	s.mu.Lock()
	if len(s.queue) >= eventQueue {
		s.queue = []domain.Event{{Kind: domain.EventReconnected, Detail: "too many events waited for their reader"}}
	}
	s.queue = append(s.queue, e)
	s.mu.Unlock()
	select {
	case s.ready <- struct{}{}:
	default:
	}
}

func (s *subscriber) take() []domain.Event {
	s.mu.Lock()
	defer s.mu.Unlock()
	events := s.queue
	s.queue = nil
	return events
}

// subscribe registers with libvirt, once in the life of the link. The callbacks
// run on the event loop: they only read what the handle holds, and queue.
func (l *link) subscribe(h *hub) error {
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
		h.publish(e)
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
