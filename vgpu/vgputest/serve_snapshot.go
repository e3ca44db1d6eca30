package vgputest

import (
	"context"
	"encoding/xml"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/vgpukit/vgpukit/domain"
	rpc "github.com/vgpukit/vgpukit/internal/libvirtrpc"
)

// What clients may ask about snapshots. Those that list have many more filters, of
// which only these tell anything apart here.
const (
	snapshotAtomic = 1 << 7

	deleteMetadataOnly = 1 << 1

	revertFlags = 1<<0 | 1<<1 | 1<<2 | 1<<3
	rootsOnly   = 1 << 0
	listFlags   = 1<<11 - 1
)

func (c *client) snapshotCreate(ctx context.Context, a *rpc.TextFlagArgs) (rpc.SnapshotRet, error) {
	if err := checkFlags(a.Flags, snapshotAtomic, "qemuDomainSnapshotCreateXML"); err != nil {
		return rpc.SnapshotRet{}, err
	}
	var asked struct {
		XMLName xml.Name `xml:"domainsnapshot"`
		Name    string   `xml:"name"`
	}
	if err := xml.Unmarshal([]byte(a.Text), &asked); err != nil {
		return rpc.SnapshotRet{}, refuse(codeXML, domain.ErrInvalid, "XML error: %v", err)
	}
	if asked.Name == "" {
		asked.Name = strconv.FormatInt(time.Now().Unix(), 10)
	}
	if err := c.h.Snapshot(ctx, handleOf(a.Dom), asked.Name); err != nil {
		return rpc.SnapshotRet{}, err
	}
	return rpc.SnapshotRet{Snap: rpc.Snapshot{Name: asked.Name, Dom: a.Dom}}, nil
}

func (c *client) snapshotRevert(ctx context.Context, a *rpc.SnapshotArgs) (rpc.Void, error) {
	err := checkFlags(a.Flags, revertFlags, "qemuDomainRevertToSnapshot")
	if err == nil {
		err = c.h.Revert(ctx, handleOf(a.Snap.Dom), a.Snap.Name)
	}
	return rpc.Void{}, err
}

func (c *client) snapshotDelete(ctx context.Context, a *rpc.SnapshotArgs) (rpc.Void, error) {
	if err := checkFlags(a.Flags, deleteMetadataOnly, "qemuDomainSnapshotDelete"); err != nil {
		return rpc.Void{}, err
	}
	return onSnapshot(func(m *machine, i int) (rpc.Void, error) {
		gone := m.snapshots[i]
		m.snapshots = slices.Delete(m.snapshots, i, i+1)
		for i := range m.snapshots {
			if m.snapshots[i].parent == gone.name {
				m.snapshots[i].parent = gone.parent
			}
		}
		if m.lastSnapshot == gone.name {
			m.lastSnapshot = gone.parent
		}
		return rpc.Void{}, nil
	})(c, ctx, a)
}

// onSnapshot makes a procedure of what concerns one snapshot.
func onSnapshot[R any](f func(m *machine, i int) (R, error)) func(*client, context.Context, *rpc.SnapshotArgs) (R, error) {
	return func(c *client, ctx context.Context, a *rpc.SnapshotArgs) (R, error) {
		return ask(ctx, c.h.Virsh(), "Snapshots", handleOf(a.Snap.Dom), func(m *machine) (result R, err error) {
			i := m.snapshot(a.Snap.Name)
			if i < 0 {
				return result, noSnapshot("no domain snapshot with matching name '%s'", a.Snap.Name)
			}
			return f(m, i)
		})
	}
}

func noSnapshot(format string, args ...any) error {
	return refuse(codeNoSnapshot, domain.ErrNotFound, "Domain snapshot not found: "+format, args...)
}

func (c *client) snapshotLookup(ctx context.Context, a *rpc.TextFlagArgs) (rpc.SnapshotRet, error) {
	return onSnapshot(func(m *machine, i int) (rpc.SnapshotRet, error) {
		return rpc.SnapshotRet{Snap: m.snapshotHandle(i)}, nil
	})(c, ctx, &rpc.SnapshotArgs{Snap: rpc.Snapshot{Name: a.Text, Dom: a.Dom}})
}

func (m *machine) snapshotHandle(i int) rpc.Snapshot {
	return rpc.Snapshot{Name: m.snapshots[i].name, Dom: m.handle()}
}

func snapshotParent(m *machine, i int) (rpc.SnapshotRet, error) {
	parent := m.snapshot(m.snapshots[i].parent)
	if parent < 0 {
		return rpc.SnapshotRet{}, noSnapshot("snapshot '%s' does not have a parent", m.snapshots[i].name)
	}
	return rpc.SnapshotRet{Snap: m.snapshotHandle(parent)}, nil
}

func snapshotIsCurrent(m *machine, i int) (rpc.Number, error) {
	return number(m.snapshots[i].name == m.lastSnapshot), nil
}

// snapshotDocument is the document of a snapshot.
func snapshotDocument(m *machine, i int) (rpc.Text, error) {
	s := m.snapshots[i]
	escape := func(s string) string {
		var b strings.Builder
		_ = xml.EscapeText(&b, []byte(s))
		return b.String()
	}
	state := map[domain.State]string{domain.StateShutOff: "shutoff"}[s.state]
	if state == "" {
		state = string(s.state)
	}
	parent := ""
	if s.parent != "" {
		parent = "\n  <parent>\n    <name>" + escape(s.parent) + "</name>\n  </parent>"
	}
	start, _ := root(s.xml)
	return rpc.Text{Text: fmt.Sprintf("<domainsnapshot>\n  <name>%s</name>\n  <state>%s</state>%s\n  <creationTime>%d</creationTime>\n  %s\n</domainsnapshot>\n",
		escape(s.name), state, parent, s.created.Unix(), strings.TrimSpace(withoutSecrets(s.xml)[start:]))}, nil
}

// snapshots returns the handles of those that pass the filter.
func (c *client) snapshots(ctx context.Context, d rpc.Domain, flags uint32, pass func(*machine, snapshot) bool) ([]rpc.Snapshot, error) {
	if err := checkFlags(flags, listFlags, "qemuDomainListAllSnapshots"); err != nil {
		return nil, err
	}
	return ask(ctx, c.h, "Snapshots", handleOf(d), func(m *machine) ([]rpc.Snapshot, error) {
		var found []rpc.Snapshot
		for i, s := range m.snapshots {
			if pass(m, s) {
				found = append(found, m.snapshotHandle(i))
			}
		}
		return found, nil
	})
}

func (c *client) snapshotsOf(ctx context.Context, d rpc.Domain, flags uint32) ([]rpc.Snapshot, error) {
	return c.snapshots(ctx, d, flags, func(_ *machine, s snapshot) bool { return flags&rootsOnly == 0 || s.parent == "" })
}

// snapshotsFrom are those made from a snapshot; with the flag, from those as well.
func (c *client) snapshotsFrom(ctx context.Context, from rpc.Snapshot, flags uint32) ([]rpc.Snapshot, error) {
	if _, err := snapshotExists(c, ctx, &rpc.SnapshotArgs{Snap: from}); err != nil {
		return nil, err
	}
	return c.snapshots(ctx, from.Dom, flags, func(m *machine, s snapshot) bool {
		for s.parent != "" {
			if s.parent == from.Name {
				return true
			}
			i := m.snapshot(s.parent)
			if i < 0 || flags&rootsOnly == 0 {
				return false
			}
			s = m.snapshots[i]
		}
		return false
	})
}

var snapshotExists = onSnapshot(func(*machine, int) (rpc.Number, error) { return number(true), nil })

func (c *client) listSnapshots(ctx context.Context, a *rpc.SnapshotListArgs) (rpc.SnapshotList, error) {
	found, err := c.snapshotsOf(ctx, a.Dom, a.Flags)
	return snapshotList(found, a.Results), err
}

func (c *client) listSnapshotsFrom(ctx context.Context, a *rpc.SnapshotKidsArgs) (rpc.SnapshotList, error) {
	found, err := c.snapshotsFrom(ctx, a.Snap, a.Flags)
	return snapshotList(found, a.Results), err
}

func snapshotList(found []rpc.Snapshot, results int32) rpc.SnapshotList {
	l := rpc.SnapshotList{N: int32(len(found))}
	if results != 0 {
		l.Snaps = found
	}
	return l
}

func (c *client) numOfSnapshots(ctx context.Context, a *rpc.FlagArgs) (rpc.Number, error) {
	found, err := c.snapshotsOf(ctx, a.Dom, a.Flags)
	return rpc.Number{N: int32(len(found))}, err
}

func (c *client) numOfSnapshotsFrom(ctx context.Context, a *rpc.SnapshotArgs) (rpc.Number, error) {
	found, err := c.snapshotsFrom(ctx, a.Snap, a.Flags)
	return rpc.Number{N: int32(len(found))}, err
}

func (c *client) snapshotNames(ctx context.Context, a *rpc.SnapshotNamesArgs) (rpc.Names, error) {
	found, err := c.snapshotsOf(ctx, a.Dom, a.Flags)
	return snapshotNames(atMost(a.Max, found)), err
}

func (c *client) snapshotNamesFrom(ctx context.Context, a *rpc.SnapshotKidNamesArgs) (rpc.Names, error) {
	found, err := c.snapshotsFrom(ctx, a.Snap, a.Flags)
	return snapshotNames(atMost(a.Max, found)), err
}

func snapshotNames(snaps []rpc.Snapshot) (names rpc.Names) {
	for _, s := range snaps {
		names.Names = append(names.Names, s.Name)
	}
	return names
}

func hasCurrentSnapshot(m *machine) rpc.Number { return number(m.snapshot(m.lastSnapshot) >= 0) }

func (c *client) currentSnapshot(ctx context.Context, a *rpc.FlagArgs) (rpc.SnapshotRet, error) {
	return ask(ctx, c.h.Virsh(), "Snapshots", handleOf(a.Dom), func(m *machine) (rpc.SnapshotRet, error) {
		i := m.snapshot(m.lastSnapshot)
		if i < 0 {
			return rpc.SnapshotRet{}, noSnapshot("the domain does not have a current snapshot")
		}
		return rpc.SnapshotRet{Snap: m.snapshotHandle(i)}, nil
	})
}
