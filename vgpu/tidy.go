package vgpu

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/vgpukit/vgpukit/internal/statedir"
)

// tidy sets damaged entries aside and removes the temporary files of writers
// that died, each under the lock of the VM whose file it is.
func (m *Manager) tidy(opts ReconcileOptions) []Action {
	var actions []Action
	if !opts.DryRun {
		m.store.dir.SweepNotes()
	}
	for _, entries := range []statedir.Entries[record]{m.store.intents, m.store.claims} { // a damaged lease counts as none
		_, unread, err := entries.All()
		if err != nil {
			return append(actions, Action{Kind: ActionSetAside, Reason: "the state directory could not be read"}.failed(err))
		}
		for _, path := range slices.Sorted(maps.Keys(unread)) {
			actions = append(actions, m.tidyEntry(opts, entries, path, unread[path]))
		}
	}
	for _, place := range []string{journalDir, claimsDir, leasesDir} {
		kind := lockOfVM
		if place == leasesDir {
			kind = lockOfVF
		}
		leftovers, _ := m.store.dir.Leftovers(place) // what cannot be read was said above
		for _, path := range leftovers {
			a := Action{Kind: ActionSweep, Object: path, Reason: "a writer died before it was done"}
			actions = append(actions, m.underFileLock(opts, kind, a, func(*Action) error { return os.Remove(path) }))
		}
	}
	return actions
}

// tidyEntry sets an entry aside if it is damaged, and reports it if it only cannot
// be read.
func (m *Manager) tidyEntry(opts ReconcileOptions, entries statedir.Entries[record], path string, why error) Action {
	var damaged *statedir.Damaged
	if !errors.As(why, &damaged) {
		return Action{Kind: ReportUnread, Object: path, Reason: "the entry could not be read"}.failed(why)
	}
	a := Action{Kind: ActionSetAside, Object: path, Reason: damaged.Err.Error()}
	return m.underFileLock(opts, lockOfVM, a, func(a *Action) error {
		if _, err := entries.Load(path); strings.HasSuffix(path, ".json") && !errors.As(err, &damaged) {
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
