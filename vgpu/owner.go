package vgpu

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"

	"github.com/vgpukit/vgpukit/internal/fault"
	"github.com/vgpukit/vgpukit/internal/statedir"
	"github.com/vgpukit/vgpukit/mdev"
)

// owner says which VM has a device, in this boot of the host: no device outlives it. It is
// written before the device is made and taken away once that is gone.
type owner struct {
	Device    string    `json:"device"`
	VM        uuid.UUID `json:"vm"`
	Name      string    `json:"name"` // the VM's, for people
	Type      string    `json:"type"`
	Parent    string    `json:"parent"`
	Boot      string    `json:"boot"`
	Operation uuid.UUID `json:"operation"` // the one that wrote it
}

func (w owner) key() string { return w.Device }

// ownerOf reads who has a device. An owner of an earlier boot is none. One that cannot be
// read means that the device is taken: then the error tells why.
func (m *Manager) ownerOf(id string) (w owner, owned bool, err error) {
	w, owned, err = m.store.owners.Read(id)
	if errors.As(err, new(*statedir.Damaged)) {
		err = &Error{Object: id, Kind: ErrExists, Err: fmt.Errorf("whose it is cannot be read: %w", err), Next: "reconcile, which sets what is damaged aside"}
	}
	return w, owned && err == nil && w.Boot == m.boot(), err
}

// takenBy says that a device is another VM's.
func takenBy(w owner) *Error {
	return &Error{
		Object: w.Device, Kind: ErrExists, Err: fmt.Errorf("it is granted to the VM %s (%s)", w.Name, w.VM),
		Next: "choose another, or tear that VM down",
	}
}

// acquire makes a device the VM's before it is made, and returns a lock that keeps others
// away from it meanwhile.
func (o *operation) acquire(ctx context.Context, d device) (unlock func(), err error) {
	// Whoever has the lock makes or removes this device: no need to wait.
	free, err := o.m.lockSoon(ctx, lockOfDevice, d.ID, o.op+" "+o.vm)
	if errors.Is(err, ErrBusy) && ctx.Err() == nil {
		return nil, &Error{Object: d.ID, Kind: ErrExists, Err: errors.New("another operation is at work on it"), Next: "choose another parent"}
	}
	if err != nil {
		return nil, err
	}
	owned := false
	defer func() {
		if !owned {
			free()
		}
	}()
	if err := o.own(ctx, d); err != nil {
		return nil, err
	}
	owned = true
	return free, nil
}

// own writes the VM's owner file of a device that is about to be made, whose lock is held. That a
// stranger has made one is found when it is made.
func (o *operation) own(ctx context.Context, d device) error {
	w, owned, err := o.m.ownerOf(d.ID)
	if err != nil {
		return err
	}
	if owned {
		switch there, err := o.m.host.Find(ctx, d.ID); {
		case err == nil && w.VM != o.id:
			return takenBy(w)
		case err == nil:
			return taken(there)
		case !errors.Is(err, mdev.ErrNotFound):
			return err
		case w.VM != o.id && o.m.atWork(w):
			return takenBy(w)
		}
	}
	// What another VM has that is not there was removed by another program.
	if err := o.m.store.owners.Replace(o.ownerFile(d)); err != nil {
		return fault.Join(err, o.m.disown(d.ID))
	}
	return nil
}

func (o *operation) ownerFile(d device) owner {
	return owner{Device: d.ID, VM: o.id, Name: o.vm, Type: d.Type, Parent: d.Parent, Boot: o.m.boot(), Operation: o.number}
}

// atWork tells whether the operation that wrote an owner file is unfinished: it may be
// about to make the device.
func (m *Manager) atWork(w owner) bool {
	t, ok, err := m.store.tasks.Read(w.VM.String())
	return err != nil || ok && t.Number == w.Operation
}

// disown takes an owner file away. It needs no space.
func (m *Manager) disown(id string) error { return m.store.owners.Remove(id) }

// removeDevice removes a device that is the VM's by its owner file and by the grant, or
// by the operation that made it; it is content if it is gone or another's.
func (o *operation) removeDevice(ctx context.Context, v *view, id string) error {
	unlock, err := o.m.lock(ctx, lockOfDevice, id, "remove "+id)
	if err != nil {
		return err
	}
	defer unlock()
	w, owned, err := o.m.ownerOf(id)
	if err != nil || !owned || w.VM != v.id || !v.grants(id) && !(v.task != nil && w.Operation == v.task.Number) && w.Operation != o.number {
		return err
	}
	found, err := o.m.host.Find(ctx, id)
	switch {
	case errors.Is(err, mdev.ErrNotFound):
	case err != nil:
		return unplaced(err)
	case found.Type != "" && !mdev.SameType(found.Type, w.Type): // another's by now
	default:
		if err := o.m.host.Remove(ctx, id); err != nil && !errors.Is(err, mdev.ErrNotFound) {
			return err
		}
		o.record("removed", id)
	}
	return o.disownGone(id)
}

// disownGone takes the owner file of a device away that was removed. A full disk does not keep
// things from being freed.
func (o *operation) disownGone(id string) error {
	err := o.m.disown(id)
	if statedir.Unwritable(err) {
		o.log.Warn("an owner file cannot be removed; whoever takes the device does so", "device", id, "err", err)
		return nil
	}
	return err
}

// unplaced is the host's error without its own place, where a step tells it.
func unplaced(err error) error {
	var e *mdev.Error
	if !errors.As(err, &e) {
		return err
	}
	bare := *e
	bare.Op, bare.Object = "", ""
	return &bare
}

// reown writes owner files that are missing of devices which the grant names, and which
// agree with it: after the loss of the files, or when another tool, such as mdevctl, made the
// device first. The VM's lock is held.
func (o *operation) reown(ctx context.Context, v *view) error {
	for _, d := range v.devices {
		found, ok := v.unowned[d.ID]
		if !ok {
			continue
		}
		d.Parent = found.Parent
		if err := o.ownFound(ctx, d); err != nil {
			return err
		}
		v.found[d.ID] = found
		delete(v.unowned, d.ID)
	}
	return nil
}

// ownFound writes the owner file of a device that exists, unless it has one.
func (o *operation) ownFound(ctx context.Context, d device) error {
	unlock, err := o.m.lock(ctx, lockOfDevice, d.ID, "own "+d.ID)
	if err != nil {
		return err
	}
	defer unlock()
	w, owned, err := o.m.ownerOf(d.ID)
	switch {
	case err != nil:
		return err
	case owned && w.VM != o.id:
		return takenBy(w)
	case owned:
		return nil
	}
	return o.m.store.owners.Replace(o.ownerFile(d))
}
