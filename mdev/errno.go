package mdev

import (
	"context"
	"errors"
	"syscall"

	"golang.org/x/sys/unix"
)

// reading is what an errno means for an operation on a kind of file.
type reading struct {
	kind    error
	meaning string
	cause   string
	next    string
}

// fileKind is the kind of file that an errno came from.
type fileKind int

const (
	anyFile        fileKind = iota
	createFile              // mdev_supported_types/<type>/create
	removeFile              // <uuid>/remove
	vfTypeFile              // nvidia/current_vgpu_type
	vfClearFile             // the same, writing 0
	paramFile               // an attribute of a device
	groupNode               // /dev/vfio/<group>
	definitionFile          // /etc/mdevctl.d/<parent>/<uuid>
)

// readings is the one table of what the kernel's and NVIDIA's errnos mean.
// A kind of file that has no row for an errno takes that of anyFile.
var readings = map[fileKind]map[syscall.Errno]reading{
	createFile: {
		syscall.EINVAL: {ErrInvalid, "the kernel does not accept the UUID or the request", "some drivers also refuse so what they list as available", "check the UUID, and the kernel log (dmesg)"},
		syscall.EEXIST: {ErrExists, "a device with this UUID already exists", "UUIDs are unique on the whole host, not per parent", "use another UUID, or remove the device"},
		syscall.ENOSPC: {ErrNoCapacity, "the parent has no room for another device of this type", "its resources are taken by other devices", "remove a device, or choose another parent or a smaller type"},
		syscall.EUSERS: {ErrNoCapacity, "the parent has no instance of this type left", "all instances are taken", "remove a device, or choose another parent or type"},
		syscall.EIO:    {ErrRefused, "the driver refused", "the GPU has no room for this type beside what it runs, or its vGPU manager is not ready", "compare with what the GPU runs (same framebuffer size), and see the kernel log (dmesg)"},
		syscall.ENODEV: {ErrNotFound, "the parent is going away", "its driver is being unbound or unloaded", "wait until the driver is bound again, then retry"},
		syscall.ENOENT: {ErrNotFound, "the parent or type is gone", "its driver was unbound, or its virtual functions disabled", "look at the inventory again"},
		syscall.ENOMEM: {ErrNoCapacity, "the kernel has no memory for it", "", "free memory, then retry"},
		syscall.EAGAIN: {ErrInUse, "the parent is busy with another change", "", "retry"},
		syscall.EBUSY:  {ErrInUse, "the parent is busy", "an earlier device is still being cleaned up", "retry in some seconds"},
	},
	removeFile: {
		syscall.EBUSY:  {ErrInUse, "the device is in use", "a VM has it open, or its driver is still cleaning up", "stop the VM, then retry"},
		syscall.EAGAIN: {ErrInUse, "the device is being made or removed by someone else", "", "retry"},
		syscall.ENODEV: {ErrNotFound, "the parent is going away", "its driver is being unbound or unloaded", "look at the inventory again"},
		syscall.ENOENT: {ErrNotFound, "there is no such device", "it was removed meanwhile", ""},
		syscall.EINVAL: {ErrUnsupported, "the kernel does not accept the removal", "", "see the kernel log (dmesg)"},
		syscall.EIO:    {ErrRefused, "the driver refused to remove it", "", "see the kernel log (dmesg)"},
	},
	vfTypeFile: {
		syscall.EINVAL: {ErrInvalid, "the driver does not take it for a type's id", "", "use an id from nvidia/creatable_vgpu_types"},
		syscall.ERANGE: {ErrInvalid, "the type's id is too large", "", "use an id from nvidia/creatable_vgpu_types"},
		syscall.EPERM:  {ErrExists, "the virtual function already has a vGPU type, or we are not root", "", "remove its vGPU first, or run as root"},
		syscall.EIO:    {ErrRefused, "NVIDIA's vGPU manager refused the type", "the GPU has no room for it beside what it runs, or the manager is not ready", "compare with what the GPU runs (same framebuffer size), and see the kernel log (dmesg)"},
		syscall.EBUSY:  {ErrInUse, "the virtual function is busy", "NVIDIA's plugin is still ending an earlier vGPU", "retry in some seconds"},
		syscall.ENODEV: {ErrNotFound, "the virtual function is going away", "", "look at the inventory again"},
		syscall.ENOENT: {ErrNotFound, "there is no such virtual function, or it is not NVIDIA's", "the virtual functions were disabled", "enable them, then look at the inventory again"},
	},
	vfClearFile: {
		syscall.EPERM:  {ErrInUse, "the vGPU is in use", "a VM has it open, or there is none", "stop the VM, then retry"},
		syscall.EBUSY:  {ErrInUse, "the vGPU is still being cleaned up", "NVIDIA's plugin has not ended yet", "retry in some seconds"},
		syscall.EIO:    {ErrRefused, "NVIDIA's vGPU manager refused", "", "see the kernel log (dmesg)"},
		syscall.ENODEV: {ErrNotFound, "the virtual function is going away", "", "look at the inventory again"},
		syscall.ENOENT: {ErrNotFound, "there is no such virtual function", "the virtual functions were disabled", ""},
	},
	paramFile: {
		syscall.E2BIG:  {ErrInvalid, "the parameters are too long", "NVIDIA takes 1024 bytes at most", "leave some out"},
		syscall.ENXIO:  {ErrNotFound, "there is no vGPU to set it on", "", "create the vGPU first"},
		syscall.EPERM:  {ErrInUse, "the parameter cannot be changed now", "the VM is running, or we are not root", "stop the VM, or run as root"},
		syscall.EINVAL: {ErrInvalid, "the driver does not accept the value", "", "see the driver's documentation of the attribute"},
		syscall.ERANGE: {ErrInvalid, "the value is out of range", "", "see the driver's documentation of the attribute"},
		syscall.EBUSY:  {ErrInUse, "the value is taken or the device is in use", "", "choose another value, or stop the VM"},
		syscall.ENODEV: {ErrInvalid, "what the value names is not there", "for an AP matrix: the adapter or domain is not assigned to VFIO", "see the driver's documentation of the attribute"},
		syscall.ENOENT: {ErrUnsupported, "the device has no such attribute", "", "leave it out, or use a driver that has it"},
		syscall.EIO:    {ErrRefused, "the driver refused the value", "", "see the kernel log (dmesg)"},
	},
	groupNode: {
		syscall.EBUSY:  {ErrInUse, "the device is in use", "a VM has its VFIO group open", "stop the VM, then retry"},
		syscall.ENODEV: {ErrNotFound, "the VFIO group is gone", "the device was removed meanwhile", "look at the inventory again"},
		syscall.ENOTTY: {ErrUnsupported, "the device does not answer", "its driver has no such VFIO call", "see the driver's documentation"},
		syscall.ENOENT: {ErrNotFound, "the VFIO group has no node", "the device has no driver, or this is a container without /dev/vfio", "mount /dev/vfio, or load the driver"},
	},
	definitionFile: {
		syscall.EROFS:  {ErrPermission, "the file system of the definitions is mounted read-only", "so is /etc of an image-based host, and often of a container", "make /etc/mdevctl.d writable"},
		syscall.ENOSPC: {ErrNoCapacity, "the disk has no room", "", "free some of it, then retry"},
		syscall.EDQUOT: {ErrNoCapacity, "the quota of the disk is used up", "", "free some of it, then retry"},
		syscall.EIO:    {ErrRefused, "the disk failed", "", "see the kernel log (dmesg)"},
		syscall.EISDIR: {ErrInvalid, "a directory is where the definition should be", "", "move it away"},
	},
	anyFile: {
		syscall.EPERM:  {ErrPermission, "the kernel does not permit it", "we are not root, or lack a capability", "run as root"},
		syscall.EACCES: {ErrPermission, "no permission", "the file belongs to root", "run as root"},
		syscall.EROFS:  {ErrPermission, "sysfs is mounted read-only", "containers get it so unless privileged", "mount the host's /sys writable into the container"},
		syscall.ENOENT: {ErrNotFound, "there is no such file", "it is not there, or vanished meanwhile", "look at the inventory again"},
		syscall.ENODEV: {ErrNotFound, "the device went away", "", "look at the inventory again"},
		syscall.ENXIO:  {ErrNotFound, "there is no device behind it", "", "look at the inventory again"},
		syscall.EBUSY:  {ErrInUse, "it is busy", "", "retry"},
		syscall.EAGAIN: {ErrInUse, "it is busy with another change", "", "retry"},
		syscall.EINVAL: {ErrInvalid, "the kernel does not accept it", "", "see the kernel log (dmesg)"},
		syscall.ENOSPC: {ErrNoCapacity, "no room is left", "", ""},
		syscall.EIO:    {ErrRefused, "the driver refused", "", "see the kernel log (dmesg)"},
	},
}

// explain makes the error of an operation on object out of what a file of
// the given kind said.
func explain(op, object string, kind fileKind, err error) *Error {
	e := &Error{Op: op, Object: object, Errno: errnoOf(err)}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		e.Meaning, e.Next = meaningOfEnd(err)
		e.Pending = errors.As(err, new(errPending))
		e.Err = err
		return e
	}
	if errors.Is(err, errNotRegular) {
		e.Kind, e.Errno, e.Meaning, e.Next = ErrInvalid, 0, "it is not a regular file", "look what it is (ls -l), and who put it there"
		return e
	}
	r, ok := readings[kind][e.Errno]
	if !ok {
		r, ok = readings[anyFile][e.Errno]
	}
	if !ok {
		e.Err = err
		if e.Errno != 0 {
			e.Meaning, e.Err = e.Errno.Error(), nil
			e.Next = "see the kernel log (dmesg)"
		}
		return e
	}
	e.Kind, e.Meaning, e.Cause, e.Next = r.kind, r.meaning, r.cause, r.next
	return e
}

// ended refuses what is asked for when its context is over.
func ended(ctx context.Context, op, object string) error {
	if err := ctx.Err(); err != nil {
		return explain(op, object, anyFile, err)
	}
	return nil
}

func meaningOfEnd(err error) (meaning, next string) {
	if errors.Is(err, context.DeadlineExceeded) {
		return "its time was over before it was done", "allow more time, then retry"
	}
	return "it was cancelled before it was done", "retry if it is still wanted"
}

// errnoOf returns 0 when no errno is in err.
func errnoOf(err error) syscall.Errno {
	var errno syscall.Errno
	errors.As(err, &errno)
	return errno
}

func errnoName(errno syscall.Errno) string {
	if name := unix.ErrnoName(errno); name != "" {
		return name
	}
	return "errno"
}
