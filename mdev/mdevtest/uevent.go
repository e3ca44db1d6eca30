package mdevtest

import (
	"context"
	"maps"
	"strings"

	"github.com/vgpukit/vgpukit/mdev"
)

// watcherBuffer is how many events wait for a slow receiver.
const watcherBuffer = 256

type watcher struct {
	events chan mdev.Uevent
	lost   bool
}

// Uevents implements [mdev.WatchFS].
func (h *Host) Uevents(ctx context.Context) (<-chan mdev.Uevent, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	w := &watcher{events: make(chan mdev.Uevent, watcherBuffer)}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.watchers[w] = struct{}{}
	context.AfterFunc(ctx, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		delete(h.watchers, w)
		close(w.events)
	})
	return w.events, nil
}

// LoseUevents loses one event for every receiver, as a full socket buffer
// does: the next event that they get has Lost set.
func (h *Host) LoseUevents() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for w := range h.watchers {
		w.lost = true
	}
}

// uevent tells all watchers of an action on a device's node.
func (h *Host) uevent(action string, n *node, env ...string) {
	if len(h.watchers) == 0 {
		return
	}
	e := mdev.Uevent{Action: action, Path: strings.TrimPrefix(n.path(), "sys"), Env: map[string]string{}}
	e.Env["ACTION"], e.Env["DEVPATH"] = action, e.Path
	for _, pair := range env {
		key, value, _ := strings.Cut(pair, "=")
		e.Env[key] = value
	}
	for w := range h.watchers {
		one := e
		one.Env, one.Lost = maps.Clone(e.Env), w.lost
		select {
		case w.events <- one:
			w.lost = false
		default:
			w.lost = true
		}
	}
}
