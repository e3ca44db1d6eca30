package vgpu

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/vgpukit/vgpukit/domain"
	"github.com/vgpukit/vgpukit/internal/fault"
	"github.com/vgpukit/vgpukit/internal/patience"
	"github.com/vgpukit/vgpukit/mdev"
)

// Host is what the Manager needs of a machine's vGPUs; *mdev.Host has it. Errors
// match package mdev's sentinels.
type Host interface {
	// Boot tells one boot of the machine from another.
	Boot(ctx context.Context) (string, error)
	// Machine tells one machine from another.
	Machine(ctx context.Context) (mdev.Machine, error)
	// Inventory reads all GPUs with their parents, types and devices.
	Inventory(ctx context.Context) (*mdev.Inventory, error)
	// Find reads one vGPU by UUID or VF address, but not who has it open.
	Find(ctx context.Context, id string) (mdev.Device, error)
	// Device is Find with the Holder.
	Device(ctx context.Context, id string) (mdev.Device, error)
	// Create makes a vGPU and confirms it, or leaves nothing behind.
	Create(ctx context.Context, req mdev.CreateRequest) (mdev.Created, error)
	// Remove returns when the vGPU is gone and its instance is back. It refuses
	// one in use at once.
	Remove(ctx context.Context, id string) error
}

// Hypervisor is what the Manager needs of libvirt; *virt.Conn has it. VMs are
// given by UUID, in its usual form; only Lookup takes a name. Errors match package domain's
// sentinels.
type Hypervisor interface {
	// URI names the libvirt that it talks to. VMs that were granted vGPUs through
	// another one are left alone.
	URI() string
	// Domains lists all domains, running or not.
	Domains(ctx context.Context) ([]domain.Info, error)
	// Lookup finds a domain's UUID by its name. A VM that does not exist is domain.ErrNotFound.
	Lookup(ctx context.Context, vm string) (uuid.UUID, error)
	// Info reads one domain.
	Info(ctx context.Context, vm string) (domain.Info, error)
	// Definition is Info with the saved definition, or the live one of a transient
	// domain, with the secrets: it may be changed and defined again. A VM that does
	// not exist is domain.ErrNotFound.
	Definition(ctx context.Context, vm string) (domain.Definition, error)
	// Define makes or replaces a definition.
	Define(ctx context.Context, xml string) (domain.Info, error)
	// Undefine takes a definition away.
	Undefine(ctx context.Context, vm string, opts domain.UndefineOptions) error
	// Start boots a defined domain.
	Start(ctx context.Context, vm string) error
	// Shutdown asks the guest to power off and does not wait.
	Shutdown(ctx context.Context, vm string, mode domain.ShutdownMode) error
	// Terminate ends QEMU by SIGTERM only.
	Terminate(ctx context.Context, vm string) error
	// Destroy ends QEMU by SIGKILL if need be.
	Destroy(ctx context.Context, vm string) error
	// Events delivers what happens to domains until ctx ends.
	Events(ctx context.Context) (<-chan domain.Event, error)
}

// patientHypervisor gives each call a deadline, since a daemon may hang, or wait for a
// QEMU that hangs. Start has none here: a VM with much memory takes its time, see
// StartOptions.
type patientHypervisor struct {
	Hypervisor
	patience time.Duration
}

func (h patientHypervisor) Domains(ctx context.Context) ([]domain.Info, error) {
	return callWithin(ctx, h.patience, h.Hypervisor.Domains)
}

func (h patientHypervisor) Lookup(ctx context.Context, vm string) (uuid.UUID, error) {
	return callWithin(ctx, h.patience, func(ctx context.Context) (uuid.UUID, error) { return h.Hypervisor.Lookup(ctx, vm) })
}

func (h patientHypervisor) Info(ctx context.Context, vm string) (domain.Info, error) {
	return callWithin(ctx, h.patience, func(ctx context.Context) (domain.Info, error) { return h.Hypervisor.Info(ctx, vm) })
}

func (h patientHypervisor) Definition(ctx context.Context, vm string) (domain.Definition, error) {
	return callWithin(ctx, h.patience, func(ctx context.Context) (domain.Definition, error) { return h.Hypervisor.Definition(ctx, vm) })
}

func (h patientHypervisor) Define(ctx context.Context, xml string) (domain.Info, error) {
	return callWithin(ctx, h.patience, func(ctx context.Context) (domain.Info, error) { return h.Hypervisor.Define(ctx, xml) })
}

func (h patientHypervisor) Undefine(ctx context.Context, vm string, opts domain.UndefineOptions) error {
	return doWithin(ctx, h.patience, func(ctx context.Context) error { return h.Hypervisor.Undefine(ctx, vm, opts) })
}

func (h patientHypervisor) Shutdown(ctx context.Context, vm string, mode domain.ShutdownMode) error {
	return doWithin(ctx, h.patience, func(ctx context.Context) error { return h.Hypervisor.Shutdown(ctx, vm, mode) })
}

func (h patientHypervisor) Terminate(ctx context.Context, vm string) error {
	return doWithin(ctx, h.patience, func(ctx context.Context) error { return h.Hypervisor.Terminate(ctx, vm) })
}

func (h patientHypervisor) Destroy(ctx context.Context, vm string) error {
	// It comes after what libvirt was asked before, and still waits for.
	return doWithin(ctx, 2*h.patience, func(ctx context.Context) error { return h.Hypervisor.Destroy(ctx, vm) })
}

// Events bounds the wait for the stream, which itself lasts as long as ctx.
func (h patientHypervisor) Events(ctx context.Context) (<-chan domain.Event, error) {
	listening, stop := context.WithCancel(ctx)
	timer := time.AfterFunc(h.patience, stop)
	events, err := h.Hypervisor.Events(listening)
	late := !timer.Stop() && ctx.Err() == nil
	if err == nil && !late {
		context.AfterFunc(ctx, stop)
		return events, nil
	}
	stop()
	if late {
		err = noAnswer(h.patience, context.DeadlineExceeded)
	}
	return nil, err
}

// callWithin calls libvirt and waits so long for its answer, without what the call waits
// for its turn.
func callWithin[T any](ctx context.Context, limit time.Duration, call func(context.Context) (T, error)) (T, error) {
	limited, cancel := patience.With(ctx, limit)
	defer cancel()
	v, err := call(limited)
	if fault.EndOf(err) != nil && limited.Err() != nil && ctx.Err() == nil {
		err = noAnswer(limit, err)
	}
	return v, err
}

func noAnswer(patience time.Duration, err error) error {
	return &Error{
		Kind: ErrUnavailable, Err: &silence{patience, err},
		Next: "see whether its daemon hangs: systemctl status libvirtd virtqemud; virsh list",
	}
}

// silence is libvirt's, for longer than it was given.
type silence struct {
	patience time.Duration
	err      error
}

func (s *silence) Error() string { return fmt.Sprintf("libvirt did not answer within %s", s.patience) }
func (s *silence) Unwrap() error { return s.err }

// unreachable tells that there is no connection to libvirt; one that is silent may
// answer the next call.
func unreachable(err error) bool {
	return errors.Is(err, ErrUnavailable) && !errors.As(err, new(*silence))
}

// doWithin is callWithin for what returns nothing.
func doWithin(ctx context.Context, patience time.Duration, call func(context.Context) error) error {
	_, err := callWithin(ctx, patience, func(ctx context.Context) (struct{}, error) { return struct{}{}, call(ctx) })
	return err
}
