package mdev_test

import (
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vgpukit/vgpukit/mdev"
	"github.com/vgpukit/vgpukit/vgpu/placement"
)

// On each host that a listing tells of, capacity, plan and refusals are what that host has.
func TestHosts(t *testing.T) {
	for _, name := range hostNames(t, "testdata/hosts") {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".json"), func(t *testing.T) {
			f := readHostFile(t, name)
			host, err := mdev.Open(mdev.Config{Root: f.build(t).root})
			require.NoError(t, err)
			inv, err := host.Inventory(t.Context())
			require.NoError(t, err)
			checkCapacity(t, inv, f.Expect.Capacity)
			var codes []string
			for _, p := range inv.AllProblems() {
				assert.NotEmpty(t, p.Code, p.String())
				assert.NotEmpty(t, p.Next, p.String())
				codes = append(codes, string(p.Code))
			}
			assert.Equal(t, f.Expect.Problems, codes)
			checkBlockers(t, host, f)
			for _, q := range f.Expect.Place {
				checkPlace(t, host, inv, q)
			}
			planAgrees(t, inv)
		})
	}
}

func checkCapacity(t *testing.T, inv *mdev.Inventory, want map[string][2]int) {
	got := map[string][2]int{}
	for _, g := range inv.GPUs {
		for _, c := range g.Capacity {
			got[c.Type] = [2]int{got[c.Type][0] + c.Available, max(got[c.Type][1], c.Max)}
		}
	}
	for typ, n := range want {
		if n[0] < 0 { // another spelling has the row
			assert.NotContains(t, got, typ)
			continue
		}
		assert.Equal(t, n, got[typ], "capacity of %s", typ)
	}
}

// checkBlockers sees that what stands against a change of virtual functions is told by the plan.
func checkBlockers(t *testing.T, host *mdev.Host, f hostFile) {
	if f.Expect.Blocker != "" {
		plan, err := host.PlanVFs(t.Context(), f.GPUs[0].Name, mdev.AllVFs)
		require.NoError(t, err)
		assert.Contains(t, strings.Join(plan.Blockers, "; "), f.Expect.Blocker)
	}
	if f.Expect.Disable != nil {
		plan, err := host.PlanVFs(t.Context(), f.GPUs[0].Name, 0)
		require.NoError(t, err)
		if *f.Expect.Disable == "" {
			assert.Empty(t, plan.Blockers)
			return
		}
		assert.Contains(t, strings.Join(plan.Blockers, "; "), *f.Expect.Disable)
	}
}

func checkPlace(t *testing.T, host *mdev.Host, inv *mdev.Inventory, q hostPlace) {
	snapshot, err := placement.NewSnapshot(placement.HostInventory{Inventory: inv})
	require.NoError(t, err)
	p, err := snapshot.Place([]placement.Request{{Type: q.Type, Parent: q.Parent}}, placement.Options{})
	if q.On != "" {
		require.NoError(t, err, q.Type)
		assert.Equal(t, q.On, p.VGPUs[0].Parent, q.Type)
		return
	}
	require.Error(t, err, q.Type)
	assert.Contains(t, err.Error(), q.No, q.Type)
	var refusal *placement.Refusal
	require.ErrorAs(t, err, &refusal)
	assert.Contains(t, refusal.Hint(), q.Next, q.Type)
	noFalseAdvice(t, inv, refusal.Hint())
	if q.Code != "" {
		has := slices.ContainsFunc(refusal.Reasons(), func(r placement.Reason) bool { return string(r.Code) == q.Code })
		assert.True(t, has, "%s: %+v", q.Type, refusal.Reasons())
	}
	if q.Create == "" { // it is there as asked
		return
	}
	_, err = host.Create(t.Context(), mdev.CreateRequest{Type: q.Type, Parent: q.Parent})
	require.Error(t, err, q.Type)
	assert.Contains(t, err.Error(), q.Create, q.Type)
	var e *mdev.Error
	require.ErrorAs(t, err, &e)
	assert.NotEmpty(t, e.Hint(), err)
	noFalseAdvice(t, inv, e.Hint())
}

// noFalseAdvice sees that nobody is told to stop or remove what is not there.
func noFalseAdvice(t *testing.T, inv *mdev.Inventory, hint string) {
	t.Helper()
	for _, g := range inv.GPUs {
		for _, p := range g.Parents {
			if len(p.Devices) > 0 {
				return
			}
		}
	}
	assert.NotContains(t, hint, "stop a VM")
	assert.NotContains(t, hint, "remove a")
}

// planAgrees sees that the placement gives a place to each type that has room somewhere, and
// to as many as there is room for, and none to the others.
func planAgrees(t *testing.T, inv *mdev.Inventory) {
	free := map[string]int{}
	for _, g := range inv.GPUs {
		for _, c := range g.Capacity {
			free[c.Type] += c.Available
		}
	}
	for typ, n := range free {
		s, err := placement.NewSnapshot(placement.HostInventory{Inventory: inv})
		require.NoError(t, err)
		placed := 0
		for placed <= n && placed < 60 {
			p, err := s.Place([]placement.Request{{Type: typ}}, placement.Options{})
			if err != nil {
				require.True(t, errors.Is(err, placement.ErrNoCapacity), "%s: %v", typ, err)
				break
			}
			placed++
			s, err = s.After(p)
			require.NoError(t, err)
		}
		assert.Equal(t, min(n, 60), placed, "places for %s", typ)
	}
}
