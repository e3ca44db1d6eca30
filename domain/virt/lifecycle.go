//go:build cgo

package virt

import (
	"context"
	"errors"
	"regexp"
	"strconv"
	"strings"

	"libvirt.org/go/libvirt"

	"github.com/vgpukit/vgpukit/domain"
)

// Define saves a domain document. A VM of that name and UUID gets it as its new
// definition (a running one at its next start); [domain.ErrExists] if only one
// of the two is taken.
func (c *Conn) Define(ctx context.Context, xml string) (domain.Info, error) {
	if err := checkText("define", "VM", "the document", xml); err != nil {
		return domain.Info{}, err
	}
	return call(ctx, c, "define", "VM"+nameIn(xml), writes, func(l *link) (domain.Info, error) {
		d, err := l.conn.DomainDefineXMLFlags(xml, 0)
		if err != nil {
			return domain.Info{}, err
		}
		held(handleDomain, +1)
		defer free(d)
		info, err := identify(d)
		info.Persistent = true
		return info, err
	})
}

// Undefine removes the saved definition. A running VM goes on until it stops.
// libvirt refuses ([domain.ErrState]) when the VM has what the options name and
// they say nothing about it. Options that a driver does not know are left out:
// it has no such things either.
func (c *Conn) Undefine(ctx context.Context, vm string, opts domain.UndefineOptions) error {
	if opts.NVRAM && opts.KeepNVRAM {
		return invalid("undefine", vm, "NVRAM and KeepNVRAM exclude each other", "choose one")
	}
	var flags libvirt.DomainUndefineFlagsValues
	for _, o := range []struct {
		set  bool
		flag libvirt.DomainUndefineFlagsValues
	}{
		{opts.ManagedSave, libvirt.DOMAIN_UNDEFINE_MANAGED_SAVE},
		{opts.NVRAM, libvirt.DOMAIN_UNDEFINE_NVRAM},
		{opts.KeepNVRAM, libvirt.DOMAIN_UNDEFINE_KEEP_NVRAM},
		{opts.SnapshotsMetadata, libvirt.DOMAIN_UNDEFINE_SNAPSHOTS_METADATA},
		{opts.CheckpointsMetadata, libvirt.DOMAIN_UNDEFINE_CHECKPOINTS_METADATA},
	} {
		if o.set {
			flags |= o.flag
		}
	}
	return doDomain(ctx, c, "undefine", vm, writes, func(_ *link, d *libvirt.Domain) error {
		err := d.UndefineFlags(flags)
		if unknown := libvirt.DomainUndefineFlagsValues(unknownFlags(err)) & flags; unknown != 0 {
			err = d.UndefineFlags(flags &^ unknown)
		}
		return err
	})
}

// Start starts a defined VM, or restores it when it has a managed save image.
// [domain.ErrState]: it runs already. [domain.ErrNotFound] also when one of its
// vGPUs does not exist, [domain.ErrInUse] when another VM has one.
func (c *Conn) Start(ctx context.Context, vm string) error {
	return doDomain(ctx, c, "start", vm, acts, func(_ *link, d *libvirt.Domain) error {
		return d.CreateWithFlags(0)
	})
}

// Shutdown asks the guest to shut down, in the given way or in the one that
// libvirt prefers, and does not wait until it has. A guest may ignore it.
func (c *Conn) Shutdown(ctx context.Context, vm string, mode domain.ShutdownMode) error {
	var flags libvirt.DomainShutdownFlags
	switch mode {
	case domain.ShutdownAny:
	case domain.ShutdownACPI:
		flags = libvirt.DOMAIN_SHUTDOWN_ACPI_POWER_BTN
	case domain.ShutdownAgent:
		flags = libvirt.DOMAIN_SHUTDOWN_GUEST_AGENT
	default:
		return invalid("shut down", vm, "unknown shutdown mode "+strconv.Quote(string(mode)), `use "acpi", "agent", or none`)
	}
	return doDomain(ctx, c, "shut down", vm, acts, func(_ *link, d *libvirt.Domain) error {
		return d.ShutdownFlags(flags)
	})
}

// Terminate ends QEMU with SIGTERM, as if the power went, and fails if it does
// not end within libvirt's 10 s or so; it is never killed. That is the way for
// NVIDIA vGPUs, which SIGKILL can wedge.
func (c *Conn) Terminate(ctx context.Context, vm string) error {
	return doDomain(ctx, c, "terminate", vm, acts, func(_ *link, d *libvirt.Domain) error {
		return d.DestroyFlags(libvirt.DOMAIN_DESTROY_GRACEFUL)
	})
}

// Destroy ends QEMU, with SIGKILL where SIGTERM does not help.
func (c *Conn) Destroy(ctx context.Context, vm string) error {
	return doDomain(ctx, c, "destroy", vm, acts, func(_ *link, d *libvirt.Domain) error {
		return d.DestroyFlags(0)
	})
}

// Suspend stops the virtual CPUs; the VM keeps its memory and its vGPUs.
func (c *Conn) Suspend(ctx context.Context, vm string) error {
	return doDomain(ctx, c, "suspend", vm, acts, func(_ *link, d *libvirt.Domain) error { return d.Suspend() })
}

// Resume lets a suspended VM run on.
func (c *Conn) Resume(ctx context.Context, vm string) error {
	return doDomain(ctx, c, "resume", vm, acts, func(_ *link, d *libvirt.Domain) error { return d.Resume() })
}

// Reset is the reset button: the guest boots again without shutting down, in
// the same QEMU process, which keeps its vGPUs.
func (c *Conn) Reset(ctx context.Context, vm string) error {
	return doDomain(ctx, c, "reset", vm, acts, func(_ *link, d *libvirt.Domain) error { return d.Reset(0) })
}

var (
	unsupportedFlags = regexp.MustCompile(`unsupported flags \(0x([0-9a-fA-F]+)\)`)
	nameElement      = regexp.MustCompile(`<name>\s*([^<]*?)\s*</name>`)
)

// unknownFlags returns the flags that libvirt says a driver does not know, 0 if
// the error is another one.
func unknownFlags(err error) uint64 {
	var lv libvirt.Error
	if !errors.As(err, &lv) {
		return 0
	}
	m := unsupportedFlags.FindStringSubmatch(lv.Message)
	if m == nil {
		return 0
	}
	flags, err := strconv.ParseUint(m[1], 16, 32)
	if err != nil {
		return 0
	}
	return flags
}

// nameIn finds the VM's name for an error's text only: good enough there.
func nameIn(xml string) string {
	if m := nameElement.FindStringSubmatch(xml); m != nil && !strings.ContainsAny(m[1], "\n&") {
		return " " + quote(m[1])
	}
	return ""
}
