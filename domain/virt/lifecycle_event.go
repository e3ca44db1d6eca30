//go:build cgo

package virt

import (
	"libvirt.org/go/libvirt"

	"github.com/vgpukit/vgpukit/domain"
)

// eventRemovalFailed: QEMU reports that the guest refused to let a device go.
const eventRemovalFailed domain.EventKind = "device-removal-failed"

// kinds names libvirt's life cycle events, and what virsh calls their details,
// by number. See https://libvirt.org/html/libvirt-libvirt-domain.html#virDomainEventType
var kinds = map[libvirt.DomainEventType]struct {
	kind    domain.EventKind
	details []string
}{
	libvirt.DOMAIN_EVENT_DEFINED:   {domain.EventDefined, []string{"added", "updated", "renamed", "snapshot"}},
	libvirt.DOMAIN_EVENT_UNDEFINED: {domain.EventUndefined, []string{"removed", "renamed"}},
	libvirt.DOMAIN_EVENT_STARTED: {
		domain.EventStarted,
		[]string{"booted", "migrated", "restored", "snapshot", "wakeup", "recreated"},
	},
	libvirt.DOMAIN_EVENT_SUSPENDED: {
		domain.EventSuspended,
		[]string{"paused", "migrated", "i/o error", "watchdog", "restored", "snapshot", "api error", "post-copy", "post-copy error", "guest shutdown"},
	},
	libvirt.DOMAIN_EVENT_RESUMED: {
		domain.EventResumed,
		[]string{"unpaused", "migrated", "snapshot", "post-copy", "post-copy failed"},
	},
	libvirt.DOMAIN_EVENT_STOPPED: {
		domain.EventStopped,
		[]string{"shutdown", "destroyed", "crashed", "migrated", "saved", "failed", "snapshot", "recreated"},
	},
	libvirt.DOMAIN_EVENT_SHUTDOWN:    {domain.EventShutdown, []string{"finished", "guest request", "host request"}},
	libvirt.DOMAIN_EVENT_PMSUSPENDED: {domain.EventSuspended, []string{"guest suspended to memory", "guest suspended to disk"}},
	libvirt.DOMAIN_EVENT_CRASHED:     {domain.EventCrashed, []string{"panicked", "crashloaded"}},
}

// lifecycle translates an event; ok is false for a kind that came after this
// was written.
func lifecycle(e *libvirt.DomainEventLifecycle) (kind domain.EventKind, detail string, ok bool) {
	k, ok := kinds[e.Event]
	if !ok {
		return "", "", false
	}
	if e.Detail >= 0 && e.Detail < len(k.details) {
		detail = k.details[e.Detail]
	}
	return k.kind, detail, true
}
