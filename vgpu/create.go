package vgpu

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/vgpukit/vgpukit/internal/fault"
	"github.com/vgpukit/vgpukit/mdev"
)

// createAll creates the devices at the given places of rec, each on the first of its
// candidates that the kernel accepts; capacity is decided by the kernel. It
// tells whether a device is another one than rec said before.
func (o *operation) createAll(ctx context.Context, rec *record, which []int, candidates [][]candidate) (moved bool, err error) {
	for _, i := range which {
		before := rec.Devices[i].ID
		if err := o.createOne(ctx, rec, i, candidates[i]); err != nil {
			return moved, err
		}
		moved = moved || rec.Devices[i].ID != before
	}
	return moved, nil
}

func (o *operation) createOne(ctx context.Context, rec *record, i int, candidates []candidate) error {
	var refused refusals
	for n, c := range candidates {
		if c.VF && slices.ContainsFunc(rec.Devices, func(d device) bool { return d.ID == c.Parent && d.ID != rec.Devices[i].ID }) {
			continue // another vGPU of this VM has it or gets it
		}
		if n > 0 || rec.Devices[i].Parent != c.Parent {
			if err := o.moveIntent(ctx, rec, i, c); err != nil {
				return err
			}
		}
		d, next := rec.Devices[i], false
		err := o.step(ctx, "create", d.ID, func(ctx context.Context) (err error) {
			next, err = o.create(ctx, d, c)
			return err
		})
		if err == nil {
			return nil
		}
		if !next || ctx.Err() != nil {
			return err
		}
		refused = append(refused, refusal{c, err})
	}
	return o.wrap("create", candidates[0].TypeName, refused.error())
}

// moveIntent says in the journal that device i will be made on another parent,
// before it is.
func (o *operation) moveIntent(ctx context.Context, rec *record, i int, c candidate) error {
	old := rec.Devices[i].ID
	rec.Devices[i].Parent = c.Parent
	if c.VF {
		rec.Devices[i].ID = c.Parent
	}
	for j, id := range rec.Makes {
		if id == old {
			rec.Makes[j] = rec.Devices[i].ID
		}
	}
	return o.step(ctx, "journal", c.Parent, func(context.Context) error { return o.m.store.intents.Write(*rec) })
}

// create makes one device under its GPU's lock. If it fails, next tells whether
// another parent may be tried.
func (o *operation) create(ctx context.Context, d device, c candidate) (next bool, err error) {
	unlock, err := o.m.lock(ctx, lockOfGPU, c.GPU, o.op+" "+o.vm)
	if err != nil {
		return false, err
	}
	defer unlock()
	req := mdev.CreateRequest{Type: d.Type, Parent: c.Parent, Params: d.Params, Exclusive: true}
	id, mediated := d.uuid()
	if !c.VF && !mediated {
		return false, &Error{
			Kind: ErrInvalid, Err: fmt.Errorf("%s takes mediated devices, and %s names a virtual function", c.Parent, d.ID),
			Next: "correct the vGPU's id or its type in the domain's metadata",
		}
	}
	if c.VF {
		leave, err := o.acquireVF(ctx, c.Parent)
		if err != nil {
			return tryNext(err, c), err
		}
		defer leave()
	} else {
		req.UUID = id
	}
	ours := true // what is there, or may still come
	withdraw := o.onFailure("create", d.ID, func(ctx context.Context) error { return o.m.removeDevice(ctx, o.vm, d) })
	created, err := o.m.host.Create(ctx, req)
	switch {
	case err == nil:
		o.created[d.ID] = created.Device
		return false, nil
	case errors.Is(err, mdev.ErrExists):
		ours = false
	case pending(err): // the kernel may still make it
		o.unsure = true
		return false, err
	default:
		_, there := o.m.host.Find(context.WithoutCancel(ctx), d.ID)
		ours = !errors.Is(there, mdev.ErrNotFound)
	}
	if ours { // what could not be removed must not be forgotten
		return false, err
	}
	withdraw()
	if c.VF {
		err = fault.Join(err, o.m.releaseVF(c.Parent, o.vm))
	}
	return tryNext(err, c), err
}

// pending tells of a failed creation whether the kernel may still do it.
func pending(err error) bool {
	var (
		e    *mdev.Error
		told *told
	)
	switch {
	case errors.As(err, &e):
		return e.Pending
	case errors.As(err, &told) && told.Pending:
		return true
	}
	return unanswered(err) // a caller's own Host
}

// tryNext tells whether another parent may take what this one refused.
func tryNext(err error, c candidate) bool {
	if errors.Is(err, mdev.ErrExists) {
		return c.VF
	}
	return errors.Is(err, ErrNoCapacity) || errors.Is(err, mdev.ErrRefused) || errors.Is(err, mdev.ErrNotFound) || errors.Is(err, mdev.ErrInUse) ||
		c.VF && errors.Is(err, ErrExists)
}
