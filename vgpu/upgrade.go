package vgpu

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/vgpukit/vgpukit/internal/atomicfile"
	"github.com/vgpukit/vgpukit/internal/statedir"
)

// upgrade carries over what earlier versions left in the state directory. It comes first in an
// operation, before any lock is held. A VM that cannot be carried over is left for the next
// operation and held back meanwhile.
func (m *Manager) upgrade(ctx context.Context) error {
	f := m.store.former
	if f.settled.Load() {
		return nil
	}
	if !m.hasFormer() {
		f.settled.Store(true)
		return nil
	}
	// Others may be at work on many VMs: they are waited for.
	unlock, err := m.lock(ctx, "state", "former", "carry over what an earlier version wrote")
	if err != nil {
		return err
	}
	defer unlock()
	back, err := m.moveFormer(ctx)
	if err != nil {
		return err
	}
	if m.at(formerDir).there() {
		more, err := m.carryFormer(ctx)
		if err != nil {
			return err
		}
		back = append(back, more...)
	}
	f.held.Store(&back)
	f.settled.Store(len(back) == 0)
	return nil
}

// formerPlaces are the folders below former/.
var formerPlaces = []string{formerDir + "/" + vmsDir, formerDir + "/" + journalDir, formerDir + "/" + leasesDir}

// place is a folder of the state directory.
type place string

func (m *Manager) at(name string) place { return place(filepath.Join(m.store.dir.Path(), name)) }

func (p place) there() bool {
	_, err := os.Lstat(string(p))
	return !errors.Is(err, fs.ErrNotExist)
}

// hasFormer tells whether an earlier version may have left something.
func (m *Manager) hasFormer() bool {
	if m.at(journalDir).there() || m.at(leasesDir).there() || m.at(formerDir).there() {
		return true
	}
	files, err := os.ReadDir(string(m.at(vmsDir)))
	return err != nil || slices.ContainsFunc(files, func(file fs.DirEntry) bool {
		name, ok := strings.CutSuffix(file.Name(), ".json")
		_, bad := uuid.Parse(name)
		return ok && bad != nil
	})
}

// moveFormer moves what earlier versions left below former/, where it is in nobody's way.
func (m *Manager) moveFormer(ctx context.Context) (back []held, err error) {
	f, dir := m.store.former, m.store.dir
	for _, from := range []string{vmsDir, journalDir} {
		if !m.at(from).there() {
			continue
		}
		to := f.claims
		if from == journalDir {
			to = f.intents
		}
		records := statedir.In(dir, from, record.name)
		if err := records.Upgrade(); err != nil {
			return nil, err
		}
		busy, err := moveEntries(m, from, records, to, func(name string, r record, move func() error) error {
			if r.Operation == "" {
				return nil // a grant
			}
			unlock, err := m.lockSoon(ctx, lockOfVM, name, "carry over "+name) // an earlier version may be at work on it
			if err != nil {
				return err
			}
			defer unlock()
			return move()
		})
		if err != nil {
			return nil, err
		}
		back = append(back, busy...)
	}
	if m.at(leasesDir).there() {
		more, err := moveEntries(m, leasesDir, statedir.In(dir, leasesDir, lease.name), f.leases, func(_ string, _ lease, move func() error) error { return move() })
		if err != nil {
			return nil, err
		}
		back = append(back, more...)
	}
	return back, m.removeEmpty(journalDir, leasesDir)
}

// moveEntries moves the entries of a place, each as may wants it. What is damaged is set aside,
// unless others see to it.
func moveEntries[T any](m *Manager, from string, entries, to statedir.Entries[T], may func(name string, content T, move func() error) error) (back []held, err error) {
	all, unread, err := entries.All()
	if err != nil {
		return nil, err
	}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		err := may(name, all[name], func() error {
			if err := m.makeFormer(); err != nil {
				return err
			}
			return entries.MoveTo(to, name)
		})
		switch {
		case errors.Is(err, ErrBusy):
			back = append(back, held{name: name, id: uuid.NewSHA1(formerSpace, []byte(name)), err: err})
		case err != nil:
			return nil, err
		}
	}
	if from == vmsDir {
		return back, nil // Reconcile sees to what is damaged there
	}
	more, err := m.setAside(unread)
	return append(back, more...), err
}

// makeFormer makes the folders below former/.
func (m *Manager) makeFormer() error {
	missing := false
	for _, name := range formerPlaces {
		p := m.at(name)
		if p.there() {
			continue
		}
		missing = true
		if err := os.MkdirAll(string(p), 0o700); err != nil {
			return m.unmovable(err)
		}
	}
	if !missing {
		return nil
	}
	files := new(atomicfile.Files)
	return m.unmovable(errors.Join(files.SyncDir(string(m.at(formerDir))), files.SyncDir(m.store.dir.Path())))
}

// unmovable explains an error of the file system; nil is none.
func (m *Manager) unmovable(err error) error {
	if err == nil {
		return nil
	}
	return &Error{
		Object: m.store.dir.Path(), Kind: ErrUnavailable, Err: fmt.Errorf("what an earlier version wrote cannot be moved: %w", err),
		Next: "see that the state directory can be written by this user, and that its file system has room",
	}
}

// setAside moves damaged entries away, and holds back what only cannot be read.
func (m *Manager) setAside(unread map[string]error) (back []held, err error) {
	for _, path := range slices.Sorted(maps.Keys(unread)) {
		var damaged *statedir.Damaged
		if !errors.As(unread[path], &damaged) {
			back = append(back, held{name: path, id: uuid.NewSHA1(formerSpace, []byte(path)), err: unread[path]})
			continue
		}
		to, err := m.store.dir.SetAside(damaged)
		if err != nil {
			return nil, err
		}
		m.log.Warn("damaged entry of an earlier version set aside", "file", to, "err", damaged.Err)
	}
	return back, nil
}

// removeEmpty removes folders that are empty but for the temporary files of writers that died.
func (m *Manager) removeEmpty(names ...string) error {
	for _, name := range names {
		if !m.at(name).there() {
			continue
		}
		leftovers, err := m.store.dir.Leftovers(name)
		if err != nil {
			return err
		}
		for _, path := range append(leftovers, string(m.at(name))) {
			err := m.store.dir.Files.Remove(path)
			if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrExist) {
				return m.unmovable(err)
			}
		}
	}
	return nil
}

// carryFormer carries over what is below former/.
func (m *Manager) carryFormer(ctx context.Context) (back []held, err error) {
	if err := m.makeFormer(); err != nil { // it may have been half made, or half removed
		return nil, err
	}
	f := m.store.former
	claims, unread, err := f.claims.All()
	if err != nil {
		return nil, err
	}
	intents, more, err := f.intents.All()
	if err != nil {
		return nil, err
	}
	maps.Copy(unread, more)
	leases, more, err := f.leases.All()
	if err != nil {
		return nil, err
	}
	maps.Copy(unread, more)
	if back, err = m.setAside(unread); err != nil {
		return nil, err
	}
	vms := map[string]formerVM{}
	for name, r := range claims {
		vms[name] = formerVM{name: name, claim: &r, leases: leases, all: vms}
	}
	for name, r := range intents {
		vm := vms[name]
		vm.name, vm.intent, vm.leases, vm.all = name, &r, leases, vms
		vms[name] = vm
	}
	var away error // libvirt's: one VM says it for all
	for _, name := range slices.Sorted(maps.Keys(vms)) {
		err := away
		if err == nil {
			err = m.carry(ctx, vms[name])
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if errors.Is(err, ErrUnavailable) {
			away = err
		}
		if err != nil {
			m.log.Warn("a VM of an earlier version cannot be carried over yet", "vm", name, "err", err)
			back = append(back, held{name: name, id: cmp.Or(vms[name].uuid(), uuid.NewSHA1(formerSpace, []byte(name))), ids: slices.Sorted(maps.Keys(vms[name].known())), err: err})
		}
	}
	for vf, l := range leases {
		if !slices.ContainsFunc(back, func(h held) bool { return h.name == l.VM }) {
			if err := f.leases.Remove(vf); err != nil {
				return nil, err
			}
		}
	}
	return back, m.removeEmpty(append(formerPlaces, formerDir)...)
}
