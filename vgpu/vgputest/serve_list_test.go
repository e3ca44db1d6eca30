package vgputest

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vgpukit/vgpukit/domain"
	rpc "github.com/vgpukit/vgpukit/internal/libvirtrpc"
)

// TestServeLists: each filter finds those that it names, and those of several groups
// are combined.
func TestServeLists(t *testing.T) {
	h := newWorld(t) // web1 is defined and off
	ctx := t.Context()
	require.NoError(t, h.Snapshot(ctx, "web1", "s"))
	for _, name := range []string{"running", "paused", "saved"} {
		_, err := h.Clone(ctx, "web1", name)
		require.NoError(t, err)
		require.NoError(t, h.Start(ctx, name))
	}
	require.NoError(t, h.Suspend(ctx, "paused"))
	require.NoError(t, h.ManagedSave(ctx, "saved"))
	require.NoError(t, h.SetAutostart(ctx, "saved", true))
	require.NoError(t, h.Undefine(ctx, "running", domain.UndefineOptions{}))

	socket, _ := serveAt(t, h)
	c := dial(t, socket, 0)
	for flags, want := range map[uint32][]string{
		0:                  {"paused", "running", "saved", "web1"},
		1 << 0:             {"paused", "running"},
		1 << 1:             {"saved", "web1"},
		1 << 2:             {"paused", "saved", "web1"},
		1 << 3:             {"running"},
		1 << 4:             {"running"},
		1 << 5:             {"paused"},
		1 << 6:             {"saved", "web1"},
		1 << 7:             nil,
		1 << 8:             {"saved"},
		1 << 9:             {"paused", "running", "web1"},
		1 << 10:            {"saved"},
		1 << 11:            {"paused", "running", "web1"},
		1 << 12:            {"web1"},
		1 << 13:            {"paused", "running", "saved"},
		1 << 14:            nil,
		1 << 15:            {"paused", "running", "saved", "web1"},
		1<<4 | 1<<5:        {"paused", "running"},
		1<<1 | 1<<8:        {"saved"},
		1<<0 | 1<<2:        {"paused"},
		1<<0 | 1<<1 | 1<<3: {"running"},
	} {
		var list rpc.DomainList
		c.must(rpc.ConnectListAllDomains, rpc.ListArgs{Results: 1, Flags: flags}, &list)
		var names []string
		for _, d := range list.Domains {
			names = append(names, d.Name)
		}
		assert.Equal(t, want, names, "flags %x", flags)
		c.must(rpc.ConnectListAllDomains, rpc.ListArgs{Flags: flags}, &list)
		assert.Equal(t, rpc.DomainList{N: uint32(len(want)), Domains: []rpc.Domain{}}, list, "only their number")
	}
	require.EqualValues(t, rpc.CodeInvalidArg, c.outcome(rpc.ConnectListAllDomains, rpc.ListArgs{Flags: 1 << 16}).Code)

	var n rpc.Number
	c.must(rpc.ConnectNumOfDomains, nil, &n)
	assert.EqualValues(t, 2, n.N)
	c.must(rpc.ConnectNumOfDefined, nil, &n)
	assert.EqualValues(t, 2, n.N)
	var ids rpc.DomainIDs
	c.must(rpc.ConnectListDomains, rpc.Number{N: 16}, &ids)
	slices.Sort(ids.IDs)
	assert.Equal(t, []int32{1, 2}, ids.IDs)
	var names rpc.Names
	c.must(rpc.ConnectListDefined, rpc.Number{N: 1}, &names)
	assert.Equal(t, []string{"saved"}, names.Names)
	c.must(rpc.ConnectListDefined, rpc.Number{N: -1}, &names)
	assert.Empty(t, names.Names)
	var found rpc.DomainArgs
	c.must(rpc.DomainLookupByID, rpc.Number{N: 1}, &found)
	assert.Equal(t, "running", found.Dom.Name)
}
