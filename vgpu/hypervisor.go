package vgpu

import (
	"context"

	"github.com/vgpukit/vgpukit/domain"
	"github.com/vgpukit/vgpukit/mdev"
)

// Host is what the Manager needs of a machine's vGPUs; *mdev.Host has it. Errors
// match package mdev's sentinels.
type Host interface {
	// Inventory reads all GPUs with their parents, types and devices.
	Inventory(ctx context.Context) (*mdev.Inventory, error)
	// Device reads one vGPU by UUID or VF address.
	Device(ctx context.Context, id string) (mdev.Device, error)
	// Create makes a vGPU and confirms it, or leaves nothing behind.
	Create(ctx context.Context, req mdev.CreateRequest) (mdev.Created, error)
	// Remove returns when the vGPU is gone and its instance is back. It refuses
	// one in use at once.
	Remove(ctx context.Context, id string) error
}

// Hypervisor is what the Manager needs of libvirt; *virt.Conn has it. VMs are
// given by name. Errors match package domain's sentinels.
type Hypervisor interface {
	// Domains lists all domains, running or not.
	Domains(ctx context.Context) ([]domain.Info, error)
	// Info reads one domain.
	Info(ctx context.Context, vm string) (domain.Info, error)
	// XML is the saved definition, or the live one of a transient domain.
	XML(ctx context.Context, vm string) (string, error)
	// Define makes or replaces a definition.
	Define(ctx context.Context, xml string) (domain.Info, error)
	// Undefine takes a definition away.
	Undefine(ctx context.Context, vm string, opts domain.UndefineOptions) error
	// Start boots a defined domain.
	Start(ctx context.Context, vm string) error
	// Shutdown asks the guest to power off and does not wait.
	Shutdown(ctx context.Context, vm string) error
	// Terminate ends QEMU by SIGTERM only.
	Terminate(ctx context.Context, vm string) error
	// Kill ends QEMU by SIGKILL if need be.
	Kill(ctx context.Context, vm string) error
	// Events delivers what happens to domains until ctx ends.
	Events(ctx context.Context) (<-chan domain.Event, error)
}
