package vgputest

import (
	"context"
	"maps"
	"slices"

	"github.com/vgpukit/vgpukit/domain"
)

// Save writes the VM's memory and the state of its vGPUs to a file of the simulated host
// and stops it. [domain.ErrUnsupported]: the driver of one of its vGPUs cannot do that.
func (h *Hypervisor) Save(ctx context.Context, vm, path string) error {
	return whileActive(ctx, h, "Save", vm, func(m *machine) error {
		doc, err := h.save(m)
		if err == nil {
			h.files[path] = doc
		}
		return err
	})
}

// ManagedSave is [Hypervisor.Save] to a file that libvirt keeps and that the next
// [Hypervisor.Start] restores.
func (h *Hypervisor) ManagedSave(ctx context.Context, vm string) error {
	return whileActive(ctx, h, "ManagedSave", vm, func(m *machine) error {
		if m.saved == "" {
			return wrongState("cannot do managed save for transient domain")
		}
		doc, err := h.save(m)
		if err == nil {
			m.image = doc
		}
		return err
	})
}

// save ends a VM, and returns the document that it ran with: no guest has more memory.
func (w *world) save(m *machine) (string, error) {
	devices, err := hostDevices(m.live)
	if err != nil {
		return "", err
	}
	for _, d := range devices {
		can, err := w.host.Migration(hostID(d))
		set := properties(m.live, d.Alias)
		switch {
		case err != nil || !can.StopCopy || set["enable-migration"] == "off":
			return "", refuse(codeOperationFailed, domain.ErrUnsupported, "Operation not supported: %s: VFIO migration is not supported in kernel", hostID(d))
		case !can.DirtyTracking && set["x-device-dirty-page-tracking"] != "off":
			return "", refuse(codeOperationFailed, domain.ErrUnsupported, "operation failed: job 'save' failed: ram_save_setup failed")
		}
	}
	doc := m.live
	if m.state != domain.StatePaused {
		w.publish(m, domain.EventSuspended, "paused")
	}
	w.publish(m, domain.EventJobCompleted, "save completed")
	w.publish(m, domain.EventShutdown, "host request")
	w.end(m, "saved", offSaved)
	return doc, nil
}

// restore runs a VM from what was saved.
func (w *world) restore(m *machine, doc string) error {
	if err := w.run(m, doc, runningRestored); err != nil {
		return err
	}
	w.publish(m, domain.EventStarted, "restored")
	w.publish(m, domain.EventResumed, "snapshot")
	return nil
}

// Restore starts the VM in a file written by [Hypervisor.Save], which stays. xml, if not
// empty, replaces its document.
func (h *Hypervisor) Restore(ctx context.Context, path, xml string) error {
	return act(ctx, h, "Restore", path, func() error {
		doc := h.files[path]
		if doc == "" {
			return refuse(codeSystem, domain.ErrNotFound, "Failed to open file '%s': No such file or directory", path)
		}
		if xml != "" {
			doc = xml
		}
		m, doc, err := h.register(doc)
		switch {
		case err != nil:
			return err
		case m.active():
			return wrongState("domain '%s' is already active", m.name)
		}
		if err := h.restore(m, doc); err != nil {
			h.forget(m)
			return err
		}
		return nil
	})
}

// HasManagedSave tells whether the next start restores the VM's memory.
func (h *Hypervisor) HasManagedSave(ctx context.Context, vm string) (bool, error) {
	return ask(ctx, h, "HasManagedSave", vm, func(m *machine) (bool, error) { return m.image != "", nil })
}

// ManagedSaveRemove throws the saved memory away: the next start boots. It does nothing
// when there is none.
func (h *Hypervisor) ManagedSaveRemove(ctx context.Context, vm string) error {
	return on(ctx, h, "ManagedSaveRemove", vm, func(m *machine) error {
		m.image = ""
		return nil
	})
}

// Files lists the files that libvirt has on the simulated host: saved VMs, and the
// variables of firmware.
func (h *Hypervisor) Files() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Sorted(maps.Keys(h.files))
}
