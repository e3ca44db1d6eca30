package vgputest

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"syscall"

	"github.com/vgpukit/vgpukit/domain"
	"github.com/vgpukit/vgpukit/internal/devicexml"
)

// Start starts a defined VM, or restores it when it has a managed save. It opens the
// VM's vGPUs. [domain.ErrNotFound] also when one of these does not exist,
// [domain.ErrInUse] when another VM has one.
func (h *Hypervisor) Start(ctx context.Context, vm string) error {
	return on(ctx, h, "Start", vm, func(m *machine) error { return h.start(m) })
}

func (w *world) start(m *machine) error {
	if m.active() {
		return wrongState("domain is already running")
	}
	if m.image != nil {
		if err := w.restore(m, *m.image); err != nil {
			return err
		}
		m.image = nil
		return nil
	}
	return w.bootVM(m, m.saved)
}

// bootVM starts a VM afresh.
func (w *world) bootVM(m *machine, doc string) error {
	if err := w.run(m, doc, runningBooted); err != nil {
		return err
	}
	w.publish(m, domain.EventResumed, "unpaused")
	w.publish(m, domain.EventStarted, "booted")
	return nil
}

var pflash = regexp.MustCompile(`\btype\s*=\s*["']pflash["']`)

// nvram is the path of the file with its firmware's variables, "" if it has none.
func (m *machine) nvram() string {
	if s, ok := locate(m.next(), "domain/os/nvram"); ok && s.inner < s.innerEnd {
		return m.next()[s.inner:s.innerEnd]
	}
	loader, _ := locate(m.next(), "domain/os/loader")
	if hasElement(m.next(), "domain/os/nvram") || pflash.MatchString(m.next()[loader.start:loader.inner]) {
		return "/var/lib/libvirt/qemu/nvram/" + m.name + "_VARS.fd"
	}
	return ""
}

// run starts QEMU: it opens the devices of the document.
func (w *world) run(m *machine, doc string, why reason) error {
	live, err := running(doc, w.lastID+1)
	if err != nil {
		return err
	}
	devices, err := hostDevices(live)
	if err != nil {
		return err
	}
	m.pid = int(lastPID.Add(1))
	m.open, m.leaving = map[string]func(){}, map[string]bool{}
	for _, d := range devices {
		err := w.openDevice(m, d, exited)
		if err == nil && properties(live, d.Alias)["enable-migration"] == "on" {
			err = w.needMigration(hostID(d))
		}
		if err != nil {
			m.close()
			return err
		}
	}
	w.lastID++
	m.id, m.live, m.state, m.lastReason = w.lastID, live, domain.StateRunning, why
	if path := m.nvram(); path != "" {
		w.files[path] = image{}
	}
	return nil
}

// exited is how libvirt passes on what QEMU said before it ended.
const exited = "process exited while connecting to monitor: qemu-system-x86_64: -device vfio-pci"

// openDevice opens a vGPU for a VM, with libvirt's refusals, and QEMU's in the words with
// which libvirt passes them on.
func (w *world) openDevice(m *machine, d devicexml.Device, passedOn string) error {
	id := hostID(d)
	kind := "mediated device /sys/bus/mdev/devices/"
	if d.UUID == "" {
		kind = "PCI device "
	}
	if owner := w.holder(id); owner != nil {
		return refuse(codeOperationInvalid, domain.ErrInUse, "Requested operation is not valid: %s%s is in use by driver QEMU, domain %s", kind, id, owner.name)
	}
	release, err := w.host.Use(id, m.name, m.pid)
	if err == nil {
		m.open[id] = release
		return nil
	}
	qemu := func(kind error, format string, args ...any) error {
		return refuse(codeInternal, kind, "internal error: "+passedOn+": "+format, args...)
	}
	group, _ := w.host.Group(id)
	switch {
	case errors.Is(err, syscall.ENOENT) && d.UUID != "":
		return refuse(codeDeviceMissing, domain.ErrNotFound, "device not found: mediated device '%s' not found", id)
	case errors.Is(err, syscall.ENOENT):
		return refuse(codeSystem, domain.ErrNotFound, "Device %s not found: could not access /sys/bus/pci/devices/%s/config: No such file or directory", id, id)
	case errors.Is(err, syscall.EBUSY):
		return qemu(domain.ErrInUse, "vfio %s: Could not open '/dev/vfio/%d': Device or resource busy", id, group)
	}
	hint := ""
	if passedOn == exited {
		hint = fmt.Sprintf("\nVerify all devices in group %d are bound to vfio-<bus> or pci-stub and not already in use", group)
	}
	var why error // EIO: nobody says why
	if errors.Is(err, syscall.ENODEV) {
		why = domain.ErrNotFound // a virtual function without a type
	}
	return qemu(why, "vfio %s: error getting device from group %d: %s%s", id, group, strerror(err), hint)
}

// needMigration is QEMU's refusal of a device that is told to migrate and cannot.
func (w *world) needMigration(id string) error {
	if can, err := w.host.Migration(id); err == nil && can.StopCopy {
		return nil
	}
	return refuse(codeInternal, domain.ErrUnsupported, "internal error: %s: vfio %s: %s: VFIO migration is not supported in kernel", exited, id, id)
}

// holder is the VM that has a device open.
func (w *world) holder(id string) *machine {
	for _, m := range w.machines {
		if m.open[id] != nil {
			return m
		}
	}
	return nil
}

// strerror is what C says of an error.
func strerror(err error) string {
	var errno syscall.Errno
	if !errors.As(err, &errno) {
		return err.Error()
	}
	text := errno.Error()
	return strings.ToUpper(text[:1]) + text[1:]
}

// close lets go of all devices.
func (m *machine) close() {
	for _, release := range m.open {
		release()
	}
	m.open, m.leaving = nil, nil
}

// off is a machine whose QEMU is no more.
func (m *machine) off(why reason) {
	m.close()
	m.state, m.lastReason, m.live, m.id, m.pid = domain.StateShutOff, why, "", 0, 0
}

// end is the end of a VM's QEMU.
func (w *world) end(m *machine, detail string, why reason) {
	m.off(why)
	w.publish(m, domain.EventStopped, detail)
	w.forget(m)
}

// whileActive is on for what needs a VM that runs, or is paused.
func whileActive(ctx context.Context, h *Hypervisor, method, vm string, do func(*machine) error) error {
	return on(ctx, h, method, vm, func(m *machine) error {
		if !m.active() {
			return wrongState("domain is not running")
		}
		return do(m)
	})
}

// Shutdown asks the guest to power off. See [Guest] for what it does.
func (h *Hypervisor) Shutdown(ctx context.Context, vm string, mode domain.ShutdownMode) error {
	return whileActive(ctx, h, "Shutdown", vm, func(m *machine) error {
		agent := hasAgent(m.live)
		guest := h.guest(m)
		switch {
		case mode == domain.ShutdownAgent && !agent:
			return refuse(codeArgumentUnsupported, domain.ErrUnsupported, "argument unsupported: QEMU guest agent is not configured")
		case mode == domain.ShutdownAgent && guest.Deaf:
			return refuse(codeAgent, domain.ErrState, "Guest agent is not responding: QEMU guest agent is not connected")
		case m.state != domain.StateRunning:
			return wrongState("domain is not running")
		case !guest.Deaf:
			h.powerOff(m)
		}
		return nil
	})
}

func (w *world) powerOff(m *machine) {
	w.publish(m, domain.EventShutdown, "guest request")
	w.end(m, "shutdown", offShutdown)
}

// PowerOff lets the guest shut itself down.
func (h *Hypervisor) PowerOff(ctx context.Context, vm string) error {
	return whileActive(ctx, h, "PowerOff", vm, func(m *machine) error {
		h.powerOff(m)
		return nil
	})
}

// Crash lets QEMU die, as when somebody kills it.
func (h *Hypervisor) Crash(ctx context.Context, vm string) error {
	return whileActive(ctx, h, "Crash", vm, func(m *machine) error {
		h.end(m, "failed", offCrashed)
		return nil
	})
}

// Terminate ends QEMU with SIGTERM, and fails if it does not end.
func (h *Hypervisor) Terminate(ctx context.Context, vm string) error {
	return whileActive(ctx, h, "Terminate", vm, func(m *machine) error {
		if h.guest(m).IgnoresSIGTERM {
			return notEnded(m, "SIGTERM")
		}
		h.publish(m, domain.EventShutdown, "host request")
		h.end(m, "destroyed", offDestroyed)
		return nil
	})
}

// Destroy ends QEMU, with SIGKILL where SIGTERM does not help.
func (h *Hypervisor) Destroy(ctx context.Context, vm string) error {
	return whileActive(ctx, h, "Destroy", vm, func(m *machine) error {
		if h.guest(m).IgnoresSIGKILL {
			return notEnded(m, "SIGKILL")
		}
		h.publish(m, domain.EventShutdown, "host request")
		h.end(m, "destroyed", offDestroyed)
		return nil
	})
}

func notEnded(m *machine, signal string) error {
	return refuse(codeSystem, domain.ErrState, "Failed to terminate process %d with %s: Device or resource busy", m.pid, signal)
}

// Suspend stops the virtual CPUs; the VM keeps its memory and its vGPUs.
func (h *Hypervisor) Suspend(ctx context.Context, vm string) error {
	return whileActive(ctx, h, "Suspend", vm, func(m *machine) error {
		if m.state != domain.StatePaused {
			m.state, m.lastReason = domain.StatePaused, pausedByUser
			h.publish(m, domain.EventSuspended, "paused")
		}
		return nil
	})
}

// Resume lets a suspended VM run on.
func (h *Hypervisor) Resume(ctx context.Context, vm string) error {
	return whileActive(ctx, h, "Resume", vm, func(m *machine) error {
		if m.state == domain.StateRunning {
			return wrongState("domain is already running")
		}
		m.state, m.lastReason = domain.StateRunning, runningUnpaused
		h.publish(m, domain.EventResumed, "unpaused")
		return nil
	})
}

// Reset is the reset button: the VM keeps its vGPUs, and what a guest was asked to let
// go leaves it now.
func (h *Hypervisor) Reset(ctx context.Context, vm string) error {
	return whileActive(ctx, h, "Reset", vm, func(m *machine) error {
		for alias := range m.leaving {
			h.leave(m, alias)
		}
		return nil
	})
}
