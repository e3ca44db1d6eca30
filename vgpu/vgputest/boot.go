package vgputest

import "github.com/vgpukit/vgpukit/domain"

// boot is what a reboot of the host does: all VMs have ended, transient ones are gone,
// and libvirt starts those that are set to start with the host. What is to happen before
// that, such as making their vGPUs, is asked for by mdevtest's OnReboot before [New].
func (w *world) boot() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, m := range w.machines {
		if m.active() {
			m.close()
			m.state, m.lastReason, m.live, m.id, m.pid = domain.StateShutOff, offUnknown, "", 0, 0
			w.forget(m)
		}
	}
	w.lastID = 0
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
