package vgputest

import (
	"context"

	"github.com/vgpukit/vgpukit/domain"
	rpc "github.com/vgpukit/vgpukit/internal/libvirtrpc"
)

// filters are the flags of virConnectListAllDomains. Of each group a domain needs one
// that fits, if any of the group is set.
var filters = [][]struct {
	flag uint32
	fits func(*machine) bool
}{
	{{1 << 0, (*machine).active}, {1 << 1, func(m *machine) bool { return !m.active() }}},
	{{1 << 2, (*machine).persistent}, {1 << 3, func(m *machine) bool { return !m.persistent() }}},
	{
		{1 << 4, func(m *machine) bool { return m.state == domain.StateRunning }},
		{1 << 5, func(m *machine) bool { return m.state == domain.StatePaused }},
		{1 << 6, func(m *machine) bool { return m.state == domain.StateShutOff }},
		{1 << 7, func(m *machine) bool {
			return m.state != domain.StateRunning && m.state != domain.StatePaused && m.state != domain.StateShutOff
		}},
	},
	{{1 << 8, func(m *machine) bool { return m.image != nil }}, {1 << 9, func(m *machine) bool { return m.image == nil }}},
	{{1 << 10, func(m *machine) bool { return m.autostart }}, {1 << 11, func(m *machine) bool { return !m.autostart }}},
	{{1 << 12, func(m *machine) bool { return len(m.snapshots) > 0 }}, {1 << 13, func(m *machine) bool { return len(m.snapshots) == 0 }}},
	{{1 << 14, func(*machine) bool { return false }}, {1 << 15, func(*machine) bool { return true }}}, // checkpoints
}

const allFilters = 1<<16 - 1

func (m *machine) persistent() bool { return m.saved != "" }

// handle is how clients name the domain.
func (m *machine) handle() rpc.Domain {
	d := rpc.Domain{Name: m.name, UUID: m.uuid, ID: -1}
	if m.active() {
		d.ID = int32(m.id)
	}
	return d
}

func (m *machine) passes(flags uint32) bool {
	for _, group := range filters {
		asked, fits := false, false
		for _, f := range group {
			if flags&f.flag != 0 {
				asked = true
				fits = fits || f.fits(m)
			}
		}
		if asked && !fits {
			return false
		}
	}
	return true
}

// list returns the handles of those that pass.
func (c *client) list(ctx context.Context, flags uint32) ([]rpc.Domain, error) {
	if err := checkFlags(flags, allFilters, "qemuConnectListAllDomains"); err != nil {
		return nil, err
	}
	return call(ctx, c.h, Call{Method: "Domains"}, func() ([]rpc.Domain, error) {
		var found []rpc.Domain
		for _, m := range c.h.sorted() {
			if m.passes(flags) {
				found = append(found, m.handle())
			}
		}
		return found, nil
	})
}

func (c *client) listAllDomains(ctx context.Context, a *rpc.ListArgs) (rpc.DomainList, error) {
	found, err := c.list(ctx, a.Flags)
	l := rpc.DomainList{N: uint32(len(found))}
	if a.Results != 0 {
		l.Domains = found
	}
	return l, err
}

// The filters of the older procedures.
const (
	activeOnly   = 1 << 0
	inactiveOnly = 1 << 1
)

func (c *client) numOfDomains(ctx context.Context, _ *rpc.Void) (rpc.Number, error) {
	found, err := c.list(ctx, activeOnly)
	return rpc.Number{N: int32(len(found))}, err
}

func (c *client) numOfDefinedDomains(ctx context.Context, _ *rpc.Void) (rpc.Number, error) {
	found, err := c.list(ctx, inactiveOnly)
	return rpc.Number{N: int32(len(found))}, err
}

func (c *client) listDomains(ctx context.Context, a *rpc.Number) (rpc.DomainIDs, error) {
	var ids rpc.DomainIDs
	found, err := c.list(ctx, activeOnly)
	for _, d := range atMost(a.N, found) {
		ids.IDs = append(ids.IDs, d.ID)
	}
	return ids, err
}

func (c *client) listDefinedDomains(ctx context.Context, a *rpc.Number) (rpc.Names, error) {
	var names rpc.Names
	found, err := c.list(ctx, inactiveOnly)
	for _, d := range atMost(a.N, found) {
		names.Names = append(names.Names, d.Name)
	}
	return names, err
}

func atMost[T any](n int32, list []T) []T { return list[:min(max(int(n), 0), len(list))] }

func (c *client) lookupByName(ctx context.Context, a *rpc.Text) (rpc.DomainArgs, error) {
	return c.lookup(ctx, refuse(codeNoDomain, domain.ErrNotFound, "Domain not found: no domain with matching name '%s'", a.Text),
		func(m *machine) bool { return m.name == a.Text })
}

func (c *client) lookupByUUID(ctx context.Context, a *rpc.ID) (rpc.DomainArgs, error) {
	return c.lookup(ctx, refuse(codeNoDomain, domain.ErrNotFound, "Domain not found: no domain with matching uuid '%s'", a.UUID),
		func(m *machine) bool { return m.uuid == a.UUID })
}

func (c *client) lookupByID(ctx context.Context, a *rpc.Number) (rpc.DomainArgs, error) {
	return c.lookup(ctx, refuse(codeNoDomain, domain.ErrNotFound, "Domain not found: no domain with matching id %d", a.N),
		func(m *machine) bool { return m.active() && m.id == int(a.N) })
}

// lookup is not a call that faults strike: every call of a client's begins with it.
func (c *client) lookup(ctx context.Context, missing error, is func(*machine) bool) (rpc.DomainArgs, error) {
	return call(ctx, c.h.Virsh(), Call{Method: "Info"}, func() (rpc.DomainArgs, error) {
		for _, m := range c.h.machines {
			if is(m) {
				return rpc.DomainArgs{Dom: m.handle()}, nil
			}
		}
		return rpc.DomainArgs{}, missing
	})
}

// handle returns the present handle of a domain.
func (c *client) handle(ctx context.Context, vm string) (rpc.DomainArgs, error) {
	return ask(ctx, c.h.Virsh(), "Info", vm, func(m *machine) (rpc.DomainArgs, error) { return rpc.DomainArgs{Dom: m.handle()}, nil })
}
