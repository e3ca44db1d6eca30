package mdev

import (
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"syscall"
	"time"
)

// removeTimeout bounds a removal whose context has no deadline.
const removeTimeout = 30 * time.Second

// cleaningUp is why a device that nobody has open is not gone.
const cleaningUp = "its driver is still cleaning up after a VM"

// Remove removes a device, by its UUID or by the PCI address of its virtual
// function, and waits until it is gone and its instance is back; where its
// parent's count cannot be read, until it is gone.
//
// A device that a VM has open is refused at once with [ErrInUse], which names
// the VM. Nothing can take the device while it is being removed: Remove holds
// its VFIO group. A driver that is still cleaning up after a VM is waited for,
// until ctx ends; without a deadline in ctx, 30 seconds are the bound. So is the
// removal that someone else has begun, unless a VM is seen to hold that up.
//
// On a host whose kernel has no VFIO groups, a device's own node excludes nobody, and
// holding it would block the removal: there, Remove asks whether the device is in use,
// through iommufd and /proc, lets go of it and then removes it. A VM that opens it in the
// moment between makes the removal wait for that VM, which the error names.
//
// The other errors are [ErrInvalid], [ErrNotFound] and [ErrPermission]. Of two
// that remove a device at the same time, both succeed. When ctx ends first, the
// error is also [ErrInUse] as long as the device is there: retry later. A write
// that the kernel has not finished goes on in a goroutine of its own, and removes
// the device in the end; until then the kernel also keeps the process, which
// cannot end, even when it is killed (state D).
func (h *Host) Remove(ctx context.Context, id string) error {
	ctx, cancel := bounded(ctx, removeTimeout)
	defer cancel()
	dev, err := h.device(ctx, "remove", id, false)
	if err != nil {
		return err
	}
	if dev.State == StateGhost {
		return h.awaitGhost(ctx, &dev)
	}
	guard, err := h.guard(ctx, &dev)
	if err != nil {
		return err
	}
	if dev.Framework == FrameworkVendorVFIO {
		err = h.removeVF(ctx, &dev, guard)
	} else {
		err = h.removeMdev(ctx, &dev, guard)
	}
	if err == nil {
		h.log.DebugContext(ctx, "removed", "mdev", dev.ID, "parent", dev.Parent)
	}
	return err
}

func (h *Host) removeMdev(ctx context.Context, dev *Device, guard io.Closer) error {
	before := h.tally(ctx, dev)
	file := dev.Path + "/remove"
	wait := newPatience(time.Until(deadlineOf(ctx)))
	var busy error // what the last write that came back said
	for {
		err := h.writeGuarded(ctx, file, "1\n", guard)
		guard = nil // writeGuarded has closed it, or will
		if err == nil || errors.Is(err, syscall.ENOENT) {
			break
		}
		if gone, _ := try(ctx, h, func(s *scan) bool {
			_, err := s.fs.Stat(dev.Path)
			return absent(err)
		}); gone {
			break // another remover was faster
		}
		if blocked := h.removeBlocked(ctx, dev, err, busy); blocked != nil {
			return blocked
		}
		if !errors.Is(err, syscall.EBUSY) && !errors.Is(err, syscall.EAGAIN) {
			return explain("remove", dev.ID, removeFile, err)
		}
		if !wait.sleep(ctx) {
			return h.removeLate(ctx, dev, err)
		}
		busy = err
		if guard, err = h.guard(ctx, dev); err != nil {
			if ctx.Err() != nil {
				return h.removeLate(ctx, dev, busy)
			}
			return err
		}
	}
	return h.seeGone(ctx, dev, before)
}

// removeBlocked answers a write that has not come back when ctx ended. If the
// one before it was refused, that is the reason.
func (h *Host) removeBlocked(ctx context.Context, dev *Device, err, busy error) error {
	if err == nil || ctx.Err() == nil || errnoOf(err) != 0 {
		return nil
	}
	if busy != nil {
		return h.removeLate(ctx, dev, busy)
	}
	e := &Error{
		Op: "remove", Object: dev.ID, Meaning: "the kernel had not finished removing it", Cause: cleaningUp,
		Next: "retry in some seconds; the kernel finishes by itself", Pending: true, Kind: ErrInUse, Err: ctx.Err(),
	}
	// While we hold its group, only who had the device before can have it open.
	if who, known := h.lastHoldingOf(ctx, dev); known && who.PID != os.Getpid() {
		e.Cause, e.Next = "it is in use by "+who.String(), "stop "+who.short()+"; the kernel then finishes by itself"
	}
	return e
}

// removeLate answers a driver that was busy for too long.
func (h *Host) removeLate(ctx context.Context, dev *Device, err error) error {
	e := explain("remove", dev.ID, removeFile, err)
	if who, known := h.lastHoldingOf(ctx, dev); known {
		return inUse(dev, who, true, e.Errno)
	}
	e.Cause, e.Next = cleaningUp, "retry in some seconds"
	e.Err = endOf(ctx)
	return e
}

// removeVF takes the vGPU type from a virtual function. NVIDIA's plugin may
// need seconds after its VM has ended, in which the driver refuses.
func (h *Host) removeVF(ctx context.Context, dev *Device, guard io.Closer) error {
	file := dev.Path + "/" + currentFile
	wait := newPatience(time.Until(deadlineOf(ctx)))
	var busy error // what the last write that came back said
	for {
		err := h.writeGuarded(ctx, file, noVGPU+"\n", guard)
		guard = nil
		if blocked := h.removeBlocked(ctx, dev, err, busy); blocked != nil {
			return blocked
		}
		if err == nil {
			return nil // what is there now is another's: the driver has said yes
		}
		gone, readErr := h.vfFree(ctx, file)
		switch {
		case gone:
			return nil
		case readErr != nil && absent(readErr):
			return nil // the virtual function itself is gone
		case !errors.Is(err, syscall.EPERM) && !errors.Is(err, syscall.EBUSY) && !errors.Is(err, syscall.EAGAIN):
			return explain("remove", dev.ID, vfClearFile, err)
		}
		if who, known := h.holdingOf(ctx, dev); known && who.PID != os.Getpid() && !h.groupShared(ctx, dev) {
			return inUse(dev, who, known, errnoOf(err))
		}
		if !wait.sleep(ctx) {
			return h.removeLate(ctx, dev, err)
		}
		busy = err
		if guard, err = h.guard(ctx, dev); err != nil {
			if ctx.Err() != nil {
				return h.removeLate(ctx, dev, busy)
			}
			return err
		}
	}
}

func (h *Host) vfFree(ctx context.Context, file string) (bool, error) {
	return look(ctx, h, "read", file, func(s *scan) (bool, error) {
		data, err := s.fs.ReadFile(file)
		return err == nil && strings.TrimSpace(string(data)) == noVGPU, err
	})
}

func deadlineOf(ctx context.Context) time.Time {
	if deadline, ok := ctx.Deadline(); ok {
		return deadline
	}
	return time.Now().Add(removeTimeout)
}
