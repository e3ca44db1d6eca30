package vgputest

import (
	"context"

	"github.com/vgpukit/vgpukit/domain"
	rpc "github.com/vgpukit/vgpukit/internal/libvirtrpc"
)

// What clients may say about a start, an end and an undefine.
const (
	startPaused    = 1 << 0
	startForceBoot = 1 << 3

	destroyGraceful = 1 << 0

	shutdownACPI  = 1 << 0
	shutdownAgent = 1 << 1

	undefineManagedSave = 1 << 0
	undefineSnapshots   = 1 << 1
	undefineNVRAM       = 1 << 2
	undefineKeepNVRAM   = 1 << 3
	undefineCheckpoints = 1 << 4
)

// The flags that are known: those without a name above ask for a validation of the
// document, for another cache or log, or concern a TPM, and change nothing here.
const (
	startFlags    = startPaused | 1<<2 | startForceBoot | 1<<4 | 1<<5
	createFlags   = startPaused | 1<<4 | 1<<5
	destroyFlags  = destroyGraceful | 1<<1
	undefineFlags = undefineManagedSave | undefineSnapshots | undefineNVRAM | undefineKeepNVRAM | undefineCheckpoints | 1<<5 | 1<<6
)

// handleOf is how a method is told which VM.
func handleOf(d rpc.Domain) string { return d.UUID.String() }

// does makes a procedure of a method that needs only the VM.
func does(method func(*Hypervisor, context.Context, string) error) func(*client, context.Context, *rpc.DomainArgs) (rpc.Void, error) {
	return func(c *client, ctx context.Context, a *rpc.DomainArgs) (rpc.Void, error) {
		return rpc.Void{}, method(c.h, ctx, handleOf(a.Dom))
	}
}

// plain drops the flags of a procedure that knows those.
func plain[R any](f func(*client, context.Context, *rpc.FlagArgs) (R, error)) func(*client, context.Context, *rpc.DomainArgs) (R, error) {
	return func(c *client, ctx context.Context, a *rpc.DomainArgs) (R, error) {
		return f(c, ctx, &rpc.FlagArgs{Dom: a.Dom})
	}
}

func (c *client) define(ctx context.Context, a *rpc.XMLArgs) (rpc.DomainArgs, error) {
	if err := checkFlags(a.Flags, 1, "qemuDomainDefineXMLFlags"); err != nil {
		return rpc.DomainArgs{}, err
	}
	info, err := c.h.Define(ctx, a.XML)
	if err != nil {
		return rpc.DomainArgs{}, err
	}
	return c.handle(ctx, info.UUID.String())
}

func (c *client) defineXML(ctx context.Context, a *rpc.Text) (rpc.DomainArgs, error) {
	return c.define(ctx, &rpc.XMLArgs{XML: a.Text})
}

func (c *client) createXML(ctx context.Context, a *rpc.XMLArgs) (rpc.DomainArgs, error) {
	if err := checkFlags(a.Flags, createFlags, "qemuDomainCreateXML"); err != nil {
		return rpc.DomainArgs{}, err
	}
	info, err := c.h.Create(ctx, a.XML)
	if err != nil {
		return rpc.DomainArgs{}, err
	}
	return c.begin(ctx, info.UUID.String(), a.Flags)
}

func (c *client) create(ctx context.Context, a *rpc.FlagArgs) (rpc.DomainArgs, error) {
	err := checkFlags(a.Flags, startFlags, "qemuDomainCreateWithFlags")
	if err == nil && a.Flags&startForceBoot != 0 {
		err = c.h.Virsh().ManagedSaveRemove(ctx, handleOf(a.Dom))
	}
	if err == nil {
		err = c.h.Start(ctx, handleOf(a.Dom))
	}
	if err != nil {
		return rpc.DomainArgs{}, err
	}
	return c.begin(ctx, handleOf(a.Dom), a.Flags)
}

// begin returns the handle of a VM that was started, and suspends it if it was asked.
func (c *client) begin(ctx context.Context, vm string, flags uint32) (rpc.DomainArgs, error) {
	if flags&startPaused != 0 {
		if err := c.h.Virsh().Suspend(ctx, vm); err != nil {
			return rpc.DomainArgs{}, err
		}
	}
	return c.handle(ctx, vm)
}

func (c *client) createPlain(ctx context.Context, a *rpc.DomainArgs) (rpc.Void, error) {
	_, err := c.create(ctx, &rpc.FlagArgs{Dom: a.Dom})
	return rpc.Void{}, err
}

func (c *client) undefine(ctx context.Context, a *rpc.FlagArgs) (rpc.Void, error) {
	if err := checkFlags(a.Flags, undefineFlags, "qemuDomainUndefineFlags"); err != nil {
		return rpc.Void{}, err
	}
	return rpc.Void{}, c.h.Undefine(ctx, handleOf(a.Dom), domain.UndefineOptions{
		ManagedSave:         a.Flags&undefineManagedSave != 0,
		SnapshotsMetadata:   a.Flags&undefineSnapshots != 0,
		NVRAM:               a.Flags&undefineNVRAM != 0,
		KeepNVRAM:           a.Flags&undefineKeepNVRAM != 0,
		CheckpointsMetadata: a.Flags&undefineCheckpoints != 0,
	})
}

func (c *client) shutdown(ctx context.Context, a *rpc.FlagArgs) (rpc.Void, error) {
	err := checkFlags(a.Flags, shutdownACPI|shutdownAgent, "qemuDomainShutdownFlags")
	mode := domain.ShutdownAny
	switch a.Flags {
	case shutdownACPI:
		mode = domain.ShutdownACPI
	case shutdownAgent:
		mode = domain.ShutdownAgent
	}
	if err == nil {
		err = c.h.Shutdown(ctx, handleOf(a.Dom), mode)
	}
	return rpc.Void{}, err
}

// reboot is a reset: the guest does at once what it is asked for.
func (c *client) reboot(ctx context.Context, a *rpc.FlagArgs) (rpc.Void, error) {
	err := checkFlags(a.Flags, shutdownACPI|shutdownAgent, "qemuDomainReboot")
	if err == nil {
		err = c.h.Reset(ctx, handleOf(a.Dom))
	}
	return rpc.Void{}, err
}

func (c *client) reset(ctx context.Context, a *rpc.FlagArgs) (rpc.Void, error) {
	err := checkFlags(a.Flags, 0, "qemuDomainReset")
	if err == nil {
		err = c.h.Reset(ctx, handleOf(a.Dom))
	}
	return rpc.Void{}, err
}

func (c *client) destroy(ctx context.Context, a *rpc.FlagArgs) (rpc.Void, error) {
	if err := checkFlags(a.Flags, destroyFlags, "qemuDomainDestroyFlags"); err != nil {
		return rpc.Void{}, err
	}
	if a.Flags&destroyGraceful != 0 {
		return rpc.Void{}, c.h.Terminate(ctx, handleOf(a.Dom))
	}
	return rpc.Void{}, c.h.Destroy(ctx, handleOf(a.Dom))
}

func (c *client) rename(ctx context.Context, a *rpc.RenameArgs) (rpc.Number, error) {
	if err := checkFlags(a.Flags, 0, "qemuDomainRename"); err != nil {
		return rpc.Number{}, err
	}
	return rpc.Number{}, c.h.Rename(ctx, handleOf(a.Dom), text(a.Name))
}

func (c *client) autostart(ctx context.Context, a *rpc.DomainArgs) (rpc.Number, error) {
	on, err := c.h.Autostart(ctx, handleOf(a.Dom))
	return number(on), err
}

func (c *client) setAutostart(ctx context.Context, a *rpc.NumberArgs) (rpc.Void, error) {
	return rpc.Void{}, c.h.SetAutostart(ctx, handleOf(a.Dom), a.N != 0)
}

func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}
