package vgputest

import "strings"

// Guest is how a VM behaves. By default its guest powers off when it is asked, and lets
// go of a device at once, and its QEMU ends on SIGTERM.
type Guest struct {
	// Deaf: the guest ignores the power button, and keeps devices until it is reset.
	Deaf bool
	// IgnoresSIGTERM: QEMU waits for a driver or for storage, and only SIGKILL ends it.
	IgnoresSIGTERM bool
	// IgnoresSIGKILL: nor does that.
	IgnoresSIGKILL bool
}

// SetGuest says how a VM behaves from now on, whether it runs or not; vm is its name, or
// "" for all others.
func (h *Hypervisor) SetGuest(vm string, g Guest) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.guests[vm] = g
}

func (w *world) guest(m *machine) Guest {
	if g, ok := w.guests[m.name]; ok {
		return g
	}
	return w.guests[""]
}

// hasAgent tells whether the VM has a channel to a guest agent.
func hasAgent(doc string) bool {
	return hasElement(doc, "domain/devices/channel") && strings.Contains(doc, "org.qemu.guest_agent.0")
}
