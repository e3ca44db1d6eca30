package mdev

import (
	"context"
	"errors"
	"os"
	"path"
	"slices"
	"strings"
	"time"
)

// wholeSightings is how often in a row a device is seen with its type, which the
// kernel takes away first, before it counts as made again.
const wholeSightings = 5

// tally is what a parent counts of a device's type, and all devices there are.
type tally struct {
	known       bool
	free, taken int
	devices     []string
}

func (h *Host) tally(ctx context.Context, dev *Device) tally {
	if dev.Type == "" {
		return tally{}
	}
	seen, _ := try(ctx, h, func(s *scan) tally { return s.tally(dev) })
	return seen
}

func (s *scan) tally(dev *Device) tally {
	typeDir := path.Dir(dev.Path) + "/" + mdevTypesDir + "/" + dev.Type
	free, err := s.fs.ReadFile(typeDir + "/available_instances")
	devices, errDevices := listDir(s.fs, typeDir+"/devices", s.buf)
	all, errAll := listDir(s.fs, mdevDevicesDir, s.buf)
	n, ok := parseCount(strings.TrimSpace(string(free)))
	return tally{ok && errors.Join(err, errDevices, errAll) == nil, n, len(devices), all}
}

// seeGone waits until the device has left, and until its instance is back or
// has been taken by another. A count that cannot be read is not waited for.
func (h *Host) seeGone(ctx context.Context, dev *Device, before tally) error {
	wait := newPatience(time.Until(deadlineOf(ctx)))
	for whole := 0; whole < wholeSightings; {
		seen, _ := try(ctx, h, func(s *scan) sighting { return s.sight(dev) })
		if seen == sightedGone {
			break
		}
		if seen == sightedWhole {
			whole++
		} else {
			whole = 0
		}
		if !wait.sleep(ctx) {
			return h.notGone(ctx, dev)
		}
	}
	for back := newPatience(time.Until(deadlineOf(ctx))); before.known; {
		now := h.tally(ctx, dev)
		if ctx.Err() == nil && !now.known || now.free > before.free || now.free+now.taken >= before.free+before.taken || h.takenSince(ctx, dev, before, now) {
			return nil
		}
		if !back.sleep(ctx) {
			return &Error{
				Op: "remove", Object: dev.ID, Meaning: "the device is gone, and " + dev.Parent + " does not count its instance as free", Cause: "its driver is still cleaning up",
				Next: "look at the capacity in the inventory before you make another", Err: endOf(ctx),
			}
		}
	}
	return nil
}

// sighting is what is seen of a device that is being removed.
type sighting int

const (
	sightedPart  sighting = iota // or nothing could be seen
	sightedWhole                 // with its type
	sightedGone
)

func (s *scan) sight(dev *Device) sighting {
	if s.left(dev) {
		return sightedGone
	}
	if _, err := s.fs.Readlink(dev.Path + "/mdev_type"); err == nil {
		return sightedWhole
	}
	return sightedPart
}

// left tells whether a device has left the bus and its parent.
func (s *scan) left(dev *Device) bool {
	_, err := s.fs.Stat(dev.Path)
	_, busErr := s.fs.Stat(mdevDevicesDir + "/" + dev.ID)
	return absent(err) && absent(busErr)
}

// takenSince tells whether the GPU has a device that it did not have: a type of
// another size would leave none of the instances that were free.
func (h *Host) takenSince(ctx context.Context, dev *Device, before, now tally) bool {
	return slices.ContainsFunc(now.devices, func(id string) bool {
		if slices.Contains(before.devices, id) || !isUUID(id) {
			return false
		}
		other, err := h.find(ctx, "remove", id)
		return err == nil && other.GPU == dev.GPU
	})
}

func (h *Host) notGone(ctx context.Context, dev *Device) error {
	e := &Error{
		Op: "remove", Object: dev.ID, Meaning: "the kernel accepted its removal, and it is still there", Cause: cleaningUp,
		Next: "retry in some seconds", Kind: ErrInUse, Err: endOf(ctx),
	}
	if who, known := h.lastHoldingOf(ctx, dev); known && who.PID != os.Getpid() {
		e.Cause, e.Next = "it is in use by "+who.String(), "stop "+who.short()+", then retry"
	}
	return e
}

// endOf is the error of a context that has ended or will within a moment.
func endOf(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return context.DeadlineExceeded
}
