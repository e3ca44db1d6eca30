package vgpu

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/vgpukit/vgpukit/domain"
	"github.com/vgpukit/vgpukit/mdev"
)

// survey is the host, all domains and the state directory at one moment, read
// without locks.
type survey struct {
	views     map[uuid.UUID]*view // VMs that were granted something, or carry a copy
	devices   map[string]mdev.Device
	order     []string // ids of devices, as the inventory has them
	owners    map[string]owner
	namedBy   map[string][]uuid.UUID // device id -> the VMs whose documents have it, ours or not
	names     map[uuid.UUID]string
	unread    map[uuid.UUID]unread // domains whose document could not be read
	inventory *mdev.Inventory
}

// unread is a domain whose document could not be read.
type unread struct {
	xml    string // empty: libvirt did not give it
	err    error
	former bool // an earlier version knew the VM, and it is not carried over
}

// mayName tells whether the document may name a device.
func (u unread) mayName(id string) bool {
	if _, err := uuid.Parse(id); u.xml == "" || err != nil { // an address has too many spellings
		return true
	}
	plain := func(s string) string { return strings.ToLower(strings.ReplaceAll(s, "-", "")) }
	// A character may be written as a reference.
	return strings.Contains(plain(u.xml), plain(id)) || strings.Contains(u.xml, "&#")
}

// sorted lists the VMs by name.
func (s *survey) sorted() []*view {
	views := make([]*view, 0, len(s.views))
	for _, v := range s.views {
		views = append(views, v)
	}
	slices.SortFunc(views, func(a, b *view) int {
		return strings.Compare(a.name+" "+a.id.String(), b.name+" "+b.id.String())
	})
	return views
}

// mayBeNamed tells which other domain's document names a device, or may do so.
func (s *survey) mayBeNamed(id string, by uuid.UUID) (name string, ok bool) {
	for _, other := range s.namedBy[id] {
		if other != by {
			return s.names[other], true
		}
	}
	for other, u := range s.unread {
		if other != by && u.mayName(id) {
			return s.names[other], true
		}
	}
	return "", false
}

// survey reads everything.
func (m *Manager) survey(ctx context.Context) (*survey, error) {
	if err := m.upgrade(ctx); err != nil {
		return nil, err
	}
	s := &survey{
		views: map[uuid.UUID]*view{}, devices: map[string]mdev.Device{},
		namedBy: map[string][]uuid.UUID{}, names: map[uuid.UUID]string{}, unread: map[uuid.UUID]unread{},
	}
	// The state directory is read first and the host last: what is made or
	// removed meanwhile shows as unfinished, not as a stranger or an orphan.
	grants, _, err := m.store.grants.All() // what is damaged is tidy's and load's
	if err != nil {
		return nil, err
	}
	tasks, _, err := m.store.tasks.All()
	if err != nil {
		return nil, err
	}
	for _, g := range grants {
		s.view(g.VM).grant = &g
	}
	for _, t := range tasks {
		s.view(t.VM).task = &t
	}
	if err := s.readDomains(ctx, m.hyper); err != nil {
		return nil, err
	}
	s.holdBack(m.store.former.held.Load())
	var damaged map[string]error
	if s.owners, damaged, err = m.store.owners.All(); err != nil {
		return nil, err
	}
	if s.inventory, err = m.host.Inventory(ctx); err != nil {
		return nil, err
	}
	for _, gpu := range s.inventory.GPUs {
		for _, parent := range gpu.Parents {
			for _, d := range parent.Devices {
				s.devices[d.ID] = d
				s.order = append(s.order, d.ID)
			}
		}
	}
	for _, v := range s.views {
		v.classify(m)
		v.outdated = m.checkNumber(v)
		if g, ok := grants[v.copy.VM.String()]; ok && v.grant == nil {
			v.original = g.Name
		}
		err := m.locate(v, s.device, s.device, func(id string) (owner, bool, error) {
			w, owned := s.owners[id]
			return w, owned && w.Boot == m.boot(), damaged[m.store.owners.Path(id)]
		})
		if err != nil {
			return nil, err
		}
	}
	return s, nil
}

// readDomains reads all documents. One that cannot be read keeps back only what it may name.
func (s *survey) readDomains(ctx context.Context, hyper Hypervisor) error {
	infos, err := hyper.Domains(ctx)
	if err != nil {
		return err
	}
	for _, info := range infos {
		s.names[info.UUID] = info.Name
		v := &view{id: info.UUID, name: info.Name}
		if known, ok := s.views[info.UUID]; ok {
			v = known
		}
		def, err := hyper.Definition(ctx, info.UUID.String())
		if err == nil {
			err = v.take(def)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if errors.Is(err, domain.ErrNotFound) {
			continue // gone meanwhile
		}
		if err != nil {
			s.unread[info.UUID] = unread{xml: def.XML, err: err}
			continue
		}
		named := map[string]bool{}
		for _, h := range v.doc.Hostdevs() {
			named[h.ID()] = true
		}
		for id := range named {
			s.namedBy[id] = append(s.namedBy[id], info.UUID)
		}
		if v.carries {
			s.views[info.UUID] = v
		}
	}
	return nil
}

// holdBack leaves out the VMs that are not carried over yet, and what they may have.
func (s *survey) holdBack(all *[]held) {
	if all == nil {
		return
	}
	for _, h := range *all {
		id := h.id
		for other, name := range s.names {
			if name == h.name {
				id = other
			}
		}
		s.names[id], s.view(id).name = h.name, h.name
		s.unread[id] = unread{xml: strings.Join(h.ids, " "), err: h.err, former: true}
	}
}

func (s *survey) view(id uuid.UUID) *view {
	v, ok := s.views[id]
	if !ok {
		v = &view{id: id}
		s.views[id] = v
	}
	return v
}

func (s *survey) device(id string) (mdev.Device, error) {
	d, ok := s.devices[id]
	if !ok || d.State == mdev.StateGhost {
		return mdev.Device{}, mdev.ErrNotFound
	}
	return d, nil
}
