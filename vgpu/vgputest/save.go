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
		i, err := h.save(m)
		if err == nil {
			h.files[path] = i
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
		i, err := h.save(m)
		if err == nil {
			m.image = &i
		}
		return err
	})
}

// save ends a VM and keeps its memory.
func (w *world) save(m *machine) (image, error) {
	i := image{m.live, m.state == domain.StatePaused}
	if err := w.stopAndCopy(m, "job 'domain save' failed"); err != nil {
		return i, err
	}
	w.publish(m, domain.EventJobCompleted, "save completed")
	w.publish(m, domain.EventShutdown, "host request")
	w.end(m, "saved", offSaved)
	return i, nil
}

// stopAndCopy stops a VM and copies its memory, unless one of its vGPUs is against it;
// failed is how libvirt says then what did.
func (w *world) stopAndCopy(m *machine, failed string) error {
	if err := w.saveDevices(m); err != nil {
		return err
	}
	if m.state == domain.StatePaused {
		return w.logDirty(m, failed)
	}
	w.publish(m, domain.EventSuspended, "paused")
	err := w.logDirty(m, failed)
	if err != nil {
		w.publish(m, domain.EventResumed, "unpaused")
	}
	return err
}

// saveDevices tells whether the drivers of a VM's vGPUs promise to save their state.
func (w *world) saveDevices(m *machine) error {
	devices, err := hostDevices(m.live)
	if err != nil {
		return err
	}
	for _, d := range devices {
		can, err := w.host.Migration(hostID(d))
		set := properties(m.live, d.Alias)
		logs := can.DirtyTracking && set["x-device-dirty-page-tracking"] != "off"
		switch {
		case err != nil || !can.StopCopy || set["enable-migration"] == "off":
			return cannotMigrate("%s: VFIO migration is not supported in kernel", hostID(d))
		case !logs && set["enable-migration"] != "on":
			return cannotMigrate("%s: VFIO device doesn't support device and IOMMU dirty tracking", hostID(d))
		}
	}
	return nil
}

func cannotMigrate(format string, args ...any) error {
	return refuse(codeOperationInvalid, domain.ErrUnsupported, "Requested operation is not valid: cannot migrate domain: "+format, args...)
}

// logDirty starts the logs of dirty pages of a VM's vGPUs, which is when some turn out
// not to work.
func (w *world) logDirty(m *machine, failed string) error {
	devices, err := hostDevices(m.live)
	if err != nil {
		return err
	}
	for _, d := range devices {
		if properties(m.live, d.Alias)["x-device-dirty-page-tracking"] != "off" && w.host.DirtyLog(hostID(d)) != nil {
			return refuse(codeOperationFailed, domain.ErrUnsupported, "operation failed: %s: ram_save_setup failed: Operation not supported", failed)
		}
	}
	return nil
}

// restore runs a VM from what was saved.
func (w *world) restore(m *machine, i image) error {
	if err := w.run(m, i.xml, runningRestored); err != nil {
		return err
	}
	w.publish(m, domain.EventStarted, "restored")
	if i.paused {
		m.state, m.lastReason = domain.StatePaused, pausedByUser
		w.publish(m, domain.EventSuspended, "restored")
	} else {
		w.publish(m, domain.EventResumed, "snapshot")
	}
	return nil
}

// Restore starts the VM in a file written by [Hypervisor.Save], which stays. xml, if not
// empty, replaces its document.
func (h *Hypervisor) Restore(ctx context.Context, path, xml string) error {
	return act(ctx, h, Call{Method: "Restore", VM: path, XML: xml}, func() error { return h.restoreFile(path, xml) })
}

func (w *world) restoreFile(path, xml string) error {
	i := w.files[path]
	if i.xml == "" {
		return refuse(codeSystem, domain.ErrNotFound, "Failed to open file '%s': No such file or directory", path)
	}
	if xml != "" {
		was, err := parse(i.xml)
		if err != nil {
			return err
		}
		is, err := parse(xml)
		if err != nil {
			return err
		}
		source, _ := was.UUID()
		if target, ok := is.UUID(); ok && target != source {
			return unsupported("Target domain uuid %s does not match source %s", target, source)
		}
		i.xml = xml
	}
	m, doc, err := w.register(i.xml)
	switch {
	case err != nil:
		return err
	case m.active():
		return wrongState("domain '%s' is already active", m.name)
	}
	i.xml = doc
	if err := w.restore(m, i); err != nil {
		w.forget(m)
		return err
	}
	return nil
}

// HasManagedSave tells whether the next start restores the VM's memory.
func (h *Hypervisor) HasManagedSave(ctx context.Context, vm string) (bool, error) {
	return ask(ctx, h, "HasManagedSave", vm, func(m *machine) (bool, error) { return m.image != nil, nil })
}

// ManagedSaveRemove throws the saved memory away: the next start boots. It does nothing
// when there is none.
func (h *Hypervisor) ManagedSaveRemove(ctx context.Context, vm string) error {
	return on(ctx, h, "ManagedSaveRemove", vm, func(m *machine) error {
		m.image = nil
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

func (w *world) hasFile(path string) bool {
	_, ok := w.files[path]
	return ok
}
