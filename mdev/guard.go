package mdev

import (
	"context"
	"errors"
	"io"
	"os"
	"path"
	"strings"
	"syscall"
	"time"
)

const (
	// guardPatience is how long a process that has the VFIO group open, and no
	// device, may be taken for another remover.
	guardPatience = 500 * time.Millisecond
	// hiddenPatience is the same for a holder that root cannot see: it has
	// gone when it is looked for, unless it is in another container.
	hiddenPatience = 2 * time.Second
)

// guard opens the device's VFIO group, which only one can have. It returns
// nil when there is nothing to hold: a half-made device, a system without
// group nodes, or a group that is shared with other functions. It reads dev
// again where the device may have been made anew meanwhile.
func (h *Host) guard(ctx context.Context, dev *Device) (io.Closer, error) {
	wait, hidden := newPatience(guardPatience), newPatience(hiddenPatience)
	for {
		node, again, err := h.take(ctx, dev)
		switch {
		case err == nil && !again:
			return node, nil
		case err != nil && !errors.As(err, new(*busyError)):
			return nil, err
		case err != nil:
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
				return nil, inUse(dev, who, known, errnoOf(err))
			}
		}
		now, err := h.find(ctx, "remove", dev.ID)
		if errors.Is(err, ErrNotFound) {
			return nil, nil // another remover had it, and was faster
		}
		if err == nil {
			*dev = now
		}
	}
}

// take tries once to see that nobody has the device, and to hold its group. Again: the
// group was another device's by then. A [busyError]: someone has it.
func (h *Host) take(ctx context.Context, dev *Device) (node io.Closer, again bool, err error) {
	if dev.IOMMUGroup == "" || h.groupShared(ctx, dev) {
		return nil, false, h.refuseIfHeld(ctx, dev)
	}
	node, own, err := h.openGroup(ctx, dev)
	switch {
	case err == nil && own:
		return node, false, nil
	case err == nil:
		_ = node.Close()
		return nil, true, nil
	case errors.Is(err, syscall.EBUSY):
		return nil, false, &busyError{err}
	case errors.As(err, new(*Error)): // ctx has ended
		return nil, false, err
	case absent(err) || errors.Is(err, syscall.ENXIO):
		return nil, false, h.refuseIfHeld(ctx, dev)
	}
	return nil, false, explain("remove", dev.ID, groupNode, err)
}

// openGroup opens the node of a device's group, and tells whether the group is still the
// device's. A node that is opened too late is closed again.
func (h *Host) openGroup(ctx context.Context, dev *Device) (node io.Closer, own bool, err error) {
	type opened struct {
		node io.Closer
		own  bool
		err  error
	}
	if err := ended(ctx, "remove", dev.ID); err != nil {
		return nil, false, err
	}
	s := h.newScan()
	file, link, group := "dev/vfio/"+dev.IOMMUGroup, dev.Path+"/iommu_group", dev.IOMMUGroup
	got, ok := run(ctx, &h.stuck, func() opened {
		node, err := s.fs.OpenNode(file)
		if err != nil {
			return opened{err: err}
		}
		target, err := s.fs.Readlink(link)
		return opened{node: node, own: err != nil || path.Base(target) == group}
	}, func(late opened) {
		if late.node != nil {
			_ = late.node.Close()
		}
	})
	if !ok {
		return nil, false, s.hung(ctx, "remove", dev.ID)
	}
	return got.node, got.own, got.err
}

// groupShared tells whether a virtual function's group has other functions,
// whose VMs would make it busy.
func (h *Host) groupShared(ctx context.Context, dev *Device) bool {
	if dev.Framework != FrameworkVendorVFIO {
		return false
	}
	devices := "sys/kernel/iommu_groups/" + dev.IOMMUGroup + "/devices"
	shared, _ := try(ctx, h, func(s *scan) bool {
		entries, err := s.fs.ReadDir(devices)
		return err == nil && len(entries) > 1
	})
	return shared
}

// refuseIfHeld asks the device itself, where it has a node of its own and its group has
// none, and looks through the processes.
func (h *Host) refuseIfHeld(ctx context.Context, dev *Device) error {
	shared := dev.Framework == FrameworkVendorVFIO && h.groupShared(ctx, dev)
	if dev.VFIONode == "" && dev.VFIOCdev != "" {
		if err := h.tryBind(ctx, dev); errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.EBUSY) && !shared {
			return &busyError{err}
		}
	} else if shared {
		return nil // its holder may have another function; the driver decides
	}
	if who, known := h.holdingOf(ctx, dev); known {
		return inUse(dev, who, known, 0)
	}
	return ended(ctx, "remove", dev.ID) // who was not found then may be there
}

// tryBind opens the device by its own node for a moment. All but "in use" says nothing: a
// kernel without iommufd, or NVIDIA's driver, which opens a device only for a VM.
func (h *Host) tryBind(ctx context.Context, dev *Device) error {
	binder, ok := h.fs.(BindFS)
	if !ok {
		return nil
	}
	node := strings.TrimPrefix(dev.VFIOCdev, "/")
	_, err := look(ctx, h, "remove", dev.ID, func(s *scan) (struct{}, error) {
		s.fs.at("open", "", node)
		return struct{}{}, binder.Bind(node)
	})
	return err
}

// busyError is what the kernel says of a device that someone has open.
type busyError struct{ error }

func (e *busyError) Unwrap() error { return e.error }

func inUse(dev *Device, who holding, known bool, errno syscall.Errno) *Error {
	e := &Error{Op: "remove", Object: dev.ID, Errno: errno, Meaning: "the device is in use", Next: "stop the VM, then retry", Kind: ErrInUse}
	if !known {
		e.Cause, e.Next = unseen(os.Geteuid(), dev)
		return e
	}
	e.Meaning += " by " + who.String()
	e.Next = "stop " + who.short() + ", then retry"
	return e
}

// unseen says why nobody is seen who has a device open.
func unseen(euid int, dev *Device) (cause, next string) {
	if euid != 0 {
		return "who has it open cannot be seen without root", "stop the VM, then retry; as root, the error names it"
	}
	return "who has it open is in another container or PID namespace, and cannot be seen from here",
		"look on the host itself (fuser -v " + strings.Join(dev.nodes(), " ") + "), stop that VM, then retry"
}
