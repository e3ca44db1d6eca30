package vgputest

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/vgpukit/vgpukit/domain"
)

// snapshot is the definition that a VM had, under a name.
type snapshot struct {
	name, xml string
	live      string // the document that the VM ran with; empty: it was off
	parent    string // the one that it was made from; empty: none
	state     domain.State
	created   time.Time
}

// Snapshot keeps under a name what the VM is: its definition, and that it runs. Disks are
// not simulated, but a VM without any has no snapshots. [domain.ErrUnsupported]: it runs,
// and the driver of one of its vGPUs cannot save its state.
func (h *Hypervisor) Snapshot(ctx context.Context, vm, name string) error {
	return on(ctx, h, "Snapshot", vm, func(m *machine) error {
		switch {
		case name == "":
			return refuse(0, domain.ErrInvalid, "the snapshot has no name")
		case strings.Contains(name, "/"):
			return refuse(codeXMLDetail, domain.ErrInvalid, "invalid snapshot name '%s': name can't contain '/'", name)
		case name[0] == '.':
			return refuse(codeXMLDetail, domain.ErrInvalid, "invalid snapshot name '%s': name can't start with '.'", name)
		case !hasElement(m.current(), "domain/devices/disk"):
			return unsupported("nothing selected for snapshot")
		case m.snapshot(name) >= 0:
			return refuse(codeOperationFailed, domain.ErrExists, "operation failed: domain moment %s already exists", name)
		}
		if m.active() {
			if err := h.stopAndCopy(m, "snapshot-save job failed"); err != nil {
				return err
			}
			if m.state == domain.StateRunning {
				h.publish(m, domain.EventResumed, "unpaused")
			}
		}
		m.snapshots = append(m.snapshots, snapshot{name, m.next(), m.live, m.lastSnapshot, m.state, time.Now()})
		m.lastSnapshot = name
		return nil
	})
}

// Revert makes a VM what it was at a snapshot: off with that definition, or running from
// that moment.
func (h *Hypervisor) Revert(ctx context.Context, vm, name string) error {
	return on(ctx, h, "Revert", vm, func(m *machine) error {
		i := m.snapshot(name)
		if i < 0 {
			return refuse(codeNoSnapshot, domain.ErrNotFound, "Domain snapshot not found: no domain snapshot with matching name '%s'", name)
		}
		s := m.snapshots[i]
		if m.image != nil && s.live == "" {
			return refuse(codeRevertRisky, domain.ErrState, "revert requires force: snapshot without memory state, removal of existing managed saved state strongly recommended to avoid corruption")
		}
		persistent := m.saved != ""
		if !persistent && s.live == "" {
			return wrongState("transient domain needs to request run or pause to revert to inactive snapshot")
		}
		if m.active() {
			h.publish(m, domain.EventShutdown, "host request")
			h.end(m, "snapshot", offSnapshot)
		}
		if s.live != "" {
			h.remember(m) // one without a definition was gone for a moment
			if err := h.runFrom(m, s); err != nil {
				h.forget(m)
				return err
			}
		}
		if m.lastSnapshot = name; persistent {
			m.saved = withName(s.xml, m.name)
			h.publish(m, domain.EventDefined, "snapshot")
		}
		return nil
	})
}

// runFrom runs a VM from the moment of a snapshot.
func (w *world) runFrom(m *machine, s snapshot) error {
	if err := w.run(m, withName(s.live, m.name), runningFromSnapshot); err != nil {
		return err
	}
	w.publish(m, domain.EventStarted, "snapshot")
	if m.state = s.state; m.state == domain.StatePaused {
		m.lastReason = pausedFromSnapshot
		w.publish(m, domain.EventSuspended, "snapshot")
	} else {
		w.publish(m, domain.EventResumed, "snapshot")
	}
	return nil
}

// Snapshots lists the names of a VM's snapshots.
func (h *Hypervisor) Snapshots(ctx context.Context, vm string) ([]string, error) {
	return ask(ctx, h, "Snapshots", vm, func(m *machine) ([]string, error) {
		names := []string{}
		for _, s := range m.snapshots {
			names = append(names, s.name)
		}
		slices.Sort(names)
		return names, nil
	})
}

func (m *machine) snapshot(name string) int {
	return slices.IndexFunc(m.snapshots, func(s snapshot) bool { return s.name == name })
}
