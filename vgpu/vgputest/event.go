package vgputest

import (
	"context"

	"github.com/vgpukit/vgpukit/domain"
)

// Events returns a channel of what happens to all VMs from now on, until ctx ends. Events
// of one VM come in order. When more than 1,024 wait for the reader, and when the daemon
// was away, [domain.EventReconnected] stands in their place.
func (h *Hypervisor) Events(ctx context.Context) (<-chan domain.Event, error) {
	return call(ctx, h, Call{Method: "Events"}, func() (<-chan domain.Event, error) {
		s := h.hub.Add(func(domain.Event) bool { return true }, domain.Event{Kind: domain.EventReconnected, Detail: "too many events waited for their reader"})
		return h.hub.Stream(ctx, nil, s), nil
	})
}

// publish tells everybody, and wakes who waits for a change.
func (w *world) publish(m *machine, kind domain.EventKind, detail string) {
	w.hub.Publish(domain.Event{VM: m.name, UUID: m.uuid, Kind: kind, Detail: detail})
	w.wake()
}

func (w *world) wake() {
	close(w.changed)
	w.changed = make(chan struct{})
}
