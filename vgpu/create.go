package vgpu

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/vgpukit/vgpukit/internal/fault"
	"github.com/vgpukit/vgpukit/mdev"
)

// rounds is how often an operation looks for another place at most, each time because others
// were quicker.
const rounds = 64

// createAll creates vGPUs of the grant, each on the first of its candidates that the kernel
// accepts; capacity is decided by the kernel. Whoever loses a race looks again, as long as the
// host has room.
func (o *operation) createAll(ctx context.Context, g *grant, q question, p places) error {
	defer func() {
		p.pick.drop()
		o.noteRefusals(ctx)
	}()
	var refused refusals
	for round := 1; ; round++ {
		i, lost, err := o.createSome(ctx, g, q.which, p)
		if err == nil {
			p.pick.made()
			p.pick = p.pick.of.nothing()
			return nil
		}
		if len(lost) == 0 || ctx.Err() != nil {
			return err
		}
		refused = refused.and(lost)
		for _, one := range lost {
			if one.itself() {
				q.refused = append(q.refused, refusedBy{one.by.Parent, g.VGPUs[i].Type, p.reading.available(one.by.Parent, g.VGPUs[i].Type)})
			}
		}
		if round == rounds {
			return o.wrap("create", p.candidates[i][0].TypeName, refused.error())
		}
		q.afresh, q.devices, q.which = true, g.VGPUs, q.which[slices.Index(q.which, i):]
		p.pick.drop()
		var next places
		again := o.step(ctx, "place", "", func(ctx context.Context) error {
			next, err = o.m.place(ctx, q)
			return err
		})
		if again != nil {
			if errors.Is(again, ErrNoCapacity) && slices.ContainsFunc(refused, refusal.itself) && o.looksFree(ctx, q) {
				return o.wrap("create", p.candidates[i][0].TypeName, refused.error())
			}
			return again
		}
		p = next
	}
}

// looksFree tells whether the host seems to have room all the same where drivers refused: if
// not, others were quicker, and what they left is the reason.
func (o *operation) looksFree(ctx context.Context, q question) bool {
	q.refused = nil
	p, err := o.m.place(ctx, q)
	if err == nil {
		p.pick.drop()
	}
	return !errors.Is(err, ErrNoCapacity)
}

// createSome creates vGPUs until one has no candidate left; it returns which, and who refused
// it. Without refusals the error says what went wrong.
func (o *operation) createSome(ctx context.Context, g *grant, which []int, p places) (at int, lost refusals, err error) {
	for _, i := range which {
		lost = nil
		full := map[string]bool{} // GPUs whose driver refused
		candidates := p.candidates[i]
		if g.VGPUs[i].Pin != candidates[0].Parent {
			candidates = slices.Insert(slices.Clone(candidates), 1, p.reading.siblings(candidates[0], p.types[i], g.VM)...)
		}
		for _, c := range candidates {
			if full[c.GPU] && c.Parent != c.GPU || o.isTaken(c) {
				continue
			}
			if c.VF && slices.ContainsFunc(g.VGPUs, func(d device) bool { return d.ID == c.Parent && d.ID != g.VGPUs[i].ID }) {
				continue // another vGPU of this VM has it or gets it
			}
			d, next := g.VGPUs[i].at(c, p.types[i]), false
			err := o.step(ctx, "create", d.ID, func(ctx context.Context) (err error) {
				next, err = o.create(ctx, d, c, p.promised)
				return err
			})
			if err == nil {
				g.VGPUs[i] = d
				lost = nil
				break
			}
			if !next || ctx.Err() != nil {
				return i, nil, err
			}
			one := refusal{c, err}
			if lost = append(lost, one); one.itself() {
				o.suspects = append(o.suspects, suspect{one, p.types[i], p.reading.lookup})
			}
			full[c.GPU] = errors.Is(err, ErrRefused) || errors.Is(err, errNotAllowed)
		}
		if _, made := o.created[g.VGPUs[i].ID]; !made {
			if len(lost) == 0 { // others have taken all that were free
				lost = refusals{{p.candidates[i][0], &Error{Kind: ErrExists, Err: errors.New("another operation is at work on it")}}}
			}
			return i, lost, o.wrap("create", p.candidates[i][0].TypeName, lost.error())
		}
	}
	return 0, nil, nil
}

// isTaken tells whether a virtual function is being made another VM's at this moment.
func (o *operation) isTaken(c candidate) bool {
	if !c.VF {
		return false
	}
	w, owned, err := o.m.ownerOf(c.Parent)
	return err != nil || owned && w.VM != o.id && o.m.atWork(w)
}

// create makes one device under its GPU's lock; promised: see question. If it fails, next tells
// whether another parent may be tried.
func (o *operation) create(ctx context.Context, d device, c candidate, promised bool) (next bool, err error) {
	unlock, err := o.m.lock(ctx, lockOfGPU, c.GPU, o.op+" "+o.vm)
	if err != nil {
		return false, err
	}
	defer unlock()
	if err := o.stillAllowed(ctx, d, c, promised); err != nil {
		return tryNext(err, c), err
	}
	req := mdev.CreateRequest{Type: d.Type, Parent: c.Parent, Params: d.Params, Exclusive: true}
	id, mediated := d.uuid()
	if !c.VF && !mediated {
		return false, &Error{
			Kind: ErrInvalid, Err: fmt.Errorf("%s takes mediated devices, and %s names a virtual function", c.Parent, d.ID),
			Next: "tear the VM down, and provision it again on this host",
		}
	}
	if !c.VF {
		req.UUID = id
	}
	leave, err := o.acquire(ctx, d)
	if err != nil {
		return tryNext(err, c), err
	}
	defer leave()
	ours := true // what is there, or may still come
	late := false
	withdraw := o.onFailure("create", d.ID, func(ctx context.Context) error {
		if late { // the owner file stays for what may still come
			if _, err := o.m.host.Find(ctx, d.ID); errors.Is(err, mdev.ErrNotFound) {
				return nil
			}
		}
		return o.removeDevice(ctx, &view{id: o.id}, d.ID)
	})
	created, err := o.m.host.Create(ctx, req)
	switch {
	case err == nil:
		o.created[d.ID] = created.Device
		return false, nil
	case errors.Is(err, mdev.ErrExists):
		ours = false
	case pending(err): // the kernel may still make it
		o.unsure, late = true, true
		return false, err
	default:
		_, there := o.m.host.Find(context.WithoutCancel(ctx), d.ID)
		ours = !errors.Is(there, mdev.ErrNotFound)
	}
	if ours { // what could not be removed must not be forgotten
		return false, err
	}
	withdraw()
	return tryNext(err, c), fault.Join(err, o.m.disown(d.ID))
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
	return errors.Is(err, ErrNoCapacity) || errors.Is(err, mdev.ErrRefused) || errors.Is(err, mdev.ErrNotFound) || errors.Is(err, mdev.ErrInUse)
}
