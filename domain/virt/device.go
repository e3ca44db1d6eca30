//go:build cgo

package virt

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"libvirt.org/go/libvirt"

	"github.com/vgpukit/vgpukit/domain"
	"github.com/vgpukit/vgpukit/internal/devicexml"
	"github.com/vgpukit/vgpukit/internal/fanout"
)

const (
	// detachLimit bounds Detach's wait for the guest when ctx has no deadline.
	detachLimit = 30 * time.Second
	// detachPoll is how often the document is looked at, should an event be lost.
	detachPoll = 500 * time.Millisecond
)

// Attach adds a device to the running VM, to its saved definition, or to both,
// which then succeeds or fails as one. deviceXML is one device element, such as
// a <hostdev>; for a running q35 VM it needs a free pcie-root-port.
func (c *Conn) Attach(ctx context.Context, vm, deviceXML string, scope domain.Scope) error {
	const op = "attach a device to"
	if err := checkDevice(op, vm, deviceXML, scope); err != nil {
		return err
	}
	if !strings.HasPrefix(strings.TrimSpace(deviceXML), "<") {
		return invalid(op, vm, "the device is not an XML element", "give the device's element")
	}
	return doDomain(ctx, c, op, vm, acts, func(_ *link, d *libvirt.Domain) error {
		return d.AttachDeviceFlags(deviceXML, modifyFlags(scope))
	})
}

// Detach takes a device out of the running VM, of its saved definition, or of
// both. device is its element, as for [Conn.Attach], or its alias. While the VM
// runs, an element is recognized by its alias, an mdev's UUID or a PCI device's
// host address.
//
// The running VM comes first: the guest is asked to let go, and Detach waits
// until the device is gone, which only the device-removed event or the live
// document tells. When ctx ends before (without a deadline: after 30 s), the
// error matches [domain.ErrInUse] and the context's: the device is still
// attached, in the saved definition too, and the guest still has the request.
// Repeating the call waits again. [domain.ErrNotFound]: the VM has no such
// device, in none of the places asked for.
func (c *Conn) Detach(ctx context.Context, vm, device string, scope domain.Scope) error {
	const op = "detach a device from"
	if err := checkDevice(op, vm, device, scope); err != nil {
		return err
	}
	device = strings.TrimSpace(device)
	want := devicexml.Device{Alias: device}
	if strings.HasPrefix(device, "<") {
		found, err := devicexml.Find(device, 0)
		if err != nil || len(found) != 1 {
			return &Error{
				Op: op, Object: vm, Err: err, Kind: domain.ErrInvalid,
				Meaning: "the device is not one XML element", Next: "give one device's element, or its alias",
			}
		}
		want = found[0]
	}
	var absent error // from the running VM: perhaps an earlier call got that far
	if scope&domain.ScopeLive != 0 {
		live, err := c.detachLive(ctx, op, vm, want)
		switch {
		case scope&domain.ScopeSaved != 0 && isDeviceMissing(err):
			absent = err
		case err != nil:
			return err
		case want.Nameless() && !devicexml.UserAlias(want.Alias):
			want = live // the saved definition has no alias of libvirt's making
		}
	}
	if scope&domain.ScopeSaved == 0 {
		return nil
	}
	err := doDomain(ctx, c, op, vm, acts, func(_ *link, d *libvirt.Domain) error {
		if want.Element == "" || want.Nameless() && devicexml.UserAlias(want.Alias) {
			return d.DetachDeviceAlias(want.Alias, libvirt.DOMAIN_DEVICE_MODIFY_CONFIG)
		}
		return d.DetachDeviceFlags(want.Element, libvirt.DOMAIN_DEVICE_MODIFY_CONFIG)
	})
	if isDeviceMissing(err) && scope&domain.ScopeLive != 0 && absent == nil {
		return nil
	}
	return err
}

// detachLive asks the guest, waits for it, and returns what the device was.
func (c *Conn) detachLive(ctx context.Context, op, vm string, want devicexml.Device) (devicexml.Device, error) {
	none := devicexml.Device{}
	if want.Alias == "" && want.Nameless() {
		return none, invalid(op, vm, "the element does not say which device it is",
			"give it an alias, an mdev's UUID or a host address; or give the alias alone")
	}
	if _, bounded := ctx.Deadline(); !bounded {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, detachLimit)
		defer cancel()
	}
	// Before the request, so that no event is missed.
	events, err := c.listen(ctx, func(e domain.Event) bool {
		return e.Kind == domain.EventDeviceRemoved || e.Kind == eventRemovalFailed || e.Kind == domain.EventStopped
	})
	if err != nil {
		return none, err
	}
	defer c.hub.Remove(events)

	info, err := c.Info(ctx, vm)
	if err != nil {
		return none, c.wrap(op, vm, err)
	}
	live, err := c.findLive(ctx, op, vm, want)
	if err != nil {
		return none, err
	}
	// By its alias, because libvirt waits some seconds itself when asked by the
	// element, and then says that all is well.
	err = doDomain(ctx, c, op, vm, acts, func(_ *link, d *libvirt.Domain) error {
		return d.DetachDeviceAlias(live.Alias, libvirt.DOMAIN_DEVICE_MODIFY_LIVE)
	})
	switch {
	case err == nil:
	case ctx.Err() != nil:
		return none, stillAttached(op, vm, live.Alias, ended(ctx))
	case strings.Contains(err.Error(), "in the process of unplug"): // asked before
	default:
		return none, err
	}
	return live, c.untilGone(ctx, op, vm, info.UUID, live.Alias, events)
}

// untilGone returns nil when the running VM has the device no more.
func (c *Conn) untilGone(ctx context.Context, op, vm string, id uuid.UUID, alias string, events *fanout.Subscriber[domain.Event]) error {
	tick := time.NewTicker(detachPoll)
	defer tick.Stop()
	for {
		attached, err := c.attached(ctx, op, vm, alias)
		if err == nil && !attached {
			return nil
		} else if err != nil && ctx.Err() == nil {
			return err
		}
		for look := false; !look; {
			select {
			case <-events.Ready():
				for _, e := range events.Take() {
					if e.Kind == eventRemovalFailed && e.UUID == id && e.Detail == alias {
						return refusedByGuest(op, vm, alias)
					}
					look = look || e.Kind == domain.EventReconnected || e.UUID == id
				}
			case <-tick.C:
				look = true
			case <-ctx.Done():
				return stillAttached(op, vm, alias, ended(ctx))
			case <-c.done:
				return c.wrap(op, vm, errClosed)
			}
		}
	}
}

// findLive finds the device, and the alias by which events name it.
func (c *Conn) findLive(ctx context.Context, op, vm string, want devicexml.Device) (devicexml.Device, error) {
	devices, running, err := c.liveDevices(ctx, op, vm)
	if err != nil {
		return devicexml.Device{}, err
	}
	if !running {
		return devicexml.Device{}, &Error{
			Op: op, Object: vm, Kind: domain.ErrState,
			Meaning: "the VM does not run", Next: "use ScopeSaved alone to change its saved definition",
		}
	}
	for _, d := range devices {
		if want.Matches(d) {
			return d, nil
		}
	}
	return devicexml.Device{}, &Error{
		Op: op, Object: vm, Code: int(libvirt.ERR_DEVICE_MISSING), Kind: domain.ErrNotFound,
		Meaning: "the running VM has no such device: " + want.String(),
		Next:    "list its devices: virsh dumpxml",
	}
}

// attached tells whether the VM runs and has the device.
func (c *Conn) attached(ctx context.Context, op, vm, alias string) (bool, error) {
	devices, _, err := c.liveDevices(ctx, op, vm)
	if errors.Is(err, domain.ErrNotFound) {
		return false, nil // a VM without a definition that stopped
	}
	has := func(d devicexml.Device) bool { return d.Alias == alias }
	return slices.ContainsFunc(devices, has), err
}

// liveDevices lists what the running VM has; nothing when it does not run.
func (c *Conn) liveDevices(ctx context.Context, op, vm string) (devices []devicexml.Device, running bool, err error) {
	live, err := onDomain(ctx, c, op, vm, reads, func(_ *link, d *libvirt.Domain) (string, error) {
		s, err := domainState(d)
		if err != nil || !s.Active() {
			return "", err
		}
		return d.GetXMLDesc(0)
	})
	if err != nil || live == "" {
		return nil, false, err
	}
	devices, err = devicexml.Find(live, 2)
	if err != nil {
		return nil, false, c.wrap(op, vm, fmt.Errorf("libvirt's document: %w", err))
	}
	return devices, true, nil
}

func stillAttached(op, vm, alias string, cause error) error {
	return &Error{
		Op: op, Object: vm, Err: cause, Kind: domain.ErrInUse, Retry: true,
		Meaning: "the guest did not let go of " + quote(alias) + " in time; it is still attached and the request stays with the guest",
		Cause:   "the guest's operating system does not run, has no hot-plug support, or uses the device",
		Next:    "stop using the device in the guest and repeat; resetting or stopping the VM also makes it let go",
	}
}

func refusedByGuest(op, vm, alias string) error {
	return &Error{
		Op: op, Object: vm, Kind: domain.ErrInUse, Retry: true,
		Meaning: "the guest refused to let go of " + quote(alias),
		Cause:   "the guest uses the device",
		Next:    "stop using the device in the guest and repeat",
	}
}

// isDeviceMissing tells a missing device from a missing VM.
func isDeviceMissing(err error) bool {
	var e *Error
	return errors.As(err, &e) && errors.Is(err, domain.ErrNotFound) && e.Code != int(libvirt.ERR_NO_DOMAIN)
}

func modifyFlags(scope domain.Scope) libvirt.DomainDeviceModifyFlags {
	var flags libvirt.DomainDeviceModifyFlags
	if scope&domain.ScopeLive != 0 {
		flags |= libvirt.DOMAIN_DEVICE_MODIFY_LIVE
	}
	if scope&domain.ScopeSaved != 0 {
		flags |= libvirt.DOMAIN_DEVICE_MODIFY_CONFIG
	}
	return flags
}

func checkDevice(op, vm, device string, scope domain.Scope) error {
	if err := checkVM(op, vm); err != nil {
		return err
	}
	if scope == 0 || scope&^(domain.ScopeLive|domain.ScopeSaved) != 0 {
		return invalid(op, vm, "no or unknown scope "+strconv.Itoa(int(scope)), "use ScopeLive, ScopeSaved or both")
	}
	return checkText(op, vm, "the device", device)
}
