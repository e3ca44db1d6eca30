package vgpu

import (
	"context"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/vgpukit/vgpukit/domain"
	"github.com/vgpukit/vgpukit/internal/statedir"
	"github.com/vgpukit/vgpukit/mdev"
	"github.com/vgpukit/vgpukit/vgpu/vgputest"
)

// model is what must be true of some machines, whatever is done to them. What it knows it
// knows from what was asked for, from answers, and from watching what is written to the hosts;
// not from the Manager's own checks.
type model struct {
	t       testing.TB
	sites   []*site
	origins []map[string]origin // by machine: who made each device
	trail   []string            // what was done, for the report
	wrong   []string            // what was done and must not be
	called  string              // the VM that the last call was about

	settling bool // it reconciles to check, which the report need not say each time
}

// site is a libvirt on a machine, with the state directory that a Manager there uses.
type site struct {
	*rig
	name    string
	machine int
	shelf   *shelf
	model   *model
}

// shelf is a state directory.
type shelf struct {
	path    string
	machine int                 // whose it is; nobody: of whoever opens it first
	held    map[uuid.UUID]grant // what was granted, as operations that succeeded say
	// returned are VMs whose grants somebody put back: they may name what others were granted
	// meanwhile, if nothing of this boot tells.
	returned map[uuid.UUID]bool
}

const nobody = -1

// origin is who made a device.
type origin struct {
	vm uuid.UUID // the VM that it was made for, or that adopted it; zero: a stranger made it
	// loose: nothing says any more whose it is, since somebody harmed the state directory: the
	// VM may get it again, and it may be left.
	loose bool
	// former is the VM by which it was forgotten: an old grant may bring it back.
	former uuid.UUID
}

func (o origin) String() string {
	switch {
	case o.vm == uuid.Nil && o.former == uuid.Nil:
		return "a stranger's"
	case o.vm == uuid.Nil:
		return "forgotten by " + o.former.String()
	case o.loose:
		return "perhaps of " + o.vm.String()
	}
	return "of " + o.vm.String()
}

// addSite adds a libvirt on the machine of a rig.
func (m *model) addSite(name string, machine int, r *rig, sh *shelf) *site {
	s := &site{rig: r, name: name, machine: machine, shelf: sh, model: m}
	s.dir = sh.path
	m.sites = append(m.sites, s)
	for len(m.origins) <= machine {
		m.origins = append(m.origins, map[string]origin{})
	}
	s.renew()
	return s
}

// beside is another libvirt on a rig's machine, or the same one with another state directory.
func (r *rig) beside(hyper *vgputest.Hypervisor, dir string) *rig {
	other := *r
	other.hyper, other.dir = hyper, dir
	return &other
}

// renew opens the site's state directory anew.
func (s *site) renew() {
	s.m = s.manager(Observer{})
	if s.shelf.machine == nobody {
		s.shelf.machine = s.machine
	}
}

// foreign tells that the state directory is another machine's.
func (s *site) foreign() bool { return s.shelf.machine != s.machine && s.shelf.machine != nobody }

func (m *model) String() string {
	out := m.sites[0].board + "\n" + strings.Join(m.trail, "\n") + "\n"
	for _, s := range m.sites {
		out += "at " + s.name + "\n" + s.world()
		grants, _, _ := s.m.store.grants.All()
		for _, g := range grants {
			out += fmt.Sprintf("grant %+v\n", g)
		}
		owners, _, _ := s.m.store.owners.All()
		for _, w := range owners {
			out += fmt.Sprintf("owner %+v current %v\n", w, w.Boot == s.m.boot())
		}
	}
	return out + fmt.Sprintf("%+v", m.origins)
}

func (m *model) note(format string, args ...any) {
	m.trail = append(m.trail, fmt.Sprintf(format, args...))
}

func (m *model) violated(format string, args ...any) {
	m.wrong = append(m.wrong, fmt.Sprintf(format, args...))
}

// demand fails the test if something was done that must not be.
func (m *model) demand() {
	m.t.Helper()
	if len(m.wrong) > 0 {
		require.FailNow(m.t, "violated: "+strings.Join(m.wrong, "; "), m)
	}
}

// grants and tasks are what is stored at a site, by VM.
func (s *site) grants() map[uuid.UUID]grant {
	return byVM(s, s.m.store.grants, func(g grant) uuid.UUID { return g.VM })
}

func (s *site) tasks() map[uuid.UUID]task {
	return byVM(s, s.m.store.tasks, func(t task) uuid.UUID { return t.VM })
}

func byVM[T any](s *site, entries statedir.Entries[T], vm func(T) uuid.UUID) map[uuid.UUID]T {
	all, _, err := entries.All()
	require.NoError(s.t, err)
	out := map[uuid.UUID]T{}
	for _, e := range all {
		out[vm(e)] = e
	}
	return out
}

// restored tells that a VM's grant is older than one which this boot has seen.
func (s *site) restored(g grant) bool {
	last, noted, err := s.m.store.numbers.Read(g.VM.String())
	return err == nil && noted && last.Number > g.Number
}

// parted are a site's VMs: their documents and whether they run.
func (s *site) parted() map[uuid.UUID]domain.Definition {
	ctx := context.Background()
	infos, err := s.hyper.Virsh().Domains(ctx)
	require.NoError(s.t, err)
	parts := map[uuid.UUID]domain.Definition{}
	for _, info := range infos {
		def, err := s.hyper.Virsh().Definition(ctx, info.UUID.String())
		require.NoError(s.t, err)
		parts[info.UUID] = def
	}
	return parts
}

// known tells whether a state directory of the machine says that the device is the VM's.
func (m *model) known(machine int, id string, vm uuid.UUID) bool {
	return slices.ContainsFunc(m.sites, func(s *site) bool {
		if s.machine != machine || s.foreign() {
			return false
		}
		g, granted := s.shelf.held[vm]
		w, owned, err := s.m.ownerOf(id)
		return granted && g.has(device{ID: id}) && err == nil && owned && w.VM == vm
	})
}

// harmed takes over what is left after somebody has harmed a state directory, or a VM's
// ownership was given up.
func (m *model) harmed(sh *shelf) {
	for _, s := range m.sites {
		if s.shelf == sh {
			require.NoError(m.t, s.m.seeBoot(context.Background()))
			was := sh.held
			sh.held = s.grants()
			if sh.returned == nil {
				sh.returned = map[uuid.UUID]bool{}
			}
			for id, g := range sh.held {
				sh.returned[id] = sh.returned[id] || !sameGrants(was[id], g)
			}
			break
		}
	}
	for machine, devices := range m.origins {
		for id, o := range devices {
			if g, again := sh.held[o.former]; o.vm == uuid.Nil && again && g.has(device{ID: id}) {
				o = origin{vm: o.former, loose: true}
			}
			o.loose = o.vm != uuid.Nil && (o.loose || !m.known(machine, id, o.vm))
			devices[id] = o
		}
	}
}

// sweep brings the origins up to date after an operation; makers are who made what.
func (m *model) sweep(machine int, makers map[string]uuid.UUID, removable func(uuid.UUID) bool) {
	now := m.devices(machine)
	origins := m.origins[machine]
	for id, o := range origins {
		if !now[id] {
			if !o.mayGo(removable) && makers[id] == uuid.Nil {
				m.violated("the device %s, %v, was removed", id, o)
			}
			delete(origins, id)
		}
	}
	for id := range now {
		if maker, made := makers[id]; made {
			if _, there := origins[id]; !there {
				origins[id] = origin{vm: maker}
			}
		}
		if _, there := origins[id]; !there {
			m.violated("nobody made the device %s", id)
		}
		if o := origins[id]; o.loose && m.known(machine, id, o.vm) {
			origins[id] = origin{vm: o.vm}
		}
	}
}

func (o origin) mayGo(removable func(uuid.UUID) bool) bool {
	return o.vm != uuid.Nil && removable(o.vm)
}

// devices are those that exist on a machine.
func (m *model) devices(machine int) map[string]bool {
	now := map[string]bool{}
	for _, s := range m.sites {
		if s.machine == machine {
			for _, id := range s.sim.Devices() {
				now[id] = true
			}
			break
		}
	}
	return now
}

// stranger makes a vGPU that is not ours.
func (m *model) stranger(s *site, req mdev.CreateRequest) (id string, err error) {
	made, err := s.host.Create(context.Background(), req)
	if err == nil {
		m.origins[s.machine][made.ID] = origin{}
	}
	return made.ID, err
}

// sameGrants tells whether two grants of a VM are the same but for their number.
func sameGrants(a, b grant) bool {
	a.Number, b.Number = 0, 0
	return reflect.DeepEqual(a, b)
}

// quick are the timeouts of the model's Managers.
var quick = Timeouts{Lock: 2 * time.Second, Start: 2 * time.Second, Release: time.Second, Undo: 5 * time.Second}

func union[V, W any](a map[uuid.UUID]V, b map[uuid.UUID]W) []uuid.UUID {
	all := map[uuid.UUID]bool{}
	for id := range a {
		all[id] = true
	}
	for id := range b {
		all[id] = true
	}
	return slices.SortedFunc(maps.Keys(all), func(a, b uuid.UUID) int { return strings.Compare(a.String(), b.String()) })
}

// trust takes for granted what a site's files say, after operations that nobody watched.
func (m *model) trust(s *site) {
	s.shelf.held = s.grants()
	devices := m.origins[s.machine]
	clear(devices)
	for id := range m.devices(s.machine) {
		devices[id] = origin{vm: m.owned(s, id)}
	}
}
