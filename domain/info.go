package domain

import "github.com/google/uuid"

// State is what a domain does at the moment, in virsh's words.
type State string

// The states of a domain. libvirt's "no state" and "blocked" (the guest waits
// for a resource) are StateRunning.
const (
	StateRunning      State = "running"
	StatePaused       State = "paused"
	StateShuttingDown State = "in shutdown"
	StateShutOff      State = "shut off"
	StateCrashed      State = "crashed"
	StateSuspended    State = "pmsuspended"
)

// Active tells whether the domain has a QEMU process, and so holds its vGPUs.
func (s State) Active() bool {
	switch s {
	case StateRunning, StatePaused, StateShuttingDown, StateSuspended:
		return true
	}
	return false
}

// Info is what a hypervisor knows of a domain at one moment.
type Info struct {
	Name       string    `json:"name"`
	UUID       uuid.UUID `json:"uuid"`
	ID         int       `json:"id,omitempty"` // libvirt's number of this run, another at each start; 0: it does not run
	State      State     `json:"state"`
	Persistent bool      `json:"persistent"` // defined, and so still there when stopped
}

// Definition is a domain with its document, which holds secrets such as a VNC
// password: keep it out of logs.
type Definition struct {
	Info
	XML string `json:"xml"`
}

// EventKind says what happened to a domain.
type EventKind string

// What can happen to a domain.
const (
	EventDefined       EventKind = "defined"
	EventUndefined     EventKind = "undefined"
	EventStarted       EventKind = "started"
	EventSuspended     EventKind = "suspended"
	EventResumed       EventKind = "resumed"
	EventStopped       EventKind = "stopped"
	EventShutdown      EventKind = "shutdown" // the guest has finished, QEMU has not
	EventCrashed       EventKind = "crashed"
	EventDeviceAdded   EventKind = "device-added"
	EventDeviceRemoved EventKind = "device-removed"
	EventJobCompleted  EventKind = "job-completed"
	// EventReconnected: the connection was lost and is there again. Events in
	// between are lost: look at what there is.
	EventReconnected EventKind = "reconnected"
)

// Event is something that happened to a domain.
type Event struct {
	VM     string    `json:"vm"` // the domain's name; empty for EventReconnected
	UUID   uuid.UUID `json:"uuid"`
	Kind   EventKind `json:"kind"`
	Detail string    `json:"detail,omitempty"` // the device's alias, or why: "destroyed", "migrated"
}

// ShutdownMode is a way to ask a guest to shut down.
type ShutdownMode string

// The ways to ask a guest.
const (
	ShutdownAny   ShutdownMode = ""      // libvirt tries the agent, if the guest has one, then the power button
	ShutdownACPI  ShutdownMode = "acpi"  // the power button
	ShutdownAgent ShutdownMode = "agent" // the QEMU guest agent
)

// UndefineOptions says what goes together with a definition. libvirt refuses
// to undefine a domain that has one of these unless told what to do with it.
type UndefineOptions struct {
	ManagedSave         bool `json:"managed_save,omitempty"`         // remove the saved memory
	NVRAM               bool `json:"nvram,omitempty"`                // remove the firmware's variables
	KeepNVRAM           bool `json:"keep_nvram,omitempty"`           // keep them; not together with NVRAM
	SnapshotsMetadata   bool `json:"snapshots_metadata,omitempty"`   // forget the snapshots, keep their disks
	CheckpointsMetadata bool `json:"checkpoints_metadata,omitempty"` // forget the checkpoints
}

// Scope says which of a domain's two documents a device is attached to or
// detached from; the two can be joined: ScopeLive|ScopeSaved.
type Scope uint8

// The documents of a domain.
const (
	ScopeLive  Scope = 1 << iota // the running domain
	ScopeSaved                   // its saved definition, from which it is started
)
