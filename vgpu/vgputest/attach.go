package vgputest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/vgpukit/vgpukit/domain"
	"github.com/vgpukit/vgpukit/internal/devicexml"
)

// Attach adds a device, given by its element, to the running VM, to its saved definition,
// or to both, which then succeeds or fails as one.
func (h *Hypervisor) Attach(ctx context.Context, vm, deviceXML string, scope domain.Scope) error {
	return act(ctx, h, Call{Method: "Attach", VM: vm, XML: deviceXML}, func() error {
		if err := checkDevice(deviceXML, scope); err != nil {
			return err
		}
		m, err := h.find(vm)
		if err == nil {
			err = h.attach(m, deviceXML, scope)
		}
		return err
	})
}

// checkDevice refuses what domain/virt does not ask libvirt for.
func checkDevice(device string, scope domain.Scope) error {
	switch {
	case strings.TrimSpace(device) == "":
		return refuse(0, domain.ErrInvalid, "the device is empty")
	case scope == 0 || scope&^(domain.ScopeLive|domain.ScopeSaved) != 0:
		return refuse(0, domain.ErrInvalid, "no or unknown scope %d", scope)
	}
	return nil
}

// attach changes the saved definition last, as libvirt does: it cannot fail then.
func (w *world) attach(m *machine, element string, scope domain.Scope) error {
	d, err := oneDevice(element)
	if err != nil {
		return err
	}
	if err := m.has(scope); err != nil {
		return err
	}
	saved := m.saved
	if scope&domain.ScopeSaved != 0 {
		switch _, err := pick(saved, d); {
		case err == nil && !d.Nameless():
			return wrongState("device is already in the domain configuration")
		case err != nil && !errors.Is(err, domain.ErrNotFound):
			return err
		}
		if saved, err = withDevice(saved, d.Element); err != nil {
			return err
		}
	}
	if scope&domain.ScopeLive != 0 {
		live, alias, err := w.plug(m, d)
		if err != nil {
			return err
		}
		m.live = live
		w.publish(m, domain.EventDeviceAdded, alias)
	}
	if m.saved != saved {
		m.saved = saved
		w.publish(m, domain.EventDefined, "updated")
	}
	return nil
}

// plug opens a device for a VM that runs, and returns the VM's document with it. What is
// no device of the host is only written down.
func (w *world) plug(m *machine, d devicexml.Device) (live, alias string, err error) {
	devices, err := devicexml.Find(m.live, 2)
	if err != nil {
		return "", "", err
	}
	prefix, element := "hostdev", d.Element
	if d.Nameless() {
		prefix = d.Kind
	}
	if alias = d.Alias; alias == "" {
		n := 0
		for _, other := range devices {
			var taken int
			if _, err := fmt.Sscanf(other.Alias, prefix+"%d", &taken); err == nil {
				n = max(n, taken+1)
			}
		}
		alias = fmt.Sprint(prefix, n)
		element = within(element, d.Kind, "<alias name='"+alias+"'/>")
	}
	live, err = withDevice(m.live, element)
	if err != nil || d.Nameless() {
		return live, alias, err
	}
	if !hasElement(element, d.Kind+"/address") {
		if err := freeSlot(m.live); err != nil {
			return "", "", err
		}
	}
	return live, alias, w.openDevice(m, d, "unable to execute QEMU command 'device_add'")
}

// withDevice puts a device into a document.
func withDevice(doc, element string) (string, error) {
	if !hasElement(doc, "domain/devices") {
		doc = within(doc, "domain", "<devices></devices>")
	}
	doc = within(doc, "domain/devices", element)
	parsed, err := domain.Parse([]byte(doc))
	if err == nil {
		return doc, sameAddress(parsed)
	}
	return "", xmlError("%v", err)
}

// freeSlot tells whether one more device can be plugged into a VM that runs.
func freeSlot(doc string) error {
	parsed, err := domain.Parse([]byte(doc))
	if err != nil {
		return err
	}
	if _, err := parsed.Free(1, domain.AddressRequest{Hotplug: true}); errors.Is(err, domain.ErrNotFound) {
		return refuse(codeInternal, domain.ErrInUse, "internal error: No more available PCI slots")
	}
	return nil
}

func (m *machine) letGo(id string) {
	if release := m.open[id]; release != nil {
		release()
		delete(m.open, id)
	}
}

// Detach takes a device, given by its element or its alias, out of the running VM, of its
// saved definition, or of both, the running VM first. There it waits until the guest has
// let go or ctx ends (without a deadline: 30 s), which is [domain.ErrInUse]: the guest
// still has the request then, and repeating the call waits again. [domain.ErrNotFound]: the VM has no such device.
func (h *Hypervisor) Detach(ctx context.Context, vm, device string, scope domain.Scope) error {
	_, err := around(ctx, h, Call{Method: "Detach", VM: vm, XML: device}, func() (struct{}, error) {
		return struct{}{}, h.detach(ctx, vm, device, scope)
	})
	return err
}

// detachLimit bounds the wait for the guest when a context has no deadline.
const detachLimit = 30 * time.Second

func (w *world) detach(ctx context.Context, vm, device string, scope domain.Scope) error {
	want, err := wanted(device, scope)
	if err != nil {
		return err
	}
	var absent error // from the running VM: perhaps an earlier call got that far
	if scope&domain.ScopeLive != 0 {
		live, err := w.detachLive(ctx, vm, want)
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
	_, err = locked(w, func() (missing struct{}, err error) {
		m, err := w.find(vm)
		if err == nil {
			err = w.drop(m, want)
		}
		return missing, err
	})
	if isDeviceMissing(err) && scope&domain.ScopeLive != 0 && absent == nil {
		return nil
	}
	return err
}

// wanted is the device that an element or an alias names.
func wanted(device string, scope domain.Scope) (devicexml.Device, error) {
	if err := checkDevice(device, scope); err != nil {
		return devicexml.Device{}, err
	}
	alias := strings.TrimSpace(device)
	if !strings.HasPrefix(alias, "<") {
		return devicexml.Device{Alias: alias}, nil
	}
	found, err := devicexml.Find(device, 0)
	if err != nil || len(found) != 1 {
		return devicexml.Device{}, refuse(0, domain.ErrInvalid, "the device is not one XML element")
	}
	return found[0], nil
}

// detachLive asks the guest, waits for it, and returns what the device was.
func (w *world) detachLive(ctx context.Context, vm string, want devicexml.Device) (d devicexml.Device, err error) {
	gone, err := locked(w, func() (func() bool, error) {
		m, err := w.find(vm)
		if err == nil {
			d, err = w.unplug(m, want)
		}
		return func() bool { return !m.leaving[d.Alias] }, err
	})
	if err != nil {
		return d, err
	}
	if _, bounded := ctx.Deadline(); !bounded {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, detachLimit)
		defer cancel()
	}
	return d, w.await(ctx, gone)
}

// isDeviceMissing tells a missing device from a missing VM.
func isDeviceMissing(err error) bool {
	var own *Error
	return errors.As(err, &own) && own.Code == codeDeviceMissing
}

// await waits until something is so, or the daemon ends.
func (w *world) await(ctx context.Context, so func() bool) error {
	for {
		w.mu.Lock()
		done, away, changed := so(), w.away(), w.changed
		w.mu.Unlock()
		switch {
		case done:
			return nil
		case away:
			return connectionLost()
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return &Error{Kind: domain.ErrInUse, Message: "the guest did not let go in time; the device is still attached", Err: ctx.Err()}
		}
	}
}

// unplug asks the guest of a running VM to let a device go.
func (w *world) unplug(m *machine, want devicexml.Device) (devicexml.Device, error) {
	if !m.active() {
		return devicexml.Device{}, refuse(0, domain.ErrState, "the VM does not run")
	}
	if want.Nameless() && want.Alias == "" {
		return want, refuse(0, domain.ErrInvalid, "the element does not say which device it is")
	}
	d, err := pick(m.live, want)
	if err != nil {
		return d, err
	}
	if m.leaving[d.Alias] {
		return d, nil
	}
	m.leaving[d.Alias] = true
	if !w.guest(m).Deaf && m.state == domain.StateRunning {
		w.leave(m, d.Alias)
	}
	return d, nil
}

// pick finds a device in a document. What has no name is known by its words.
func pick(doc string, want devicexml.Device) (devicexml.Device, error) {
	devices, err := devicexml.Find(doc, 2)
	if err != nil {
		return devicexml.Device{}, err
	}
	for _, d := range devices {
		if unnamed := want.Nameless() && want.Alias == ""; unnamed && want.Element == d.Element || !unnamed && want.Matches(d) {
			return d, nil
		}
	}
	return devicexml.Device{}, refuse(codeDeviceMissing, domain.ErrNotFound, "device not found: device not present in domain configuration")
}

// leave is the moment at which a guest lets a device go.
func (w *world) leave(m *machine, alias string) {
	delete(m.leaving, alias)
	d, err := pick(m.live, devicexml.Device{Alias: alias})
	if err != nil {
		return
	}
	m.live = put(m.live, d.Offset, d.Offset+len(d.Element), "")
	m.letGo(hostID(d))
	w.publish(m, domain.EventDeviceRemoved, alias)
}

// drop takes a device out of the saved definition.
func (w *world) drop(m *machine, want devicexml.Device) error {
	if err := m.has(domain.ScopeSaved); err != nil {
		return err
	}
	d, err := pick(m.saved, want)
	if err != nil {
		return err
	}
	m.saved = put(m.saved, d.Offset, d.Offset+len(d.Element), "")
	if want.Element != "" { // libvirt tells nobody of what was named by its alias
		w.publish(m, domain.EventDefined, "updated")
	}
	return nil
}
