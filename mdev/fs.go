package mdev

import (
	"context"
	"io"
	"io/fs"
)

// FS is what a [Host] reads and writes. The default is the operating
// system's files under [Config.Root]; package mdevtest has a simulated one.
//
// Names are slash-separated and relative to the root, without a leading
// slash: "sys/class/mdev_bus". Symbolic links are followed as the kernel
// would follow them. Errors are *fs.PathError around a syscall.Errno. All
// methods are safe for concurrent use.
//
// An FS may also implement [WatchFS], [StoreFS], [RunFS], [ProbeFS] and [BindFS].
type FS interface {
	// ReadFile returns the whole content of an attribute.
	ReadFile(name string) ([]byte, error)
	// ReadDir returns the entries of a directory, sorted by name. Links are
	// not followed: their type is fs.ModeSymlink.
	ReadDir(name string) ([]fs.DirEntry, error)
	// Readlink returns the target of a link as it is written there.
	Readlink(name string) (string, error)
	// Stat follows links.
	Stat(name string) (fs.FileInfo, error)
	// WriteAttr opens an existing file for writing, makes exactly one
	// write(2) of data, and closes it; it never creates the file. It may
	// block for as long as the driver behind the attribute does.
	WriteAttr(name string, data []byte) error
	// OpenNode opens a device node, such as "dev/vfio/12", for reading and
	// writing and holds it until it is closed.
	OpenNode(name string) (io.Closer, error)
}

// WatchFS is implemented by an FS that has a source of kernel events. That of
// the operating system's files is the kernel's netlink socket. [Host.Watch] is
// refused on an FS without one.
type WatchFS interface {
	// Uevents returns events from now on until ctx ends, and then closes the
	// channel. A receiver that is too slow loses events; the next one that
	// it gets then has Lost set. A source that fails before ctx ends sends a
	// last event that has Err, and closes the channel.
	Uevents(ctx context.Context) (<-chan Uevent, error)
}

// StoreFS is implemented by an FS that can hold definitions: files in
// "etc/mdevctl.d".
type StoreFS interface {
	// WriteFile puts data into place at once and durably, and makes the
	// directories that are missing.
	WriteFile(name string, data []byte, perm fs.FileMode) error
	// RemoveFile removes a file.
	RemoveFile(name string) error
}

// RunFS is implemented by an FS that can run one of the host's own
// programs, such as "usr/lib/nvidia/sriov-manage".
type RunFS interface {
	// Run returns what the program printed, on both outputs. An error is an
	// *fs.PathError when it could not be started, an *exec.ExitError or
	// other when it failed.
	Run(ctx context.Context, name string, args ...string) ([]byte, error)
}

// ProbeFS is implemented by an FS whose devices can be opened through VFIO.
type ProbeFS interface {
	// Probe opens the device with this id, through its VFIO group, asks what it
	// can do, and closes it. Errors are *fs.PathError around a syscall.Errno.
	Probe(group, id string) (Probe, error)
}

// BindFS is implemented by an FS whose devices can be opened through iommufd. On a host
// that has no VFIO groups, it tells [Host.Remove] whether someone has a device open.
type BindFS interface {
	// Bind opens a device by its node, such as "dev/vfio/devices/vfio3", binds it to an
	// iommufd of its own (VFIO_DEVICE_BIND_IOMMUFD), and closes both. A device that
	// someone has open gives EINVAL, or EBUSY when that is through its group. Errors are
	// *fs.PathError around a syscall.Errno.
	Bind(node string) error
}
