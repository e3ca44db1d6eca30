package mdev

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	"github.com/google/uuid"

	"github.com/vgpukit/vgpukit/internal/fault"
)

const (
	// createTimeout bounds a creation whose context has no deadline.
	createTimeout = 30 * time.Second
	// readyTimeout is how long a device may take to get its type, driver and
	// VFIO node after its creation.
	readyTimeout = 5 * time.Second
	// vanishPatience is how long the kernel may still know the UUID of a device
	// that is gone.
	vanishPatience = time.Second
	// createRounds is how often parents are chosen anew for a type.
	createRounds = 3
	// undoTimeout is how long a failed creation may take to be undone.
	undoTimeout = 15 * time.Second
)

var noUUID uuid.UUID

// errVanished: the device that had the UUID has gone since.
var errVanished = errors.New("it is gone since")

// CreateRequest says what to create.
type CreateRequest struct {
	// Type is the type's id ("nvidia-22") or name ("GRID M60-8Q"). Required.
	Type string `json:"type"`
	// Parent is the parent's name. Empty: any parent that has room.
	Parent string `json:"parent,omitempty"`
	// UUID is that of the new mdev. Zero: a new one is made. A virtual
	// function of the vendor-specific VFIO framework has none: a request that
	// has a UUID never uses one.
	UUID uuid.UUID `json:"uuid,omitzero"`
	// Params are written to the device after its creation, in order.
	Params []Param `json:"params,omitempty"`
	// Exclusive refuses with ErrExists a device that is already there, even if
	// it is as asked, and does not touch it.
	Exclusive bool `json:"exclusive,omitempty"`
}

// Created is a device as it was read back.
type Created struct {
	Device
	Existed bool `json:"existed"` // it was already there, as asked
}

// Create makes a device and returns it as the kernel shows it: with its type,
// IOMMU group and VFIO node, and its parameters set.
//
// It can be repeated: when the device is already there, with the same UUID (or
// on the same virtual function), type and, if one is named, parent, then its
// parameters are set and Existed is true, unless the request is Exclusive. When
// one of these fails, those before it are put back, as far as their old values
// can be read (those of an AP matrix cannot).
// Without UUID and parent each call makes another device.
//
// A request by type alone tries each parent that has room, in order of their
// names, until one takes it.
//
// The errors are [ErrInvalid], before anything is touched; [ErrNotFound] for
// an unknown parent or type, with the one that was probably meant;
// [ErrExists] when the UUID is that of another device, and says where;
// [ErrNoCapacity]; [ErrRefused], with what the GPU already runs;
// [ErrPermission]. A device that was made and is not as asked is removed
// again, also when ctx has ended. Without a deadline in ctx, 30 seconds are
// the bound.
func (h *Host) Create(ctx context.Context, req CreateRequest) (Created, error) {
	if err := req.check(); err != nil {
		return Created{}, err
	}
	ctx, cancel := bounded(ctx, createTimeout)
	defer cancel()
	if err := ended(ctx, "create", req.Type); err != nil {
		return Created{}, err
	}
	if req.UUID != noUUID {
		dev, err := look(ctx, h, "create", req.UUID.String(), func(s *scan) (Device, error) { return s.findOnBus("create", req.UUID.String()) })
		if err == nil {
			return h.existing(ctx, &req, dev)
		}
		if !errors.Is(err, ErrNotFound) {
			return Created{}, err
		}
	}
	wait := newPatience(vanishPatience)
	for round := 1; ; round++ {
		candidates, err := look(ctx, h, "create", req.Type, func(s *scan) ([]candidate, error) { return s.choose(ctx, &req) })
		if err != nil {
			if req.UUID != noUUID { // a device that has left the bus may have it
				if dev, there := h.device(ctx, "create", req.UUID.String(), false); there == nil {
					return h.existing(ctx, &req, dev)
				}
			}
			return Created{}, err
		}
		created, err := h.createOnAny(ctx, &req, candidates)
		var lost *lostError
		if !errors.As(err, &lost) {
			return created, err
		}
		// What looked free may have been lost to others; a driver that really
		// refuses does so again.
		again := req.Parent == "" && req.UUID == noUUID && !errors.Is(err, ErrNoCapacity)
		if !again || round == createRounds || !wait.sleep(ctx) {
			return Created{}, lost.err
		}
	}
}

// lostError is a refusal before anything was made: another parent may do.
type lostError struct{ err error }

func (e *lostError) Error() string { return e.err.Error() }
func (e *lostError) Unwrap() error { return e.err }

// createOnAny tries one parent after the other. It returns a *lostError when
// all refuse.
func (h *Host) createOnAny(ctx context.Context, req *CreateRequest, candidates []candidate) (Created, error) {
	var first error // of those that say most: the lack of room, else a refusal
	for i := range candidates {
		created, err := h.createOn(ctx, req, &candidates[i])
		var lost *lostError
		if !errors.As(err, &lost) {
			return created, err
		}
		err = lost.err
		if req.Parent != "" || ctx.Err() != nil || !parentLost(err) || req.UUID != noUUID && errors.Is(err, ErrExists) {
			return Created{}, err
		}
		if first == nil || errors.Is(err, ErrNoCapacity) && !errors.Is(first, ErrNoCapacity) || errors.Is(err, ErrRefused) && errors.Is(first, ErrExists) {
			first = err
		}
		h.log.DebugContext(ctx, "parent lost to another creator", "parent", candidates[i].parent.Name, "error", err)
	}
	if errors.Is(first, ErrNoCapacity) || errors.Is(first, ErrRefused) {
		return Created{}, &lostError{first}
	}
	return Created{}, &lostError{&Error{
		Op: "create", Object: req.Type, Meaning: "each parent that had room was lost to another creator", Cause: first.Error(), Next: "retry", Kind: ErrNoCapacity,
	}}
}

// check refuses what no kernel should be asked.
func (req *CreateRequest) check() error {
	invalid := func(object, meaning, next string) error {
		return &Error{Op: "create", Object: object, Meaning: meaning, Next: next, Kind: ErrInvalid}
	}
	switch {
	case req.Type == "":
		return invalid("", "no type is given", "name one by its id or name, as the inventory shows them")
	case !printable(req.Type):
		return invalid(fmt.Sprintf("%q", req.Type), "this cannot be a type", "name one by its id or name, as the inventory shows them")
	case req.Parent != "" && !validName(req.Parent):
		return invalid(fmt.Sprintf("%q", req.Parent), "this cannot be a parent", "name one as the inventory does: 0000:41:00.4, mtty")
	}
	for _, param := range req.Params {
		if err := param.check("create"); err != nil {
			return err
		}
	}
	return nil
}

// existing answers a request for a device that is already there.
func (h *Host) existing(ctx context.Context, req *CreateRequest, dev Device) (Created, error) {
	sameType := dev.isOf(req.Type)
	if dev.State == StateHalfMade && dev.Type == "" { // someone is making it now
		ready, err := h.waitReady(ctx, dev.ID)
		if err != nil {
			return Created{}, err
		}
		dev = ready
		sameType = dev.isOf(req.Type)
	}
	if dev.State == StateGhost {
		who, known := h.holdingOf(ctx, &dev)
		e := ghostError(&dev, who, known)
		e.Op, e.Kind = "create", ErrExists
		e.Next += "; or use another UUID"
		return Created{}, e
	}
	if !sameType || req.Parent != "" && req.Parent != dev.Parent {
		return Created{}, &Error{
			Op: "create", Object: dev.ID,
			Meaning: fmt.Sprintf("a device with this UUID already exists, of type %s (%s) under parent %s", dev.Type, dev.TypeName, dev.Parent),
			Next:    "use another UUID, or remove that device", Kind: ErrExists,
		}
	}
	if req.Exclusive {
		return Created{}, existsAsAsked(&dev)
	}
	ready, err := h.waitReady(ctx, dev.ID)
	if err != nil {
		return Created{}, err
	}
	if err := h.setParams(ctx, &ready, req.Params, true); err != nil {
		return Created{}, err
	}
	return Created{Device: ready, Existed: true}, nil
}

// existsAsAsked answers a request for a device that is there already.
func existsAsAsked(dev *Device) *Error {
	return &Error{
		Op: "create", Object: dev.ID, Meaning: fmt.Sprintf("another program has already made it, of type %s under parent %s", dev.Type, dev.Parent),
		Next: "choose another, or remove it if you know whose it is", Kind: ErrExists,
	}
}

func (h *Host) createOn(ctx context.Context, req *CreateRequest, on *candidate) (Created, error) {
	for _, param := range req.Params {
		if err := param.fits("create", on.parent.Framework, on.typ.DeviceAPI); err != nil {
			return Created{}, err
		}
	}
	if on.parent.Framework == FrameworkVendorVFIO {
		return h.createVF(ctx, req, on)
	}
	id := req.UUID
	if id == noUUID {
		id = uuid.New()
	}
	return h.createMdev(ctx, req, on, id.String())
}

func (h *Host) createMdev(ctx context.Context, req *CreateRequest, on *candidate, id string) (Created, error) {
	file := on.parent.Path + "/" + mdevTypesDir + "/" + on.typ.ID + "/create"
	wait := newPatience(vanishPatience)
	for {
		err := h.writeOrUndo(ctx, file, id, id)
		if err == nil {
			break
		}
		created, err := h.createFailed(ctx, req, on, id, err)
		if errors.Is(err, errVanished) && wait.sleep(ctx) {
			continue
		}
		return created, err
	}
	dev, err := h.waitReady(ctx, id)
	if err == nil && (dev.Type != on.typ.ID || dev.Parent != on.parent.Name) {
		return Created{}, &Error{ // theirs, so not ours to undo
			Op: "create", Object: id, Meaning: fmt.Sprintf("someone removed the device and made another with its UUID, of type %s under parent %s", dev.Type, dev.Parent),
			Next: "look who else manages this host's vGPUs", Kind: ErrExists,
		}
	}
	if err == nil {
		err = h.setParams(ctx, &dev, req.Params, false)
	}
	if err != nil {
		return Created{}, h.undo(ctx, id, err)
	}
	h.log.DebugContext(ctx, "created", "mdev", id, "type", on.typ.ID, "parent", on.parent.Name)
	return Created{Device: dev}, nil
}

// createFailed explains why the kernel did not make a device.
func (h *Host) createFailed(ctx context.Context, req *CreateRequest, on *candidate, id string, err error) (Created, error) {
	e := explain("create", on.typ.ID+" on "+on.parent.Name, createFile, err)
	switch e.Errno {
	case syscall.EEXIST:
		dev, err := h.device(ctx, "create", id, false)
		if err == nil {
			return h.existing(ctx, req, dev)
		}
		e.Object = id
		if errors.Is(err, ErrNotFound) {
			e.Err = errVanished
		}
	case syscall.EINVAL:
		e.Object = id + " of " + e.Object
	case syscall.EIO:
		h.explainRefusal(ctx, e, on)
	}
	return Created{}, &lostError{e}
}

// explainRefusal adds to NVIDIA's EIO what is known of the GPU: what it already runs, or the
// GPU instances that it lacks.
func (h *Host) explainRefusal(ctx context.Context, e *Error, on *candidate) {
	type seen struct {
		cause, next string
		full, runs  bool
	}
	parent, typ := on.parent, on.typ
	now, ok := try(ctx, h, func(s *scan) seen {
		var now seen
		again := Parent{Name: parent.Name, Path: parent.Path, PF: parent.PF, Framework: parent.Framework}
		t, listed := s.typeOf(&again, typ.ID)
		now.full = !listed || t.Available == 0
		for _, g := range s.gpusOf(ctx, s.siblingsWithAll(&parent)) {
			if g.Name == parent.GPU {
				now.cause, now.next = s.whyNot(&g, typ.Name)
				now.runs = runningOn(g.Parents) != "" && !g.inMIGMode()
			}
		}
		return now
	})
	if !ok {
		return
	}
	if now.cause != "" {
		e.Cause = "GPU " + parent.GPU + " " + now.cause
		if size := typ.Description.Framebuffer; size > 0 && now.runs {
			e.Cause += fmt.Sprintf(", and has no room for the %d MiB of this type beside that", size>>20)
		}
	}
	if now.full {
		e.Kind, e.Next = ErrNoCapacity, now.next
	}
}

// waitReady waits until a device is ready.
func (h *Host) waitReady(ctx context.Context, id string) (Device, error) {
	wait, made := newPatience(readyTimeout), newPatience(time.Until(deadlineOf(ctx))+time.Second) // the latter ends with ctx
	for missing := 0; ; {
		type sight struct {
			Device
			nodeSeen bool
		}
		seen, err := look(ctx, h, "create", id, func(s *scan) (sight, error) {
			dev, err := s.find("create", id)
			return sight{dev, err == nil && s.nodeSeen(&dev)}, err
		})
		dev := seen.Device
		if err == nil && dev.State == StateReady && seen.nodeSeen {
			return dev, nil
		}
		if err != nil && !errors.Is(err, ErrNotFound) {
			return Device{}, err
		}
		if err != nil {
			missing++
		}
		pause := wait
		if err == nil && dev.State == StateHalfMade && dev.Type == "" {
			pause = made // the kernel is at it, however busy it is
		}
		if missing < 3 && pause.sleep(ctx) {
			continue
		}
		if ctx.Err() != nil {
			return Device{}, &Error{Op: "create", Object: id, Meaning: "the device was not ready in time", Next: "allow more time", Err: ctx.Err()}
		}
		if err != nil {
			return Device{}, &Error{
				Op: "create", Object: id, Meaning: "the kernel accepted it, and the device is not there", Cause: "someone removed it at once",
				Next: "look who else manages this host's vGPUs", Kind: ErrNotFound,
			}
		}
		return Device{}, notReady(&dev)
	}
}

// nodeSeen tells whether a node to open the device by is there, if this system has any.
func (s *scan) nodeSeen(dev *Device) bool {
	if dev.IOMMUGroup == "" || dev.VFIONode != "" || dev.VFIOCdev != "" {
		return true
	}
	_, err := s.fs.Stat("dev/vfio")
	return absent(err)
}

func notReady(dev *Device) *Error {
	e := &Error{
		Op: "create", Object: dev.ID, Meaning: "the device did not become ready", Kind: ErrRefused,
		Next: "see the kernel log (dmesg)",
	}
	if dev.State == StateGhost {
		e.Meaning, e.Kind = "someone else is removing the device", ErrInUse
	}
	if len(dev.Problems) > 0 {
		e.Cause, e.Next = dev.Problems[0].Text, dev.Problems[0].Next
	}
	return e
}

// undo removes what a failed creation made. It has a time of its own, since
// ctx may have ended.
func (h *Host) undo(ctx context.Context, id string, cause error) error {
	err, done := h.afterwards(ctx, func(ctx context.Context) error {
		err := h.Remove(ctx, id)
		if err == nil || errors.Is(err, ErrNotFound) {
			return nil
		}
		h.log.WarnContext(ctx, "a device could not be removed after its creation failed", "mdev", id, "error", err)
		return err
	})
	if !done {
		err = &Error{Op: "remove", Object: id, Meaning: "its removal after the failed creation had not ended", Next: "look at the inventory", Pending: true}
	}
	return fault.Join(cause, err)
}
