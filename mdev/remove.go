package mdev

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"
	"syscall"
	"time"
)

const (
	// removeTimeout bounds a removal whose context has no deadline.
	removeTimeout = 30 * time.Second
	// guardPatience is how long a process that has the VFIO group open, and no
	// device, may be taken for another remover.
	guardPatience = 500 * time.Millisecond
	// hiddenPatience is the same for a holder that root cannot see: it has
	// gone when it is looked for, unless it is in another container.
	hiddenPatience = 2 * time.Second
	// returnPatience is how long an instance may take to be back after its
	// device is gone.
	returnPatience = time.Second
	// wholeSightings is how often in a row a device is seen with its type,
	// which the kernel takes away first, before it counts as made again.
	wholeSightings = 5
)

// Remove removes a device, by its UUID or by the PCI address of its virtual
// function, and waits until it is gone and its instance is back.
//
// A device that a VM has open is refused at once with [ErrInUse], which names
// the VM. Nothing can take the device while it is being removed: Remove holds
// its VFIO group. A driver that is still cleaning up after a VM is waited for,
// until ctx ends; without a deadline in ctx, 30 seconds are the bound.
//
// The other errors are [ErrInvalid], [ErrNotFound] and [ErrPermission]. Of two
// that remove a device at the same time, both succeed. When ctx ends first,
// the kernel may still finish the removal.
func (h *Host) Remove(ctx context.Context, id string) error {
	ctx, cancel := bounded(ctx, removeTimeout)
	defer cancel()
	dev, err := h.device(ctx, "remove", id, false)
	if err != nil {
		return err
	}
	if dev.State == StateGhost {
		return h.ghostError(ctx, &dev)
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

// guard opens the device's VFIO group, which only one can have. It returns
// nil when there is nothing to open: a half-made device, a system without
// group nodes, or a group that is shared with other functions. It reads dev
// again where the device may have been made anew meanwhile.
func (h *Host) guard(ctx context.Context, dev *Device) (io.Closer, error) {
	wait, hidden := newPatience(guardPatience), newPatience(hiddenPatience)
	for {
		if dev.IOMMUGroup == "" || h.groupShared(dev) {
			return nil, h.refuseIfHeld(ctx, dev)
		}
		node, err := h.fs.OpenNode("dev/vfio/" + dev.IOMMUGroup)
		switch {
		case err == nil:
			if target, err := h.fs.Readlink(dev.Path + "/iommu_group"); err != nil || path.Base(target) == dev.IOMMUGroup {
				return node, nil
			}
			_ = node.Close() // it is another device's by now
		case errors.Is(err, syscall.EBUSY):
			who, known := h.holdingOf(ctx, dev)
			transient := !known || who.PID == os.Getpid() || who.VM == "" && !who.device
			pause := wait
			if os.Geteuid() == 0 && (!known || who.PID == os.Getpid()) {
				pause = hidden
			}
			if !transient || !pause.sleep(ctx) {
				if err := ended(ctx, "remove", dev.ID); err != nil {
					return nil, err
				}
				return nil, inUse(dev, who, known, syscall.EBUSY)
			}
		case absent(err) || errors.Is(err, syscall.ENXIO):
			return nil, h.refuseIfHeld(ctx, dev)
		default:
			return nil, explain("remove", dev.ID, groupNode, err)
		}
		now, err := h.newScan().find("remove", dev.ID)
		if errors.Is(err, ErrNotFound) {
			return nil, nil // another remover had it, and was faster
		}
		if err == nil {
			*dev = now
		}
	}
}

// groupShared tells whether a virtual function's group has other functions,
// whose VMs would make it busy.
func (h *Host) groupShared(dev *Device) bool {
	if dev.Framework != FrameworkVendorVFIO {
		return false
	}
	entries, err := h.fs.ReadDir("sys/kernel/iommu_groups/" + dev.IOMMUGroup + "/devices")
	return err == nil && len(entries) > 1
}

// refuseIfHeld looks through the processes where the group cannot be asked.
func (h *Host) refuseIfHeld(ctx context.Context, dev *Device) error {
	if dev.Framework == FrameworkVendorVFIO && h.groupShared(dev) {
		return nil // its holder may have another function; the driver decides
	}
	if who, known := h.holdingOf(ctx, dev); known {
		return inUse(dev, who, known, 0)
	}
	return nil
}

func inUse(dev *Device, who holding, known bool, errno syscall.Errno) *Error {
	e := &Error{Op: "remove", Object: dev.ID, Errno: errno, Meaning: "the device is in use", Next: "stop the VM, then retry", Err: ErrInUse}
	if !known {
		e.Cause = "who has it open cannot be seen without root"
		return e
	}
	e.Meaning += " by " + who.String()
	if who.VM != "" {
		e.Next = "stop VM " + who.VM + ", then retry"
	} else {
		e.Next = "end that process, then retry"
	}
	return e
}

func (h *Host) ghostError(ctx context.Context, dev *Device) *Error {
	return &Error{
		Op: "remove", Object: dev.ID, Meaning: "someone's removal of it already waits until the VM lets go; it cannot be removed again",
		Cause: "remove was written while the device was in use", Next: "stop the VM that has it open" + holderNote(h.holderOf(ctx, dev)) + "; the kernel then finishes by itself", Err: ErrInUse,
	}
}

func (h *Host) removeMdev(ctx context.Context, dev *Device, guard io.Closer) error {
	before := h.count(dev)
	file := dev.Path + "/remove"
	wait := newPatience(time.Until(deadlineOf(ctx)))
	var busy error // what the last write that came back said
	for {
		err := h.writeGuarded(ctx, file, "1\n", guard)
		guard = nil // writeGuarded has closed it, or will
		if err == nil || errors.Is(err, syscall.ENOENT) {
			break
		}
		if _, statErr := h.fs.Stat(dev.Path); absent(statErr) {
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
	return &Error{
		Op: "remove", Object: dev.ID, Meaning: "the kernel had not finished removing it", Cause: "something still has it open",
		Next: "look at the inventory for its holder; the kernel finishes when it lets go", Err: ctx.Err(),
	}
}

// removeLate answers a driver that was busy for too long.
func (h *Host) removeLate(ctx context.Context, dev *Device, err error) error {
	e := explain("remove", dev.ID, removeFile, err)
	if who, known := h.holdingOf(context.WithoutCancel(ctx), dev); known {
		return inUse(dev, who, true, e.Errno)
	}
	e.Cause, e.Next = "its driver is still cleaning up after a VM", "retry in some seconds"
	late := ctx.Err()
	if late == nil {
		late = context.DeadlineExceeded // within a moment
	}
	e.Err = errors.Join(e.Err, late)
	return e
}

// writeGuarded writes an attribute while it holds guard, which it closes once
// the write is done, also when ctx has ended before.
func (h *Host) writeGuarded(ctx context.Context, file, value string, guard io.Closer) error {
	done := make(chan error, 1)
	go func() {
		err := h.fs.WriteAttr(file, []byte(value))
		if guard != nil {
			_ = guard.Close() // a node that we only held: nothing is lost
		}
		done <- err
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("write %q to %s: %w", strings.TrimSpace(value), file, ctx.Err())
	}
}

// count is the number of free and taken instances of a device's type.
type count struct{ free, taken int }

func (h *Host) count(dev *Device) count {
	if dev.Type == "" {
		return count{}
	}
	typeDir := path.Dir(dev.Path) + "/mdev_supported_types/" + dev.Type
	var c count
	if data, err := h.fs.ReadFile(typeDir + "/available_instances"); err == nil {
		c.free, _ = parseCount(strings.TrimSpace(string(data)))
	}
	if entries, err := h.fs.ReadDir(typeDir + "/devices"); err == nil {
		c.taken = len(entries)
	}
	return c
}

// seeGone waits until the device has left, and until its instance is back or
// has been taken by another.
func (h *Host) seeGone(ctx context.Context, dev *Device, before count) error {
	wait := newPatience(time.Until(deadlineOf(ctx)))
	for whole := 0; whole < wholeSightings; {
		_, err := h.fs.Stat(dev.Path)
		_, busErr := h.fs.Stat(mdevDevicesDir + "/" + dev.ID)
		if absent(err) && absent(busErr) {
			break
		}
		if _, err := h.fs.Readlink(dev.Path + "/mdev_type"); err == nil {
			whole++
		} else {
			whole = 0
		}
		if !wait.sleep(ctx) {
			return h.notGone(ctx, dev)
		}
	}
	back := newPatience(returnPatience)
	for {
		now := h.count(dev)
		if now.free > before.free || now.free+now.taken >= before.free+before.taken || dev.Type == "" || !back.sleep(ctx) {
			return nil
		}
	}
}

func (h *Host) notGone(ctx context.Context, dev *Device) error {
	e := &Error{Op: "remove", Object: dev.ID, Meaning: "the kernel accepted its removal, and it is still there", Next: "look at the inventory again", Err: ctx.Err()}
	if who := h.holderOf(context.WithoutCancel(ctx), dev); who != nil {
		e.Cause = "it is in use by " + who.String()
	}
	if e.Err == nil {
		e.Err = context.DeadlineExceeded
	}
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
		gone, readErr := h.vfFree(file)
		switch {
		case gone:
			return nil
		case readErr != nil && absent(readErr):
			return nil // the virtual function itself is gone
		case !errors.Is(err, syscall.EPERM) && !errors.Is(err, syscall.EBUSY) && !errors.Is(err, syscall.EAGAIN):
			return explain("remove", dev.ID, vfClearFile, err)
		}
		if who, known := h.holdingOf(ctx, dev); known && who.PID != os.Getpid() && !h.groupShared(dev) {
			return inUse(dev, who, known, errnoOf(err))
		}
		if !wait.sleep(ctx) {
			return h.removeLate(ctx, dev, err)
		}
		busy = err
		if guard, err = h.guard(ctx, dev); err != nil {
			return err
		}
	}
}

func (h *Host) vfFree(file string) (bool, error) {
	data, err := h.fs.ReadFile(file)
	return err == nil && strings.TrimSpace(string(data)) == noVGPU, err
}

func deadlineOf(ctx context.Context) time.Time {
	if deadline, ok := ctx.Deadline(); ok {
		return deadline
	}
	return time.Now().Add(removeTimeout)
}
