//go:build cgo

package vgpukit

import (
	"context"

	"github.com/vgpukit/vgpukit/domain/virt"
	"github.com/vgpukit/vgpukit/mdev"
	"github.com/vgpukit/vgpukit/vgpu"
)

// Kit is a host, its libvirt and the Manager that works on both, whose verbs can be
// called on the Kit. It is safe for concurrent use.
type Kit struct {
	*vgpu.Manager
	Host *mdev.Host // the host's vGPUs, with VMs or without
	Conn *virt.Conn // libvirt, for what the Manager has no verb for
}

// Open opens the host, connects to its libvirt and makes a Manager of both. What it
// opened is closed again when it fails. The caller closes the Kit.
//
// Operations that an earlier process did not finish are left alone: call Reconcile
// when a program starts.
func Open(ctx context.Context, cfg Config) (*Kit, error) {
	if err := cfg.Timeouts.Check(); err != nil {
		return nil, err
	}
	host, err := mdev.Open(mdev.Config{Root: cfg.Root, FS: cfg.FS, Source: cfg.Source, Logger: cfg.Logger})
	if err != nil {
		return nil, err
	}
	conn, err := virt.Open(ctx, virt.Config{URI: cfg.URI, Logger: cfg.Logger})
	if err != nil {
		return nil, err
	}
	manager, err := vgpu.New(vgpu.Config{
		Host: host, Hypervisor: conn,
		StateDir: cfg.StateDir, RuntimeDir: cfg.RuntimeDir, Logger: cfg.Logger, Observer: cfg.Observer, Timeouts: cfg.Timeouts,
	})
	if err != nil {
		_ = conn.Close() // nothing is under way that it could wait for
		return nil, err
	}
	return &Kit{Manager: manager, Host: host, Conn: conn}, nil
}

// Close ends the connection to libvirt, as [virt.Conn.Close] does. The Manager's
// operations have to be over. Closing again does nothing.
func (k *Kit) Close() error { return k.Conn.Close() }
