package vgpu

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/vgpukit/vgpukit/domain"
	"github.com/vgpukit/vgpukit/mdev"
	"github.com/vgpukit/vgpukit/vgpu/vgputest"
)

// byHand makes up what people and other programs do.
func (m *hostModel) byHand(s *site, name string) {
	ctx, virsh := context.Background(), s.hyper.Virsh()
	other := m.name(s)
	switch m.rng.IntN(28) {
	case 0:
		if m.running(s, name) {
			m.by(s, virsh.Crash(ctx, name), "kill QEMU of %s", name)
		}
	case 1, 2:
		m.startByHand(s, name)
	case 3:
		if m.running(s, name) {
			m.by(s, virsh.Destroy(ctx, name), "virsh destroy %s", name)
		}
	case 4:
		if name != "theirs" {
			m.texts[s.name+name] = s.text(name)
			m.undefine(s, name)
		}
	case 5: // again as it was at some time
		if text := m.texts[s.name+name]; text != "" {
			_, err := virsh.Define(ctx, text)
			m.by(s, err, "define %s as it was", name)
		}
	case 6:
		m.texts[s.name+name] = s.text(name)
	case 7: // a vGPU of ours is removed
		if ids := m.ids(s.machine, func(o origin) bool { return o.vm != uuid.Nil }); len(ids) > 0 {
			m.removeByHand(s, m.one(ids))
		}
	case 8:
		m.makeByHand(s, mdev.CreateRequest{Type: m.one(m.types)})
	case 9: // a stranger removes one of his
		if ids := m.ids(s.machine, func(o origin) bool { return o.vm == uuid.Nil }); len(ids) > 0 {
			m.removeByHand(s, ids[0])
		}
	case 10:
		s.hyper.SetGuest("", vgputest.Guest{Deaf: m.chance(0.3), IgnoresSIGTERM: m.chance(0.2)})
	case 11:
		if m.chance(0.4) {
			m.reboot(s)
		}
	case 12, 13:
		name = m.one(vmNames)
		m.clone(s, other, name, documentUUID(fmt.Sprint(name, " cloned ", m.rng.IntN(2))))
	case 14:
		m.swap(s, name, documentUUID(name+" swapped"))
	case 15:
		m.by(s, virsh.Rename(ctx, name, m.one(vmNames)), "rename %s", name)
	case 16:
		m.dropCopy(s, name)
	case 17:
		m.dropHostdev(s, name)
	case 18:
		if ids := m.ids(s.machine, func(origin) bool { return true }); len(ids) > 0 {
			m.addHostdev(s, name, m.one(ids))
		}
	case 19:
		m.forgeUp(s, name)
	case 20:
		if m.chance(0.5) {
			m.by(s, virsh.Snapshot(ctx, name, "s"), "snapshot of %s", name)
		} else if !m.running(s, name) {
			m.by(s, m.revert(s, name), "revert %s", name)
		}
	default:
		m.harm(s)
	}
}

// revert brings back what a VM was, if that was off.
func (m *hostModel) revert(s *site, name string) error {
	if err := s.hyper.Virsh().Revert(context.Background(), name, "s"); err != nil {
		return err
	}
	return nil
}

// forgeUp makes up what a VM's metadata claims: any device, in any spelling.
func (m *hostModel) forgeUp(s *site, name string) {
	ids := m.ids(s.machine, func(origin) bool { return true })
	id := uuid.NewString()
	if len(ids) > 0 {
		id = m.one(ids)
	}
	id = []string{id, strings.ToUpper(id), " " + id, strings.TrimPrefix(id, "0000:"), strings.ReplaceAll(id, "-", ""), "x"}[m.rng.IntN(6)]
	typ := "nvidia-22"
	for _, g := range s.shelf.held {
		typ = g.VGPUs[0].Type
	}
	vm := []uuid.UUID{uuid.Nil, documentUUID(name), documentUUID("a")}[m.rng.IntN(3)]
	if info, err := s.hyper.Virsh().Info(context.Background(), name); err == nil && m.chance(0.5) {
		vm = info.UUID
	}
	scope := domain.ScopeSaved
	if m.running(s, name) && m.chance(0.5) {
		scope |= domain.ScopeLive
	}
	m.forge(s, name, claiming(vm, id, typ, m.one([]string{"reserved", "while-running", "for ever", ""})), scope)
}

// harm makes up what happens to state directories.
func (m *hostModel) harm(s *site) {
	if s.foreign() {
		return
	}
	switch m.rng.IntN(12) {
	case 0:
		m.loseOwners(s)
	case 1:
		if files := s.owners(); len(files) > 0 {
			m.tamper(s, "damage an owner file", func(string) error { return os.WriteFile(m.one(files), []byte("{"), 0o600) })
		}
	case 2:
		if m.chance(0.3) {
			m.loseState(s)
		}
	case 3, 4:
		if m.old == "" {
			m.old = stateDir(m.t)
		}
		require.NoError(m.t, copyState(m.sites[0].dir, m.old))
		m.olds = m.sites[0].shelf.machine
		m.note("keep a copy of the state directory")
	case 5:
		if m.old != "" && s.shelf == m.sites[0].shelf {
			m.tamper(s, "put the old state directory back", func(dir string) error {
				s.shelf.machine = m.olds
				return copyState(m.old, dir)
			})
		}
	case 6:
		m.oldFile(s)
	case 7:
		m.carry()
	default:
		if m.old != "" {
			m.oldFile(s)
		}
	}
}

// oldFile puts one old grant back.
func (m *hostModel) oldFile(s *site) {
	files, err := filepath.Glob(filepath.Join(m.old, vmsDir, "*.json"))
	require.NoError(m.t, err)
	if m.old == "" || len(files) == 0 || s.shelf != m.sites[0].shelf {
		return
	}
	file := m.one(files)
	m.tamper(s, "put "+filepath.Base(file)+" back", func(dir string) error {
		content, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(dir, vmsDir, filepath.Base(file)), content, 0o600)
	})
}

// carry copies the state directory to the other machine.
func (m *hostModel) carry() {
	if len(m.sites) < 3 {
		return
	}
	from, to := m.sites[0], m.sites[2]
	require.NoError(m.t, copyState(from.dir, to.dir))
	to.shelf.machine = from.shelf.machine
	to.renew()
	m.note("copy the state directory to the other machine")
	m.harmed(to.shelf)
	to.shelf.held = to.grants()
}

// wayOut takes the ways out that are told of a VM, and sees that they lead somewhere.
func (m *hostModel) wayOut(s *site, name string) {
	ctx := context.Background()
	if s.foreign() {
		m.takeOver(s, nil)
	}
	require.False(m.t, s.foreign(), m)
	if slices.ContainsFunc(slices.Collect(maps.Values(s.shelf.held)), s.restored) {
		m.takeOver(s, nil)
		require.False(m.t, slices.ContainsFunc(slices.Collect(maps.Values(s.shelf.held)), s.restored), m)
	}
	_, err := m.reconcile(s, ReconcileOptions{Repair: true}, nil)
	require.NoError(m.t, err, m)
	v, err := s.m.Status(ctx, name)
	if err != nil || v.State == StateAbsent || len(v.Drift) == 0 || m.running(s, name) {
		return
	}
	if _, granted := s.shelf.held[v.UUID]; granted {
		for _, d := range v.Drift {
			require.Contains(m.t, d.Text, "hostdev", "what Repair mends is mended: %s", m)
		}
		_, _, err := m.try(s, updateVerb(name, UpdateOptions{}), nil)
		require.NoError(m.t, err, m)
		return
	}
	if _, _, err = m.try(s, adoptVerb(name, AdoptOptions{}), nil); err == nil {
		return
	}
	if !errors.Is(err, ErrExists) && !errors.Is(err, ErrInUse) {
		return
	}
	_, _, err = m.try(s, adoptVerb(name, AdoptOptions{Fresh: true}), nil)
	if err != nil {
		require.Contains(m.t, []error{ErrNoCapacity, ErrState, ErrExists, ErrNotFound, ErrInvalid}, KindOf(err), "%v: %s", err, m)
	}
}
