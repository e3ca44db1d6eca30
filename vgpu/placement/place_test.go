package placement

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/vgpukit/vgpukit/internal/fault"
	"github.com/vgpukit/vgpukit/mdev"
)

// TestPlaceRefusesWithAReason keeps the promise that each rule that keeps a
// vGPU off a GPU has its own reason, kind of error and next step.
func TestPlaceRefusesWithAReason(t *testing.T) {
	one := 1
	idle := mdev.GPU{Name: "0000:41:00.0", SRIOV: &mdev.SRIOV{Total: 16}}
	sick := gpuWith(simA40, "41")
	for _, p := range sick.parents() {
		sick.broken[p] = true
	}
	for _, c := range []struct {
		rule     string
		gpu      any
		requests []Request
		options  Options
		kind     error
		code     ReasonCode
		text     string
	}{
		{"no such type", gpuWith(simM60, "05"), ask("NVIDIA A40-8Q"), Options{}, ErrNotFound, ReasonNoSuchType, `no GPU has a type "NVIDIA A40-8Q"`},
		{"near name", gpuWith(simM60, "05"), ask("GRID M60-9Q"), Options{}, ErrNotFound, ReasonNoSuchType, "did you mean GRID M60-0Q or GRID M60-1Q"},
		{"part of a name", gpuWith(simM60, "05"), ask("m60-8q"), Options{}, ErrNotFound, ReasonNoSuchType, "did you mean GRID M60-8Q?"},
		{"no room", gpuWith(simM60, "05", "GRID M60-8Q"), ask("GRID M60-8Q"), Options{}, ErrNoCapacity, ReasonNoRoom, "has no room for another GRID M60-8Q"},
		{"other size", gpuWith(simM60, "05", "GRID M60-2Q"), ask("GRID M60-4Q"), Options{}, ErrNoCapacity, ReasonOtherSize, "0000:05:00.0 runs GRID M60-2Q, whose framebuffer is 2 GiB; GRID M60-4Q has 4 GiB"},
		{"other size, half a GiB", gpuWith(simM60, "05", "GRID M60-0Q"), ask("GRID M60-4Q"), Options{}, ErrNoCapacity, ReasonOtherSize, "512 MiB"},
		{"other size on virtual functions that no longer list it", gpuWith(simL40S, "41", "1147"), ask("NVIDIA L40S-24Q"), Options{}, ErrNoCapacity, ReasonOtherSize, "0000:41:00.0 runs NVIDIA L40S-8Q"},
		{"older driver", gpuWith(simOld, "05", "GRID K2-1Q"), ask("GRID K2-1B"), Options{}, ErrNoCapacity, ReasonOtherType, "one type at a time"},
		{"virtual functions offer more than the GPU holds", gpuWith(simA40, "41"), ask("NVIDIA A40-48Q", "NVIDIA A40-48Q"), Options{}, ErrNoCapacity, ReasonNotJointly, "no host can take all 2 vGPUs"},
		{"too few virtual functions", gpuWith(simA40, "41", times(5, "NVIDIA A40-1Q")...), ask("NVIDIA A40-1Q"), Options{}, ErrNoCapacity, ReasonNoRoom, ""},
		{"MIG mode is off", gpuWith(simNoMIG, "41"), ask("GRID A100-1-5C"), Options{}, ErrNoCapacity, ReasonMIGOff, "MIG mode of 0000:41:00.0 is off"},
		{"MIG mode is on", gpuWith(simMIG, "41"), ask("GRID A100-4C"), Options{}, ErrNoCapacity, ReasonMIGOn, "MIG mode of 0000:41:00.0 is on"},
		{"no GPU instance", gpuWith(simMIG, "41", "GRID A100-2-10C"), ask("GRID A100-2-10C"), Options{}, ErrNoCapacity, ReasonNoRoom, ""},
		{"other NUMA node", onNode(0, gpuWith(simM60, "05")), ask("GRID M60-2Q"), Options{Policy: NUMA, NUMANode: &one, Strict: true}, ErrInvalid, ReasonNUMANode, "0000:05:00.0 is on NUMA node 0; node 1 is required"},
		{"group", gpuWith(simM60, "05"), ask("GRID M60-2Q"), Options{Avoid: []Use{{GPU: "0000:05:00.0"}}}, ErrNoCapacity, ReasonAntiAffinity, "must be apart from"},
		{"apart", gpuWith(simA40, "41"), ask("NVIDIA A40-8Q", "NVIDIA A40-8Q"), Options{AntiAffinity: true}, ErrNoCapacity, ReasonNotJointly, ""},
		{"pinned to what has no room", gpuWith(simM60, "05", "GRID M60-8Q"), ask("GRID M60-8Q@0000:05:00.0"), Options{}, ErrNoCapacity, ReasonNoRoom, ""},
		{"pinned to a parent that is not there", gpuWith(simM60, "05"), ask("GRID M60-8Q@0000:06:00.0"), Options{}, ErrNotFound, ReasonPinned, `no parent or GPU "0000:06:00.0"`},
		{"pinned to a virtual function in use", gpuWith(simA40, "41", "NVIDIA A40-8Q"), ask("NVIDIA A40-8Q@0000:41:00.01"), Options{}, ErrNoCapacity, ReasonParentInUse, ""},
		{"problem", sick, ask("NVIDIA A40-8Q"), Options{}, ErrNoCapacity, ReasonProblem, ""},
		{"virtual functions are not enabled", idle, ask("NVIDIA A40-8Q"), Options{}, ErrNotFound, ReasonNoParent, "0000:41:00.0: its virtual functions are not enabled"},
		{"before Ampere one of several must be a whole GPU", gpuWith(simM60, "05"), ask("GRID M60-2Q", "GRID M60-2Q"), Options{}, ErrInvalid, ReasonMustBeAlone, "cannot be one of several"},
		{"before Ampere the B and A profiles are never one of several", gpuWith(simM60, "05"), ask("GRID M60-8A", "GRID M60-8A"), Options{}, ErrInvalid, ReasonMustBeAlone, ""},
		{"pool", gpuWith(simMtty, "mtty", times(5, "mtty-1")...), ask("mtty-2"), Options{}, ErrNoCapacity, ReasonNoRoom, ""},
	} {
		t.Run(c.rule, func(t *testing.T) {
			host := HostInventory{Inventory: &mdev.Inventory{}}
			switch g := c.gpu.(type) {
			case *simGPU:
				host.Inventory.GPUs = []mdev.GPU{g.gpu()}
			case mdev.GPU:
				host.Inventory.GPUs = []mdev.GPU{g}
			}
			s, err := NewSnapshot(host)
			require.NoError(t, err)
			_, err = s.Place(c.requests, c.options)
			require.ErrorIs(t, err, c.kind)
			require.NotEmpty(t, fault.Hint("", err))
			require.Contains(t, err.Error(), c.text)
			require.NotContains(t, err.Error(), "\n")
			var refusal *Refusal
			require.ErrorAs(t, err, &refusal)
			reasons := refusal.Reasons()
			require.True(t, slices.ContainsFunc(reasons, func(r Reason) bool { return r.Code == c.code }), "%+v", reasons)
		})
	}
}

// TestPlaceRefusesBadRequests keeps the promise that a request that breaks a
// rule is refused as invalid, with what to do instead.
func TestPlaceRefusesBadRequests(t *testing.T) {
	fleet := simFleet{
		{name: "a", gpus: []*simGPU{gpuWith(simA40, "41"), gpuWith(simM60, "05")}},
		{name: "b", gpus: []*simGPU{gpuWith(simA40, "41")}},
	}
	s := fleet.snapshot(t)
	q := "NVIDIA A40-1Q"
	for _, c := range []struct {
		name     string
		requests []Request
		options  Options
		kind     error
	}{
		{"none", nil, Options{}, ErrInvalid},
		{"17", ask(times(17, q)...), Options{}, ErrInvalid},
		{"16 and one that it has", ask(times(16, q)...), Options{Existing: []Use{{Host: "a", Type: q}}}, ErrInvalid},
		{"no type", ask(q, ""), Options{}, ErrInvalid},
		{"policy", ask(q), Options{Policy: "best"}, ErrInvalid},
		{"NUMA without a node", ask(q), Options{Policy: NUMA}, ErrInvalid},
		{"pinned without a parent", ask(q+"@0000:41:00.0", q), Options{Policy: Pinned}, ErrInvalid},
		{"host", ask(q), Options{Host: "c"}, ErrNotFound},
		{"has vGPUs on two hosts", ask(q), Options{Existing: []Use{{Host: "a", Type: q}, {Host: "b", Type: q}}}, ErrInvalid},
		{"has vGPUs on another host", ask(q), Options{Host: "a", Existing: []Use{{Host: "b", Type: q}}}, ErrInvalid},
		{"two series", ask(q, "NVIDIA A40-16C"), Options{}, ErrInvalid},
		{"two boards", ask(q, "GRID M60-8Q"), Options{}, ErrInvalid},
		{"another series than it has", ask(q), Options{Existing: []Use{{Host: "a", Type: "NVIDIA A40-16C"}}}, ErrInvalid},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := s.Place(c.requests, c.options)
			require.ErrorIs(t, err, c.kind)
			var ours *Error
			require.ErrorAs(t, err, &ours)
			require.NotEmpty(t, ours.Hint())
		})
	}
}

// TestPlaceGivesAFunctionOnce keeps the promise that a virtual function has one vGPU,
// also when two requests are pinned to it.
func TestPlaceGivesAFunctionOnce(t *testing.T) {
	s := oneHost(gpuWith(simA40, "41")).snapshot(t)
	_, err := s.Place(ask("NVIDIA A40-1Q@0000:41:00.01", "NVIDIA A40-1Q@0000:41:00.02"), Options{})
	require.NoError(t, err)
	_, err = s.Place(ask("NVIDIA A40-1Q@0000:41:00.01", "NVIDIA A40-1Q@0000:41:00.01"), Options{})
	require.ErrorIs(t, err, ErrNoCapacity)
}

// TestRefusalTravels keeps the promise that a refusal which was written as JSON and read
// back says the same and matches the same.
func TestRefusalTravels(t *testing.T) {
	s := oneHost(gpuWith(simM60, "05", "GRID M60-2Q"), gpuWith(simM60, "06")).snapshot(t)
	for text, requests := range map[string][]Request{
		`place vGPU 0: no GPU has a type "GRID M60-9Q"; did you mean GRID M60-0Q or GRID M60-1Q or GRID M60-2Q?`:                                                                                    ask("GRID M60-9Q"),
		`place vGPU 0: there is no parent or GPU "0000:07:00.0"`:                                                                                                                                    ask("GRID M60-8Q@0000:07:00.0"),
		`place vGPU 0: no GPU can take it: 0000:05:00.0 runs GRID M60-2Q, whose framebuffer is 2 GiB; GRID M60-8Q has 8 GiB; 1 more: not what was asked for`:                                        ask("GRID M60-8Q@0000:05:00.0"),
		`place: no host can take all 2 vGPUs: 0000:05:00.0 runs GRID M60-2Q, whose framebuffer is 2 GiB; GRID M60-8Q has 8 GiB; 0000:06:00.0 has room for vGPU 0, but not together with the others`: ask("GRID M60-8Q", "GRID M60-8Q"),
	} {
		_, err := s.Place(requests, Options{})
		require.EqualError(t, err, text)
		var refusal, read *Refusal
		require.ErrorAs(t, err, &refusal)
		data, err := json.Marshal(refusal)
		require.NoError(t, err)
		require.NoError(t, json.Unmarshal(data, &read))
		require.EqualError(t, read, text)
		require.ErrorIs(t, read, refusal.Kind)
		require.Equal(t, refusal.Hint(), read.Hint())
		require.Equal(t, refusal.Reasons(), read.Reasons())
		require.Equal(t, refusal.DidYouMean, read.DidYouMean)
		require.Equal(t, []any{refusal.Request, refusal.Jointly, refusal.UnknownType, refusal.UnknownParent}, []any{read.Request, read.Jointly, read.UnknownType, read.UnknownParent})
		again, err := json.Marshal(read)
		require.NoError(t, err)
		require.JSONEq(t, string(data), string(again))
		require.EqualError(t, fmt.Errorf("x: %w", read), "x: "+text)
	}
}

// TestNewSnapshotRefusesWhatItCannotTellApart covers hosts of one name and
// hosts without inventory; nothing at all is an empty fleet.
func TestNewSnapshotRefusesWhatItCannotTellApart(t *testing.T) {
	inv := &mdev.Inventory{}
	_, err := NewSnapshot(HostInventory{Host: "a", Inventory: inv}, HostInventory{Host: "a", Inventory: inv})
	require.ErrorIs(t, err, ErrInvalid)
	_, err = NewSnapshot(HostInventory{Host: "a"})
	require.ErrorIs(t, err, ErrInvalid)
	for _, hosts := range [][]HostInventory{nil, {{Inventory: inv}}} {
		s, err := NewSnapshot(hosts...)
		require.NoError(t, err)
		_, err = s.Place(ask("nvidia-22"), Options{})
		require.ErrorIs(t, err, ErrNotFound)
	}
}

// TestPackNeverFragments keeps the promise that small profiles, coming one VM
// at a time, open no more GPUs than they fill, so that all others can still
// take the largest profile.
func TestPackNeverFragments(t *testing.T) {
	var fleet simFleet
	for h := range 4 {
		host := &simHost{name: fmt.Sprint(h)}
		for g := range 4 {
			host.gpus = append(host.gpus, gpuWith(simM60, fmt.Sprintf("%02x", 5+g)))
		}
		fleet = append(fleet, host)
	}
	s := fleet.snapshot(t)
	small := []string{"GRID M60-1Q", "GRID M60-2Q", "GRID M60-1B", "GRID M60-4Q", "GRID M60-0B", "GRID M60-2B"}
	placed := map[uint64]int{}
	for n := range 40 {
		typeName := small[n%len(small)]
		p, err := s.Place(ask(typeName), Options{})
		require.NoError(t, err)
		require.Empty(t, fleet.bad(p, ask(typeName), Options{}))
		s, err = s.After(p)
		require.NoError(t, err)
		placed[simM60.find(typeName).size]++
	}
	need := 0
	for size, n := range placed {
		full := int(min(16, 8<<10/size))
		need += (n + full - 1) / full
	}
	for n := range 16 - need {
		p, err := s.Place(ask("GRID M60-8Q"), Options{})
		require.NoError(t, err, "only %d GPUs are left for the largest profile, not %d", n, 16-need)
		s, err = s.After(p)
		require.NoError(t, err)
	}
	_, err := s.Place(ask("GRID M60-8Q"), Options{})
	require.ErrorIs(t, err, ErrNoCapacity)
}

// TestAfterRefusesWhatDoesNotFit keeps the promise that After never overcommits,
// and leaves the snapshot that it was called on as it was.
func TestAfterRefusesWhatDoesNotFit(t *testing.T) {
	fleet := oneHost(gpuWith(simA40, "41"), gpuWith(simM60, "05"))
	s := fleet.snapshot(t)
	first, err := s.Place(ask("NVIDIA A40-8Q"), Options{})
	require.NoError(t, err)
	next, err := s.After(first)
	require.NoError(t, err)
	_, err = next.After(first)
	require.ErrorIs(t, err, ErrNoCapacity, "the virtual function is taken")
	again, err := s.Place(ask("NVIDIA A40-8Q"), Options{})
	require.NoError(t, err)
	require.Equal(t, first, again, "the first snapshot has changed")
	for _, c := range []struct {
		change func(*Placement)
		kind   error
	}{
		{func(p *Placement) { p.Host = "elsewhere" }, ErrNotFound},
		{func(p *Placement) { p.VGPUs[0].GPU = "0000:99:00.0" }, ErrNotFound},
		{func(p *Placement) { p.VGPUs[0].Parent = "0000:99:00.1" }, ErrNoCapacity},
		{func(p *Placement) { p.VGPUs[0].Type = "nvidia-22" }, ErrNoCapacity},
		{func(p *Placement) { p.VGPUs = append(p.VGPUs, p.VGPUs[0]) }, ErrNoCapacity},
	} {
		p := Placement{VGPUs: slices.Clone(first.VGPUs)}
		c.change(&p)
		_, err := s.After(p)
		require.ErrorIs(t, err, c.kind)
	}
}

// TestSnapshotKeepsNothingOfTheInventory keeps the promise that the caller may
// change the inventory afterwards, and that the order of hosts does not matter.
func TestSnapshotKeepsNothingOfTheInventory(t *testing.T) {
	fleet := simFleet{
		{name: "b", gpus: []*simGPU{gpuWith(simM60, "06", "GRID M60-2Q"), gpuWith(simM60, "05")}},
		{name: "a", gpus: []*simGPU{gpuWith(simM60, "05", "GRID M60-2Q")}},
	}
	first, second := fleet[0].inventory(), fleet[1].inventory()
	s, err := NewSnapshot(first, second)
	require.NoError(t, err)
	want, err := s.Place(ask("GRID M60-2Q"), Options{})
	require.NoError(t, err)
	require.Equal(t, "a", want.Host)
	turned, err := NewSnapshot(second, first)
	require.NoError(t, err)
	first.Inventory.GPUs[0], second.Inventory.GPUs[0].Parents[0] = mdev.GPU{}, mdev.Parent{}
	for _, s := range []*Snapshot{s, turned} {
		got, err := s.Place(ask("GRID M60-2Q"), Options{})
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
}

// TestPlaceMixedSizes keeps the promise that a GPU that is seen to run several
// sizes takes each size that it says it has room for.
func TestPlaceMixedSizes(t *testing.T) {
	g := gpuWith(simA40, "41", "NVIDIA A40-24Q").gpu()
	for i := range g.Parents {
		for j := range g.Parents[i].Types {
			if typ := &g.Parents[i].Types[j]; typ.Name == "NVIDIA A40-8Q" && len(g.Parents[i].Devices) == 0 {
				typ.Available = 1
			}
		}
	}
	for i := range g.Capacity {
		if g.Capacity[i].Name == "NVIDIA A40-8Q" {
			g.Capacity[i].Available = 3
		}
	}
	s, err := NewSnapshot(HostInventory{Inventory: &mdev.Inventory{GPUs: []mdev.GPU{g}}})
	require.NoError(t, err)
	_, err = s.Place(ask(times(3, "NVIDIA A40-8Q")...), Options{})
	require.NoError(t, err)
	_, err = s.Place(ask("NVIDIA A40-8Q", "NVIDIA A40-24Q"), Options{})
	require.ErrorIs(t, err, ErrNoCapacity, "32 GiB do not fit beside 24")
}

// TestSnapshotIsSafeForConcurrentUse decides and plays on from one snapshot in
// many goroutines, all of which must see the same; the race detector watches.
func TestSnapshotIsSafeForConcurrentUse(t *testing.T) {
	s := simFleet{{gpus: []*simGPU{gpuWith(simA40, "41"), gpuWith(simA40, "42"), gpuWith(simMtty, "mtty")}}}.snapshot(t)
	play := func() (out []Placement) {
		at := s
		for n := range 8 {
			requests := ask("NVIDIA A40-8Q", "NVIDIA A40-8Q")
			if n%2 == 1 {
				requests = ask("mtty-1@mtty")
			}
			p, err := at.Place(requests, Options{Policy: []Policy{Pack, Spread}[n/2%2]})
			var refusal *Refusal
			if errors.As(err, &refusal) {
				out = append(out, Placement{Host: err.Error()})
				continue
			}
			out = append(out, p)
			if at, err = at.After(p); err != nil {
				out = append(out, Placement{Host: err.Error()})
				break
			}
		}
		return out
	}
	const goroutines = 8
	results := make([][]Placement, goroutines)
	var wg sync.WaitGroup
	for i := range goroutines {
		wg.Go(func() { results[i] = play() })
	}
	wg.Wait()
	for i := range results {
		require.Equal(t, results[0], results[i])
	}
}
