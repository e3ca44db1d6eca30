package vgpu

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/vgpukit/vgpukit/domain"
	"github.com/vgpukit/vgpukit/mdev"
)

// survey is the host, all domains and the state directory at one moment, read
// without locks.
type survey struct {
	views     map[string]*view // VMs that are ours in any way
	devices   map[string]mdev.Device
	order     []string          // ids of devices, as the inventory has them
	namedBy   map[string]string // device id -> the VM whose document has it, ours or not
	unread    map[string]error  // domains whose document could not be read
	inventory *mdev.Inventory
}

func (s *survey) names() []string {
	return slices.SortedFunc(maps.Keys(s.views), strings.Compare)
}

// firstUnread is why one of the domains could not be read, if there is one.
func (s *survey) firstUnread() error {
	for _, name := range slices.Sorted(maps.Keys(s.unread)) {
		return s.unread[name]
	}
	return nil
}

// survey reads everything.
func (m *Manager) survey(ctx context.Context) (*survey, error) {
	s := &survey{
		views: map[string]*view{}, devices: map[string]mdev.Device{},
		namedBy: map[string]string{}, unread: map[string]error{},
	}
	// The state directory is read first and the host last: what is made or
	// removed meanwhile shows as unfinished, not as a stranger or an orphan.
	intents, _, err := m.store.intents.All() // what is damaged is tidy's and load's
	if err != nil {
		return nil, err
	}
	claims, _, err := m.store.claims.All()
	if err != nil {
		return nil, err
	}
	for name, r := range intents {
		s.view(name).intent = &r
	}
	for name, r := range claims {
		s.view(name).claim = &r
	}
	infos, err := m.hyper.Domains(ctx)
	if err != nil {
		return nil, err
	}
	for _, info := range infos {
		v := &view{name: info.Name}
		if known, ok := s.views[info.Name]; ok {
			v = known
		}
		if err := v.loadDomain(ctx, m.hyper); err != nil {
			if ctx.Err() != nil {
				return nil, err
			}
			if errors.Is(err, domain.ErrNotFound) {
				continue // gone meanwhile
			}
			s.unread[info.Name] = err
			continue
		}
		for _, h := range v.doc.Hostdevs() {
			// VMs that are off may name a virtual function that another VM has by now.
			if h.VF != "" && v.claim != nil {
				if l, known, err := m.store.lease(h.VF); err == nil && known && l.VM != info.Name {
					continue
				}
			}
			s.namedBy[h.ID()] = info.Name
		}
		if v.ours {
			s.views[info.Name] = v
		}
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
		if !v.defined {
			if err := v.classify(); err != nil {
				return nil, err
			}
		}
		if err := m.locate(v, s.device); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func (s *survey) view(name string) *view {
	v, ok := s.views[name]
	if !ok {
		v = &view{name: name}
		s.views[name] = v
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
