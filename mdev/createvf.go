package mdev

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"
)

// createVF gives a virtual function its vGPU type. The virtual function stays
// bound to NVIDIA's driver throughout.
func (h *Host) createVF(ctx context.Context, req *CreateRequest, on *candidate) (Created, error) {
	p := &on.parent
	if req.UUID != noUUID {
		return Created{}, noUUIDHere(p.Name, "a virtual function of this framework has no UUID")
	}
	if len(p.Devices) > 0 {
		return h.existingVF(ctx, req, on)
	}
	vf := Device{ID: p.Name, Framework: p.Framework, Path: p.Path} // its files are there before it has a type
	if _, err := h.paramFiles(ctx, vf, req.Params); err != nil {
		return Created{}, err
	}
	file := p.Path + "/" + currentFile
	if err := h.writeOrUndo(ctx, file, on.typ.ID, p.Name); err != nil {
		e := explain("create", on.typ.ID+" on "+p.Name, vfTypeFile, err)
		switch e.Errno {
		case syscall.EPERM:
			h.explainVFTaken(ctx, e, file, err)
		case syscall.EIO:
			h.explainRefusal(ctx, e, on)
		}
		return Created{}, &lostError{e}
	}
	dev, err := h.waitReady(ctx, p.Name)
	if err == nil && dev.Type != on.typ.ID {
		return Created{}, &Error{ // theirs, so not ours to undo
			Op: "create", Object: p.Name, Meaning: fmt.Sprintf("someone gave the virtual function type %s after %s was written", dev.Type, on.typ.ID),
			Next: "look who else manages this host's vGPUs", Kind: ErrExists,
		}
	}
	if err == nil {
		err = h.setParams(ctx, &dev, req.Params, false)
	}
	if err != nil {
		return Created{}, h.undo(ctx, p.Name, err)
	}
	h.log.DebugContext(ctx, "created", "vf", p.Name, "type", on.typ.ID)
	return Created{Device: dev}, nil
}

func (h *Host) existingVF(ctx context.Context, req *CreateRequest, on *candidate) (Created, error) {
	dev := on.parent.Devices[0]
	if dev.Type != on.typ.ID {
		return Created{}, vfTaken(&dev)
	}
	if req.Exclusive {
		return Created{}, existsAsAsked(&dev)
	}
	if err := h.setParams(ctx, &dev, req.Params, true); err != nil {
		return Created{}, err
	}
	return Created{Device: dev, Existed: true}, nil
}

func vfTaken(dev *Device) *Error {
	return &Error{
		Op: "create", Object: dev.ID, Meaning: strings.TrimSuffix(fmt.Sprintf("the virtual function already has a vGPU, of type %s (%s)", dev.Type, dev.TypeName), " ()"),
		Next: "choose another virtual function, or remove that vGPU", Kind: ErrExists,
	}
}

// explainVFTaken tells the driver's EPERM, for a virtual function that has a
// vGPU, from the kernel's for want of a capability, which it gives already when
// the file is opened.
func (h *Host) explainVFTaken(ctx context.Context, e *Error, file string, err error) {
	data, readErr := h.readFile(ctx, file)
	if current := strings.TrimSpace(string(data)); readErr == nil && current != noVGPU {
		e.Meaning = "the virtual function already has a vGPU, of type " + current
		e.Cause, e.Next = "", "choose another virtual function, or remove that vGPU"
		return
	}
	var pathErr *fs.PathError
	if errors.As(err, &pathErr) && pathErr.Op == "write" {
		e.Meaning, e.Cause, e.Next = "the virtual function had a vGPU at that moment", "someone else made one and removed it", "retry"
		return
	}
	r := readings[anyFile][syscall.EPERM]
	e.Kind, e.Meaning, e.Cause, e.Next = r.kind, r.meaning, r.cause, r.next
}
