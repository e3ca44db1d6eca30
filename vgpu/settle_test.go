package vgpu

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/vgpukit/vgpukit/vgpu/vgputest"
)

// settle lets each site's Manager reconcile, and compares the world with what must be true.
func (m *model) settle() {
	m.t.Helper()
	m.note("  all reconcile")
	m.settling = true
	defer func() { m.settling = false }()
	for _, s := range m.sites {
		s.hyper.SetGuest("", vgputest.Guest{}) // an interrupted stop is to be finished
	}
	for round := range 2 {
		for _, s := range m.sites {
			before := ""
			if round > 0 {
				before = s.stand()
			}
			report, err := m.reconcile(s, ReconcileOptions{Now: true}, nil)
			if s.foreign() {
				require.True(m.t, err == nil || errors.Is(err, ErrState), "%v: %s", err, m)
			} else {
				require.NoError(m.t, err, m)
			}
			if round == 0 {
				continue
			}
			for _, a := range report.Actions {
				require.False(m.t, a.Done, "the second time there is nothing to do: %+v: %s", a, m)
			}
			require.Equal(m.t, before, s.stand(), "the second time changes nothing: %s", m)
			m.inspect(s, report)
		}
	}
	m.demand()
}

// stand is a site's world and state, for comparison.
func (s *site) stand() string {
	out := s.world()
	for id, g := range s.grants() {
		out += fmt.Sprintf("%s %+v\n", id, g)
	}
	owners, _, err := s.m.store.owners.All()
	require.NoError(s.t, err)
	for _, w := range owners {
		out += fmt.Sprintf("%+v\n", w)
	}
	return strings.Join(slices.Sorted(strings.Lines(out)), "")
}

// inspect checks what must be true at a site after Reconcile.
func (m *model) inspect(s *site, report Report) {
	m.t.Helper()
	ctx := context.Background()
	m.inspectHost(s)
	if s.foreign() {
		return
	}
	var told []string
	for _, d := range report.Strangers {
		told = append(told, d.ID)
	}
	granted := map[string]uuid.UUID{}
	for id, g := range s.shelf.held {
		for _, d := range g.VGPUs {
			if !d.vf() && !s.shelf.returned[id] {
				require.NotContains(m.t, granted, d.ID, "two grants name one mdev: %s", m)
			}
			if !d.vf() && !s.shelf.returned[id] || m.origins[s.machine][d.ID].vm == id {
				granted[d.ID] = id
			}
		}
	}
	for id, o := range m.origins[s.machine] {
		switch {
		case o.vm == uuid.Nil && m.owned(s, id) == uuid.Nil:
			require.Contains(m.t, told, id, "a stranger's device is not told: %s", m)
		case o.vm == uuid.Nil || o.loose || m.elsewhere(s, o.vm):
		case granted[id] != o.vm:
			require.Fail(m.t, "leaked: the vGPU "+id+" is nobody's", "%+v: %s", o, m)
		}
	}
	vms, err := s.m.List(ctx)
	require.NoError(m.t, err, m)
	for _, v := range vms {
		m.inspectVM(s, v)
	}
	for _, sub := range []string{vmsDir + "/*.op", "*/.*"} {
		left, err := filepath.Glob(filepath.Join(s.dir, sub))
		require.NoError(m.t, err)
		left = slices.DeleteFunc(left, s.broughtBack)
		require.Empty(m.t, left, m)
	}
}

// has tells whether a libvirt of the site's machine works with its state directory.
func (s *site) has(libvirt string) bool {
	return slices.ContainsFunc(s.model.sites, func(other *site) bool {
		return other.machine == s.machine && other.shelf == s.shelf && other.m.libvirt == libvirt
	})
}

// broughtBack tells of an unfinished operation that a backup brought it back: that is told, and
// left alone.
func (s *site) broughtBack(path string) bool {
	name, ok := strings.CutSuffix(filepath.Base(path), ".op")
	id, err := uuid.Parse(name)
	if !ok || err != nil {
		return false
	}
	if g, granted := s.grants()[id]; granted {
		return s.restored(g) || !s.has(g.Libvirt)
	}
	last, noted, err := s.m.store.numbers.Read(name)
	t := s.tasks()[id]
	if !s.has(t.Libvirt) {
		return true
	}
	return err == nil && noted && last.Number > t.After && last.By != t.Number
}

// owned is the VM that an owner file of the site gives a device.
func (m *model) owned(s *site, id string) uuid.UUID {
	w, owned, err := s.m.ownerOf(id)
	if err != nil || !owned {
		return uuid.Nil
	}
	return w.VM
}

// elsewhere tells whether another state directory of the machine has the VM's grant.
func (m *model) elsewhere(s *site, vm uuid.UUID) bool {
	return slices.ContainsFunc(m.sites, func(other *site) bool {
		_, granted := other.shelf.held[vm]
		return other.machine == s.machine && other.shelf != s.shelf && granted
	})
}

// inspectVM checks one VM of ours after Reconcile.
func (m *model) inspectVM(s *site, v VM) {
	m.t.Helper()
	g := s.shelf.held[v.UUID]
	if g.Libvirt != s.m.libvirt {
		return
	}
	require.True(m.t, v.Unfinished == "" || s.restored(g), m)
	for _, d := range v.VGPUs {
		if !d.Present || s.restored(g) { // a backup's owner files say so: it is told that they are one's
			continue
		}
		o := m.origins[s.machine][d.ID]
		require.Equal(m.t, v.UUID, o.vm, "the vGPU %s is taken for one of %s, and it is %v: %s", d.ID, v.Name, o, m)
		require.True(m.t, v.Lifetime == Reserved || v.State == StateRunning || v.State == StateAbsent, "VM %s is off and holds a vGPU: %s", v.Name, m)
	}
}

// inspectHost checks that no GPU holds more than it can, and no vGPU has two VMs.
func (m *model) inspectHost(s *site) {
	m.t.Helper()
	inv, err := s.host.Inventory(context.Background())
	require.NoError(m.t, err)
	for _, gpu := range inv.GPUs {
		size := map[string]int{}
		for _, c := range gpu.Capacity {
			require.GreaterOrEqual(m.t, c.Available, 0, "capacity of %s: %s", gpu.Name, m)
			size[c.Type] = c.Max
		}
		share := 0.0
		for _, p := range gpu.Parents {
			for _, d := range p.Devices {
				if size[d.Type] > 0 {
					share += 1 / float64(size[d.Type])
				}
			}
		}
		require.LessOrEqual(m.t, share, 1.0001, "%s holds more than it can: %s", gpu.Name, m)
	}
	running := map[string]string{}
	for _, other := range m.sites {
		if other.machine != s.machine || other.shelf != s.shelf && other.hyper == s.hyper {
			continue
		}
		for _, def := range other.parted() {
			live, err := other.hyper.Virsh().LiveXML(context.Background(), def.UUID.String())
			if !def.State.Active() || err != nil {
				continue
			}
			for _, h := range hostdevsIn(live) {
				require.NotContains(m.t, running, h.ID(), "two running VMs have one vGPU: %s", m)
				running[h.ID()] = def.Name
			}
		}
	}
}
