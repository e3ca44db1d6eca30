//go:build cgo

package virt

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/google/uuid"
	"libvirt.org/go/libvirt"

	"github.com/vgpukit/vgpukit/domain"
)

// Domains lists all VMs, defined and transient ones, by name. The number of
// messages to the daemon does not grow with the number of VMs. Each entry was
// true at some moment of the call, not all at the same one.
func (c *Conn) Domains(ctx context.Context) ([]domain.Info, error) {
	return call(ctx, c, "list the VMs of", c.uri, reads, domains)
}

// Lookup finds a VM's UUID by its name, also one that reads as a UUID, in one message;
// [domain.ErrNotFound] if there is none.
func (c *Conn) Lookup(ctx context.Context, name string) (uuid.UUID, error) {
	if err := checkVM("look up", name); err != nil {
		return uuid.Nil, err
	}
	return call(ctx, c, "look up", name, reads, func(l *link) (uuid.UUID, error) {
		d, err := l.conn.LookupDomainByName(name)
		if err != nil {
			return uuid.Nil, err
		}
		held(handleDomain, +1)
		defer free(d)
		return domainUUID(d)
	})
}

// Info describes one VM. [domain.ErrNotFound]: there is none of that name or
// UUID.
func (c *Conn) Info(ctx context.Context, vm string) (domain.Info, error) {
	return onDomain(ctx, c, "look at", vm, reads, func(_ *link, d *libvirt.Domain) (domain.Info, error) {
		return inspect(d)
	})
}

// domains asks for filtered lists instead of asking for each VM's properties.
func domains(l *link) ([]domain.Info, error) {
	var (
		infos []domain.Info
		index = make(map[uuid.UUID]int)
	)
	each := func(filter libvirt.ConnectListAllDomainsFlags, f func(id uuid.UUID, d *libvirt.Domain) error) error {
		list, err := l.conn.ListAllDomains(filter)
		if err != nil {
			return err
		}
		held(handleDomain, len(list))
		defer func() {
			for i := range list {
				free(&list[i])
			}
		}()
		for i := range list {
			id, err := domainUUID(&list[i])
			if err != nil {
				return err
			}
			if err := f(id, &list[i]); err != nil {
				return err
			}
		}
		return nil
	}
	mark := func(set func(*domain.Info)) func(uuid.UUID, *libvirt.Domain) error {
		return func(id uuid.UUID, _ *libvirt.Domain) error {
			if i, ok := index[id]; ok {
				set(&infos[i])
			}
			return nil
		}
	}
	state := func(s domain.State) func(uuid.UUID, *libvirt.Domain) error {
		return mark(func(i *domain.Info) { i.State = s })
	}
	stateless := func() bool { return slices.ContainsFunc(infos, func(i domain.Info) bool { return i.State == "" }) }
	steps := []struct {
		filter libvirt.ConnectListAllDomainsFlags
		f      func(uuid.UUID, *libvirt.Domain) error
		states bool // needed while a VM has none
	}{
		{0, func(id uuid.UUID, d *libvirt.Domain) error {
			name, err := d.GetName()
			if err != nil {
				return err
			}
			i := domain.Info{Name: name, UUID: id, ID: runOf(d)}
			if i.ID == 0 {
				i.State = domain.StateShutOff
			}
			index[id] = len(infos)
			infos = append(infos, i)
			return nil
		}, false},
		{libvirt.CONNECT_LIST_DOMAINS_PERSISTENT, mark(func(i *domain.Info) { i.Persistent = true }), false},
		{libvirt.CONNECT_LIST_DOMAINS_RUNNING, state(domain.StateRunning), true},
		{libvirt.CONNECT_LIST_DOMAINS_PAUSED, state(domain.StatePaused), true},
		{libvirt.CONNECT_LIST_DOMAINS_OTHER, func(id uuid.UUID, d *libvirt.Domain) error {
			s, err := domainState(d)
			if errors.Is(err, libvirt.ERR_NO_DOMAIN) {
				return nil
			} else if err != nil {
				return err
			}
			return state(s)(id, d)
		}, true},
	}
	for _, s := range steps {
		if s.states && !stateless() {
			break
		}
		if err := each(s.filter, s.f); err != nil {
			return nil, err
		}
	}
	// One without a state has gone meanwhile, or changed its state between two
	// of the lists.
	kept := make([]domain.Info, 0, len(infos))
	for _, i := range infos {
		if i.State == "" {
			d, err := lookup(l, i.UUID.String())
			if errors.Is(err, libvirt.ERR_NO_DOMAIN) {
				continue
			} else if err != nil {
				return nil, err
			}
			i, err = inspect(d)
			free(d)
			if errors.Is(err, libvirt.ERR_NO_DOMAIN) {
				continue
			} else if err != nil {
				return nil, err
			}
		}
		kept = append(kept, i)
	}
	slices.SortFunc(kept, func(a, b domain.Info) int { return strings.Compare(a.Name, b.Name) })
	return kept, nil
}

// inspect asks libvirt no more than it must: name, UUID and whether the VM is active
// came with the handle.
func inspect(d *libvirt.Domain) (domain.Info, error) {
	i, err := identify(d)
	if err == nil {
		i.Persistent, err = d.IsPersistent()
	}
	if err != nil {
		return domain.Info{}, err
	}
	return i, nil
}

// identify is inspect without whether the VM is persistent.
func identify(d *libvirt.Domain) (i domain.Info, err error) {
	if i.Name, err = d.GetName(); err != nil {
		return i, err
	}
	if i.UUID, err = domainUUID(d); err != nil {
		return i, err
	}
	i.State = domain.StateShutOff
	if i.ID = runOf(d); i.ID != 0 {
		if i.State, err = domainState(d); !i.State.Active() {
			i.ID = 0 // it has ended since
		}
	}
	return i, err
}

// runOf is libvirt's number of a domain's run, as it came with the handle; 0: it had no QEMU.
func runOf(d *libvirt.Domain) int {
	id, _ := d.GetID() // what stands for none looks like an error
	if uint32(id) == math.MaxUint32 {
		return 0
	}
	return int(id)
}

func domainUUID(d *libvirt.Domain) (uuid.UUID, error) {
	s, err := d.GetUUIDString()
	if err != nil {
		return uuid.Nil, err
	}
	id, err := uuid.Parse(s)
	if err != nil {
		return uuid.Nil, fmt.Errorf("libvirt gave the UUID %q: %w", s, err)
	}
	return id, nil
}

func domainState(d *libvirt.Domain) (domain.State, error) {
	s, _, err := d.GetState()
	if err != nil {
		return "", err
	}
	switch s {
	case libvirt.DOMAIN_PAUSED:
		return domain.StatePaused, nil
	case libvirt.DOMAIN_SHUTDOWN:
		return domain.StateShuttingDown, nil
	case libvirt.DOMAIN_SHUTOFF:
		return domain.StateShutOff, nil
	case libvirt.DOMAIN_CRASHED:
		return domain.StateCrashed, nil
	case libvirt.DOMAIN_PMSUSPENDED:
		return domain.StateSuspended, nil
	}
	return domain.StateRunning, nil // also "no state" and "blocked"
}
