package vgpukit

import (
	"log/slog"

	"github.com/vgpukit/vgpukit/mdev"
	"github.com/vgpukit/vgpukit/vgpu"
)

// Config says what Open opens. Its zero value is this machine and its system
// libvirt. For what it has no field for, open host, connection and Manager one by
// one: with mdev.Open, virt.Open and vgpu.New.
type Config struct {
	Root     string      // the directory with sys/, dev/, proc/ and etc/; default "/"
	FS       mdev.FS     // the host's files, instead of those under Root: a simulated host's
	Source   mdev.Source // tells what only NVML knows; default: none, and it is not known
	URI      string      // libvirt's; default: LIBVIRT_DEFAULT_URI, then qemu:///system
	StateDir string      // default vgpu.DefaultStateDir; on one host all programs share one
	// RuntimeDir is for what is of this boot only; default /run/vgpukit, or one of this user's.
	RuntimeDir string
	Logger     *slog.Logger  // default: silence
	Observer   vgpu.Observer // is told of each step; default: nobody
	Timeouts   vgpu.Timeouts // of the Manager's waits; default: as its fields say
}
