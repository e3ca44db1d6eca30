package vgputest

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/vgpukit/vgpukit/domain"
	"github.com/vgpukit/vgpukit/internal/devicexml"
	rpc "github.com/vgpukit/vgpukit/internal/libvirtrpc"
)

// What a change affects (virDomainModificationImpact); 0 is the VM as it is now.
const (
	affectsLive  = 1 << 0
	affectsSaved = 1 << 1

	affects = affectsLive | affectsSaved
)

// detachWait is how long libvirt waits for the guest when a device is detached by its
// element. By the alias it does not wait.
const detachWait = 5 * time.Second

// scope is what the flags mean for the VM in its present state.
func (m *machine) scope(flags uint32) (s domain.Scope) {
	if flags&affectsLive != 0 || flags&affects == 0 && m.active() {
		s |= domain.ScopeLive
	}
	if flags&affectsSaved != 0 || flags&affects == 0 && !m.active() {
		s |= domain.ScopeSaved
	}
	return s
}

func (c *client) scope(ctx context.Context, d rpc.Domain, flags uint32) (domain.Scope, error) {
	return ask(ctx, c.h.Virsh(), "Info", handleOf(d), func(m *machine) (domain.Scope, error) { return m.scope(flags), nil })
}

func (c *client) attach(ctx context.Context, a *rpc.TextFlagArgs) (rpc.Void, error) {
	if err := checkFlags(a.Flags, affects, "qemuDomainAttachDeviceFlags"); err != nil {
		return rpc.Void{}, err
	}
	scope, err := c.scope(ctx, a.Dom, a.Flags)
	if err != nil {
		return rpc.Void{}, err
	}
	return rpc.Void{}, c.h.Attach(ctx, handleOf(a.Dom), a.Text, scope)
}

func (c *client) attachPlain(ctx context.Context, a *rpc.TextArgs) (rpc.Void, error) {
	return c.attach(ctx, &rpc.TextFlagArgs{Dom: a.Dom, Text: a.Text, Flags: affectsLive})
}

func (c *client) detachElement(ctx context.Context, a *rpc.TextFlagArgs) (rpc.Void, error) {
	d, err := oneDevice(strings.TrimSpace(a.Text))
	if err != nil {
		return rpc.Void{}, err
	}
	return c.detach(ctx, a, d, detachWait)
}

func (c *client) detachPlain(ctx context.Context, a *rpc.TextArgs) (rpc.Void, error) {
	return c.detachElement(ctx, &rpc.TextFlagArgs{Dom: a.Dom, Text: a.Text, Flags: affectsLive})
}

func (c *client) detachAlias(ctx context.Context, a *rpc.TextFlagArgs) (rpc.Void, error) {
	return c.detach(ctx, a, devicexml.Device{Alias: a.Text}, 0)
}

// detach asks the guest, waits for a while, and reports success whether the guest has
// let go or not: only the event and the document tell.
func (c *client) detach(ctx context.Context, a *rpc.TextFlagArgs, want devicexml.Device, wait time.Duration) (rpc.Void, error) {
	if err := checkFlags(a.Flags, affects, "qemuDomainDetachDeviceFlags"); err != nil {
		return rpc.Void{}, err
	}
	gone, err := ask(ctx, c.h, "Detach", handleOf(a.Dom), func(m *machine) (gone func() bool, err error) {
		scope := m.scope(a.Flags)
		if err := m.has(scope); err != nil {
			return nil, err
		}
		if scope&domain.ScopeSaved != 0 {
			if _, err := pick(m.saved, want); err != nil {
				return nil, err
			}
		}
		alias := ""
		if scope&domain.ScopeLive != 0 {
			if alias, err = c.h.askGuest(m, want); err != nil {
				return nil, err
			}
		}
		if scope&domain.ScopeSaved != 0 {
			err = c.h.drop(m, want)
		}
		return func() bool { return alias == "" || !m.leaving[alias] }, err
	})
	if err != nil || wait == 0 {
		return rpc.Void{}, err
	}
	waiting, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	if err := c.h.await(waiting, gone); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return rpc.Void{}, err
	}
	return rpc.Void{}, nil
}

// askGuest is unplug for those who do not wait: QEMU refuses to ask twice.
func (w *world) askGuest(m *machine, want devicexml.Device) (alias string, err error) {
	if d, err := pick(m.live, want); err == nil && m.leaving[d.Alias] {
		return "", refuse(codeInternal, domain.ErrInUse, "internal error: unable to execute QEMU command 'device_del': Device %s is already in the process of unplug", d.Alias)
	}
	d, err := w.unplug(m, want)
	return d.Alias, err
}
