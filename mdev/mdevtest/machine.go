package mdevtest

import (
	"strings"

	"github.com/google/uuid"

	"github.com/vgpukit/vgpukit/mdev"
)

// newMachine makes up the ids of a machine.
func newMachine() mdev.Machine {
	return mdev.Machine{ID: strings.ReplaceAll(uuid.NewString(), "-", ""), DMI: uuid.NewString()}
}

// SetMachine gives the host other ids than its own random ones: /etc/machine-id and the
// firmware's product UUID, as they are to be read. An empty one takes the file away.
func (h *Host) SetMachine(m mdev.Machine) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.machine = m
	h.showDMI()
	etc := h.dir(h.root, "etc")
	etc.drop("machine-id")
	if m.ID != "" {
		h.disk(etc, "machine-id", m.ID+"\n", 0o444)
	}
}

// showDMI shows the firmware's id.
func (h *Host) showDMI() {
	dir := h.dir(h.root, "sys/class/dmi/id")
	dir.drop("product_uuid")
	if h.machine.DMI != "" {
		h.text(dir, "product_uuid", h.machine.DMI+"\n").mode = 0o400
	}
}
