package vgpu

import (
	"context"
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
)

// by notes what somebody did by hand at a site, and what it did to the devices.
func (m *model) by(s *site, err error, format string, args ...any) {
	m.note("%s, by hand: %s -> %v", s.name, fmt.Sprintf(format, args...), err)
	now := m.devices(s.machine)
	maps.DeleteFunc(m.origins[s.machine], func(id string, _ origin) bool { return !now[id] })
}

// text is a VM's saved document; empty: there is none.
func (s *site) text(vm string) string {
	text, err := s.hyper.Virsh().XML(context.Background(), vm)
	if err != nil {
		return ""
	}
	return text
}

// edit defines a VM's document anew, as people do with virsh edit.
func (m *model) edit(s *site, vm, what string, change func(*domain.Document) (*domain.Document, error)) {
	doc, err := domain.Parse([]byte(s.text(vm)))
	if err != nil {
		return
	}
	if doc, err = change(doc); err == nil {
		_, err = s.hyper.Virsh().Define(context.Background(), doc.String())
	}
	m.by(s, err, "%s of %s", what, vm)
}

// clone defines a VM's document under another name and UUID.
func (m *model) clone(s *site, vm, as string, id uuid.UUID) {
	m.edit(s, vm, "clone as "+as, func(doc *domain.Document) (*domain.Document, error) {
		doc, err := doc.WithUUID(id)
		if err != nil {
			return nil, err
		}
		return domain.Parse([]byte(strings.Replace(doc.String(), "<name>"+vm+"</name>", "<name>"+as+"</name>", 1)))
	})
}

// swap undefines a VM and defines its document under the same name with another UUID.
func (m *model) swap(s *site, vm string, id uuid.UUID) {
	text := s.text(vm)
	if text == "" || m.running(s, vm) || s.hyper.Virsh().Undefine(context.Background(), vm, domain.UndefineOptions{SnapshotsMetadata: true}) != nil {
		return
	}
	doc, err := domain.Parse([]byte(text))
	require.NoError(m.t, err)
	doc, err = doc.WithUUID(id)
	require.NoError(m.t, err)
	_, err = s.hyper.Virsh().Define(context.Background(), doc.String())
	m.by(s, err, "undefine %s and define it with the UUID %s", vm, id)
}

func (m *model) running(s *site, vm string) bool {
	info, err := s.hyper.Virsh().Info(context.Background(), vm)
	return err == nil && info.State.Active()
}

func (m *model) undefine(s *site, vm string) {
	if s.text(vm) != "" {
		m.by(s, s.hyper.Virsh().Undefine(context.Background(), vm, domain.UndefineOptions{SnapshotsMetadata: true}), "undefine %s", vm)
	}
}

func (m *model) dropCopy(s *site, vm string) {
	m.edit(s, vm, "take out the metadata", (*domain.Document).WithoutMetadata)
}

// dropHostdev takes the first vGPU out of a document.
func (m *model) dropHostdev(s *site, vm string) {
	m.edit(s, vm, "take out a hostdev", func(doc *domain.Document) (*domain.Document, error) {
		hostdevs := doc.Hostdevs()
		if len(hostdevs) == 0 {
			return doc, nil
		}
		meta, carries, err := doc.Metadata()
		if err != nil || !carries {
			return doc.Remove(hostdevs[0].ID())
		}
		if doc, err = doc.Remove(hostdevs[0].ID()); err != nil {
			return nil, err
		}
		return doc.WithMetadata(meta)
	})
}

// addHostdev puts a vGPU that is not its own into a document.
func (m *model) addHostdev(s *site, vm, id string) {
	m.edit(s, vm, "add the hostdev "+id, func(doc *domain.Document) (*domain.Document, error) {
		h := domain.Hostdev{VF: id}
		if u, err := uuid.Parse(id); err == nil {
			h = domain.Hostdev{UUID: u}
		}
		return doc.Add(h)
	})
}

// forge lets a VM's metadata say whatever it likes.
func (m *model) forge(s *site, vm, element string, scope domain.Scope) {
	if s.text(vm) != "" {
		m.by(s, s.hyper.Virsh().SetMetadata(context.Background(), vm, element, scope), "forge %v of %s: %s", scope, vm, element)
	}
}

// claiming is a copy that claims a device.
func claiming(vm uuid.UUID, id, typ, life string) string {
	of := fmt.Sprintf(" vm='%s'", vm)
	if vm == uuid.Nil {
		of = ""
	}
	return fmt.Sprintf("<v:vgpus xmlns:v='%s'%s><v:vgpu id='%s' type='%s' lifetime='%s'/></v:vgpus>", domain.MetadataURI, of, id, typ, life)
}

func (m *model) removeByHand(s *site, id string) {
	m.by(s, s.host.Remove(context.Background(), id), "remove %s", id)
}

// makeByHand is what a stranger does. What takes the place of a VM's nobody can tell from it.
func (m *model) makeByHand(s *site, req mdev.CreateRequest) {
	id, err := m.stranger(s, req)
	if err == nil {
		for _, other := range m.sites {
			if vm := m.owned(other, id); other.machine == s.machine && vm != uuid.Nil {
				m.origins[s.machine][id] = origin{vm: vm, loose: true}
			}
		}
	}
	m.by(s, err, "create %s %s", req.Type, id)
}

// startByHand starts a VM with virsh, unless it would take what is another's.
func (m *model) startByHand(s *site, vm string) {
	def, err := s.hyper.Virsh().Definition(context.Background(), vm)
	if err != nil {
		return
	}
	for _, h := range hostdevsIn(def.XML) {
		if o, there := m.origins[s.machine][h.ID()]; there && o.vm != def.UUID {
			return
		}
	}
	m.by(s, s.hyper.Virsh().Start(context.Background(), vm), "virsh start %s", vm)
}

func (m *model) reboot(s *site) {
	s.sim.Reboot()
	m.by(s, nil, "reboot")
	for _, other := range m.sites {
		if other.machine == s.machine {
			// What a machine's boot has seen is below /run.
			require.NoError(m.t, os.RemoveAll(other.run))
			require.NoError(m.t, os.MkdirAll(other.run, 0o700))
			other.renew()
		}
	}
}

// tamper does something to a site's state directory, behind everybody's back.
func (m *model) tamper(s *site, what string, do func(dir string) error) {
	err := do(s.dir)
	for _, other := range m.sites {
		if other.shelf == s.shelf && !other.foreign() {
			other.renew()
		}
	}
	m.by(s, err, "%s", what)
	m.harmed(s.shelf)
}

func (m *model) loseState(s *site) {
	m.tamper(s, "lose the state directory", func(dir string) error {
		s.shelf.machine = nobody
		return empty(dir)
	})
}

// owners are the files that say whose a device is.
func (s *site) owners() []string {
	files, err := filepath.Glob(filepath.Join(s.dir, ownersDir, "*"))
	require.NoError(s.t, err)
	return files
}

func (m *model) loseOwners(s *site) {
	m.tamper(s, "lose the owner files", func(string) error {
		for _, file := range s.owners() {
			if err := os.Remove(file); err != nil {
				return err
			}
		}
		return nil
	})
}

// empty removes what is in a directory.
func empty(dir string) error {
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		if err == nil {
			err = os.RemoveAll(filepath.Join(dir, e.Name()))
		}
	}
	return err
}

// copyState copies a state directory, its locks left out.
func copyState(from, to string) error {
	if err := empty(to); err != nil {
		return err
	}
	return os.CopyFS(to, os.DirFS(from))
}

// takeOver makes a site's state directory its machine's.
func (m *model) takeOver(s *site, decide func(access) fate) {
	dead, faulted, err := m.call(s, verb{op: opTakeOver, what: "take over", do: func(ctx context.Context, manager *Manager) error {
		return manager.TakeOver(ctx)
	}}, decide)
	if !dead && !faulted {
		require.NoError(m.t, err, m)
	}
	if err == nil && !dead {
		s.shelf.machine = s.machine
	} else if machine, known, _ := s.m.store.dir.Machine(); known {
		for _, other := range m.sites {
			if id, err := other.host.Machine(context.Background()); err == nil && strings.EqualFold(id.ID, machine.ID) {
				s.shelf.machine = other.machine
			}
		}
	}
	for _, other := range m.sites {
		if other.shelf == s.shelf {
			other.renew()
		}
	}
	m.harmed(s.shelf)
}

// ids lists devices of a machine that are strangers', or those of VMs.
func (m *model) ids(machine int, of func(origin) bool) []string {
	var ids []string
	for id, o := range m.origins[machine] {
		if of(o) {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}
