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
// and libvirt starts those that are set to start with the host.
func (w *world) boot() {
	w.mu.Lock()
	for _, m := range w.machines {
		if m.active() {
			m.close()
			m.state, m.lastReason, m.live, m.id, m.pid = domain.StateShutOff, offUnknown, "", 0, 0
			w.forget(m)
		}
	}
	w.lastID = 0
	down := w.down
	w.down = true
	w.breakConnections()
	before := slices.Clone(w.onBoot)
	w.mu.Unlock()
	for _, f := range before {
		(*f)()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.down = down; down {
		return
	}
	w.restart()
	for _, m := range w.sorted() {
		if m.autostart {
			_ = w.start(m) // libvirt logs it, and starts the others
		}
	}
}

// RestartDaemon ends libvirt's daemon and starts it again: VMs run on, connections break
// and are made anew, and events in between are lost.
func (h *Hypervisor) RestartDaemon() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.restart()
}

// SetDown stops the daemon, or starts it again. Meanwhile VMs run on, and each call fails
// with [domain.ErrUnavailable].
func (h *Hypervisor) SetDown(down bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.down = down; down {
		h.breakConnections()
	} else {
		h.restart()
	}
}

func (w *world) restart() {
	w.breakConnections()
	w.hub.Publish(domain.Event{Kind: domain.EventReconnected, Detail: "connection restored"})
}

// breakConnections ends those of other processes.
func (w *world) breakConnections() {
	close(w.restarted)
	w.restarted = make(chan struct{})
}
