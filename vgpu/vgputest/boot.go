package vgputest

import (
	"slices"

	"github.com/vgpukit/vgpukit/domain"
)

// OnBoot calls f at each reboot of the host after its VMs have ended and before libvirt
// is up, until it is taken out again: what a service does that is ordered before libvirt,
// such as to make the vGPUs of VMs that start with the host.
func (h *Hypervisor) OnBoot(f func()) (remove func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.onBoot = append(h.onBoot, &f)
	return func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.onBoot = slices.DeleteFunc(h.onBoot, func(other *func()) bool { return other == &f })
	}
}

// boot is what a reboot of the host does: all VMs have ended, transient ones are gone,
// and libvirt starts, unless it is set down.
func (w *world) boot() {
	w.mu.Lock()
	for _, m := range w.sorted() {
		if m.active() {
			m.off(offUnknown)
			w.forget(m)
		}
	}
	w.lastID, w.autostarted = 0, false
	w.booting++
	w.breakConnections()
	before := slices.Clone(w.onBoot)
	w.mu.Unlock()
	for _, f := range before {
		(*f)()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.booting--
	w.restart()
}

// away tells whether there is no daemon.
func (w *world) away() bool { return w.down || w.booting > 0 }

// RestartDaemon ends libvirt's daemon and starts it again, also one that is down: VMs run
// on, connections break and are made anew, and events in between are lost.
func (h *Hypervisor) RestartDaemon() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.down = false
	h.restart()
}

// SetDown stops the daemon, or starts it again. Meanwhile VMs run on, and each call fails
// with [domain.ErrUnavailable]. VMs that are set to start with a host that was rebooted
// start when the daemon does.
func (h *Hypervisor) SetDown(down bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.down = down; down {
		h.breakConnections()
	} else {
		h.restart()
	}
}

// restart is the start of a daemon, the first after a reboot too.
func (w *world) restart() {
	w.breakConnections()
	if w.away() {
		return
	}
	w.hub.Publish(domain.Event{Kind: domain.EventReconnected, Detail: "connection restored"})
	if w.autostarted {
		return
	}
	w.autostarted = true
	for _, m := range w.sorted() {
		if m.autostart {
			_ = w.start(m) // libvirt logs it, and starts the others
		}
	}
}

// breakConnections ends those of other processes, and the waits of calls.
func (w *world) breakConnections() {
	close(w.restarted)
	w.restarted = make(chan struct{})
	w.wake()
}
