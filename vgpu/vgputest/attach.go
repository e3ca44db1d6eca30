package vgputest

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/vgpukit/vgpukit/domain"
	"github.com/vgpukit/vgpukit/internal/devicexml"
)

// Attach adds a device, given by its element, to the running VM, to its saved definition,
// or to both, which then succeeds or fails as one.
func (h *Hypervisor) Attach(ctx context.Context, vm, deviceXML string, scope domain.Scope) error {
	_, err := call(ctx, h, Call{Method: "Attach", VM: vm, XML: deviceXML}, func() (struct{}, error) {
		if err := checkDevice(deviceXML, scope); err != nil {
			return struct{}{}, err
		}
		m, err := h.find(vm)
		if err == nil {
			err = h.attach(m, deviceXML, scope)
		}
		return struct{}{}, err
	})
	return err
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
		saved = within(saved, "domain/devices", d.Element)
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

// plug opens a device for a VM that runs, and returns the VM's document with it.
func (w *world) plug(m *machine, d devicexml.Device) (live, alias string, err error) {
	devices, err := hostDevices(m.live)
	if err != nil {
		return "", "", err
	}
	element := d.Element
	if alias = d.Alias; alias == "" {
		n := 0
		for _, other := range devices {
			var taken int
			if _, err := fmt.Sscanf(other.Alias, "hostdev%d", &taken); err == nil {
				n = max(n, taken+1)
			}
		}
		alias = fmt.Sprint("hostdev", n)
		at := d
		at.Offset = 0
		element = withAlias(element, at, alias)
	}
	if !hasElement(element, d.Kind+"/address") {
		if err := freeSlot(m.live); err != nil {
			return "", "", err
		}
	}
	if err := w.openDevice(m, d, "unable to execute QEMU command 'device_add'"); err != nil {
		return "", "", err
	}
	return within(m.live, "domain/devices", element), alias, nil
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
// let go or ctx ends, which is [domain.ErrInUse]: the guest still has the request then,
// and repeating the call waits again. [domain.ErrNotFound]: the VM has no such device.
func (h *Hypervisor) Detach(ctx context.Context, vm, device string, scope domain.Scope) error {
	if err := checkDevice(device, scope); err != nil {
		return at("Detach", vm, err)
	}
	want := devicexml.Device{Alias: strings.TrimSpace(device)}
	if strings.HasPrefix(want.Alias, "<") {
		found, err := devicexml.Find(device, 0)
		if err != nil || len(found) != 1 {
			return at("Detach", vm, refuse(0, domain.ErrInvalid, "the device is not one XML element"))
		}
		want = found[0]
	}
	gone, err := ask(ctx, h, "Detach", vm, func(m *machine) (gone func() bool, err error) {
		if scope&domain.ScopeLive == 0 {
			return func() bool { return true }, nil
		}
		d, err := h.unplug(m, want)
		if err != nil && !(scope&domain.ScopeSaved != 0 && errors.Is(err, domain.ErrNotFound)) {
			return nil, err
		}
		if want.Nameless() && !devicexml.UserAlias(want.Alias) {
			want = d // the saved definition has no alias of libvirt's making
		}
		return func() bool { return !m.leaving[d.Alias] }, nil
	})
	if err != nil {
		return err
	}
	if err := h.await(ctx, gone); err != nil {
		return at("Detach", vm, err)
	}
	if scope&domain.ScopeSaved == 0 {
		return nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	m, err := h.find(vm)
	if err == nil {
		err = h.drop(m, want)
	}
	return at("Detach", vm, err)
}

// await waits until something is so.
func (w *world) await(ctx context.Context, so func() bool) error {
	for {
		w.mu.Lock()
		done, changed := so(), w.changed
		w.mu.Unlock()
		if done {
			return nil
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

// pick finds a device in a document.
func pick(doc string, want devicexml.Device) (devicexml.Device, error) {
	devices, err := devicexml.Find(doc, 2)
	if err != nil {
		return devicexml.Device{}, err
	}
	for _, d := range devices {
		if want.Matches(d) {
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
