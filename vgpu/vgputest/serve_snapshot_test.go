package vgputest

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	rpc "github.com/vgpukit/vgpukit/internal/libvirtrpc"
)

// TestServeSnapshotNames: the older ways to list snapshots give the same.
func TestServeSnapshotNames(t *testing.T) {
	h := newWorld(t)
	for _, name := range []string{"a", "b", "c"} {
		require.NoError(t, h.Snapshot(t.Context(), "web1", name))
	}
	socket, _ := serveAt(t, h)
	c := dial(t, socket, 0)
	a := rpc.Snapshot{Name: "a", Dom: web}
	for _, test := range []struct {
		procedure rpc.Procedure
		args      any
		want      []string
	}{
		{rpc.DomainSnapshotListNames, rpc.SnapshotNamesArgs{Dom: web, Max: 9}, []string{"a", "b", "c"}},
		{rpc.DomainSnapshotListNames, rpc.SnapshotNamesArgs{Dom: web, Max: 2}, []string{"a", "b"}},
		{rpc.DomainSnapshotListNames, rpc.SnapshotNamesArgs{Dom: web, Max: 9, Flags: rootsOnly}, []string{"a"}},
		{rpc.DomainSnapshotKidNames, rpc.SnapshotKidNamesArgs{Snap: a, Max: 9}, []string{"b"}},
		{rpc.DomainSnapshotKidNames, rpc.SnapshotKidNamesArgs{Snap: a, Max: 9, Flags: rootsOnly}, []string{"b", "c"}},
	} {
		var names rpc.Names
		c.must(test.procedure, test.args, &names)
		assert.Equal(t, test.want, names.Names)
	}
	var n rpc.Number
	c.must(rpc.DomainSnapshotNum, rpc.FlagArgs{Dom: web}, &n)
	assert.EqualValues(t, 3, n.N)
	c.must(rpc.DomainSnapshotNumKids, rpc.SnapshotArgs{Snap: a, Flags: rootsOnly}, &n)
	assert.EqualValues(t, 2, n.N)
	require.EqualValues(t, codeNoSnapshot, c.outcome(rpc.DomainSnapshotNumKids, rpc.SnapshotArgs{Snap: rpc.Snapshot{Name: "x", Dom: web}}).Code)
}
