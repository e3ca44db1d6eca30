package vgpu

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"os"
	"slices"

	"github.com/vgpukit/vgpukit/internal/statedir"
	"github.com/vgpukit/vgpukit/mdev"
)

// tidy sets damaged entries aside and removes the temporary files of writers
// that died, each under the lock of the VM whose file it is.
func (m *Manager) tidy(opts ReconcileOptions) []Action {
	var actions []Action
	if !opts.DryRun {
		m.store.dir.SweepNotes()
	}
	for _, tidy := range []func() ([]Action, error){
		func() ([]Action, error) { return tidyEntries(m, opts, lockOfVM, m.store.grants) },
		func() ([]Action, error) { return tidyEntries(m, opts, lockOfVM, m.store.tasks) },
		// Until then a damaged owner file means that the device is taken.
		func() ([]Action, error) { return tidyEntries(m, opts, lockOfDevice, m.store.owners) },
		// Until then nothing is placed on the GPU of a damaged policy.
		func() ([]Action, error) { return tidyEntries(m, opts, lockOfGPU, m.store.policies) },
	} {
		some, err := tidy()
		if actions = append(actions, some...); err != nil {
			return append(actions, Action{Kind: ActionSetAside, Reason: "the state directory could not be read"}.failed(err))
		}
	}
	for _, of := range []struct{ place, lock string }{{vmsDir, lockOfVM}, {ownersDir, lockOfDevice}, {gpusDir, lockOfGPU}} {
		leftovers, _ := m.store.dir.Leftovers(of.place) // what cannot be read was said above
		for _, path := range leftovers {
			a := Action{Kind: ActionSweep, Object: path, Reason: "a writer died before it was done"}
			actions = append(actions, m.underFileLock(opts, of.lock, a, func(*Action) error { return os.Remove(path) }))
		}
	}
	return actions
}

// stored are entries or marks.
type stored[T any] interface {
	All() (map[string]T, map[string]error, error)
	Load(path string) (T, error)
}

func tidyEntries[T any](m *Manager, opts ReconcileOptions, lock string, of stored[T]) (actions []Action, err error) {
	_, unread, err := of.All()
	for _, path := range slices.Sorted(maps.Keys(unread)) {
		actions = append(actions, tidyEntry(m, opts, lock, of, path, unread[path]))
	}
	return actions, err
}

// tidyEntry sets an entry aside if it is damaged, and reports it if it only cannot
// be read.
func tidyEntry[T any](m *Manager, opts ReconcileOptions, lock string, of stored[T], path string, why error) Action {
	var damaged *statedir.Damaged
	if !errors.As(why, &damaged) {
		return Action{Kind: ReportUnread, Object: path, Reason: "the entry could not be read"}.failed(why)
	}
	a := Action{Kind: ActionSetAside, Object: path, Reason: damaged.Err.Error()}
	return m.underFileLock(opts, lock, a, func(a *Action) error {
		if _, err := of.Load(path); !errors.As(err, &damaged) {
			return err // its owner has written it anew meanwhile
		}
		to, err := m.store.dir.SetAside(damaged)
		a.Reason += "; it is kept as " + to
		return err
	})
}

// underFileLock acts on a file of the state directory, which the action names, under
// the lock of its VM or virtual function.
func (m *Manager) underFileLock(opts ReconcileOptions, kind string, a Action, do func(*Action) error) Action {
	if opts.DryRun {
		return a
	}
	unlock, ok := m.store.dir.TryLockOf(kind, a.Object, opReconcile)
	if !ok {
		a.Kind, a.Next = ReportBusy, "reconcile again later"
		return a
	}
	defer unlock()
	if err := do(&a); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return a.failed(err)
	}
	a.Done = true
	return a
}

// tidyOwners takes away the owner files of devices that do not exist, and reports those of VMs
// that were granted nothing. The state directory is read anew: operations were finished since
// the survey.
func (m *Manager) tidyOwners(ctx context.Context, s *survey, opts ReconcileOptions) (actions []Action) {
	owners, _, err := m.store.owners.All()
	if err != nil {
		return []Action{Action{Kind: ActionDisown, Reason: "the owner files could not be read"}.failed(err)}
	}
	for _, id := range slices.Sorted(maps.Keys(owners)) {
		w := owners[id]
		v := view{id: w.VM}
		if g, ok, err := m.store.grants.Read(w.VM.String()); err != nil {
			continue // what is damaged is told by now
		} else if ok {
			v.grant = &g
		}
		_, there := s.devices[id]
		switch current := w.Boot == m.boot(); {
		case m.store.tasks.Has(w.VM.String()), v.grants(id) && (there || !current): // Start writes it anew
			continue
		default:
			a := Action{Kind: ActionDisown, VM: w.Name, Object: id, Reason: "the device that it is about does not exist"}
			if a, ok := m.tidyOwner(ctx, opts, a, w, v.grants(id)); ok {
				actions = append(actions, a)
			}
		}
	}
	return actions
}

func (m *Manager) tidyOwner(ctx context.Context, opts ReconcileOptions, a Action, w owner, granted bool) (Action, bool) {
	unlock, err := m.lockSoon(ctx, lockOfDevice, w.Device, opReconcile)
	if errors.Is(err, ErrBusy) {
		return a, false // whoever is at work on the device sees to it
	}
	if err != nil {
		return a.failed(err), true
	}
	defer unlock()
	now, known, err := m.store.owners.Read(w.Device)
	if err != nil || !known || now != w {
		return a, false
	}
	_, err = m.host.Find(ctx, w.Device)
	switch exists := err == nil; {
	case exists && w.Boot == m.boot() && granted:
		return a, false
	case exists && w.Boot == m.boot():
		a.Kind, a.Reason = ReportUnowned, "it was made for a VM that has no grant"
		a.Next = "remove it by force if it is not needed"
		return a, true
	case !exists && !errors.Is(err, mdev.ErrNotFound):
		return a.failed(err), true
	}
	if !opts.DryRun {
		if err := m.disown(w.Device); err != nil {
			return a.failed(err), true
		}
		a.Done = true
	}
	return a, true
}
