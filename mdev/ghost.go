package mdev

import (
	"context"
	"errors"
	"time"
)

// awaitGhost waits until the removal has ended that someone else has begun. One
// that waits for a VM is not waited for.
func (h *Host) awaitGhost(ctx context.Context, dev *Device) error {
	who, known := h.holdingOf(ctx, dev)
	if known && (who.VM != "" || who.device) {
		return ghostError(dev, who, known)
	}
	for wait := newPatience(time.Until(deadlineOf(ctx))); ; {
		over, ok := try(ctx, h, func(s *scan) bool {
			_, err := s.fs.Stat(mdevDevicesDir + "/" + dev.ID)
			return err == nil || s.left(dev)
		})
		if ok && over {
			return nil // gone, or made again since
		}
		if wait.sleep(ctx) {
			continue
		}
		e := ghostError(dev, who, known)
		e.Cause, e.Next = cleaningUp, "retry in some seconds; the kernel finishes by itself"
		if !known {
			e.Cause += ", or a VM that cannot be seen from here has it open"
		}
		e.Err = errors.Join(ErrInUse, endOf(ctx))
		return e
	}
}

// ghostError says that a device cannot be removed again, and what will free it.
func ghostError(dev *Device, who holding, known bool) *Error {
	e := inUse(dev, who, known, 0)
	e.Meaning = "someone's removal of it has already begun, and cannot be repeated"
	if known {
		e.Cause = "it waits until " + who.String() + " lets go"
		e.Next = "stop " + who.short() + "; the kernel then finishes by itself"
	}
	return e
}
