package placement

import (
	"encoding/json"
	"math/rand"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/vgpukit/vgpukit/internal/fault"
)

// randomPolicy is one that a GPU may have.
func randomPolicy(r *rand.Rand, g *simGPU) GPUPolicy {
	var p GPUPolicy
	switch r.Intn(5) {
	case 0:
		p.Cordoned = "maintenance"
	case 1:
		p.Reserved = true
	case 2:
		p.Types = []TypeLimit{}
		for range r.Intn(4) {
			t := g.board.types[r.Intn(len(g.board.types))]
			p.Types = append(p.Types, TypeLimit{[]string{t.id, t.name}[r.Intn(2)], r.Intn(3)})
		}
	}
	for r.Intn(3) == 0 {
		if p.Quarantined == nil {
			p.Quarantined = map[string]string{}
		}
		p.Quarantined[g.parents()[r.Intn(len(g.parents()))]] = "it failed"
	}
	return p
}

// under is a GPU under a policy.
func under(p GPUPolicy, g *simGPU) *simGPU {
	g.policy = p
	return g
}

// TestPolicyRefuses: each rule of a policy has its reason and next step, and is named only where
// it is what refuses.
func TestPolicyRefuses(t *testing.T) {
	q, half := "NVIDIA A40-8Q", "NVIDIA A40-24Q"
	cordoned, reserved := GPUPolicy{Cordoned: "its fan fails"}, GPUPolicy{Reserved: true}
	only := func(types ...TypeLimit) GPUPolicy { return GPUPolicy{Types: types} }
	shut := func(vfs ...string) GPUPolicy {
		p := GPUPolicy{Quarantined: map[string]string{}}
		for _, vf := range vfs {
			p.Quarantined["0000:41:00.0"+vf] = "failed for vm1 and vm2"
		}
		return p
	}
	for _, c := range []struct {
		rule     string
		gpu      *simGPU
		requests []Request
		code     ReasonCode // "": it is placed
		text     string
		next     string
	}{
		{"no policy", gpuWith(simA40, "41"), ask(q), "", "", ""},
		{"cordoned", under(cordoned, gpuWith(simA40, "41")), ask(q), ReasonCordoned, "0000:41:00.0 is cordoned: its fan fails", "uncordon the GPU 0000:41:00.0"},
		{"cordoned, and named", under(cordoned, gpuWith(simA40, "41")), ask(q + "@0000:41:00.0"), ReasonCordoned, "its fan fails", "uncordon the GPU 0000:41:00.0"},
		{"cordoned, and one of its parents named", under(cordoned, gpuWith(simA40, "41")), ask(q + "@0000:41:00.02"), ReasonCordoned, "its fan fails", "uncordon the GPU 0000:41:00.0"},
		{"cordoned, and full", under(cordoned, gpuWith(simA40, "41", half, half)), ask(half), ReasonNoRoom, "0000:41:00.0 is full", "remove a vGPU"},
		{"cordoned, and of another size", under(cordoned, gpuWith(simA40, "41", half)), ask(q), ReasonOtherSize, "runs NVIDIA A40-24Q", "ask for the size"},
		{"cordoned without virtual functions", under(cordoned, gpuWith(simM60, "41")), ask("GRID M60-8Q"), ReasonCordoned, "its fan fails", "uncordon the GPU 0000:41:00.0"},
		{"reserved", under(reserved, gpuWith(simA40, "41")), ask(q), ReasonReserved, "0000:41:00.0 is reserved for vGPUs that are pinned to it", "pin the vGPU to the GPU 0000:41:00.0"},
		{"reserved, and named", under(reserved, gpuWith(simA40, "41")), ask(q + "@0000:41:00.0"), "", "", ""},
		{"reserved, and one of its parents named", under(reserved, gpuWith(simA40, "41")), ask(q + "@0000:41:00.02"), "", "", ""},
		{"reserved, one of two named", under(reserved, gpuWith(simA40, "41")), ask(q+"@0000:41:00.0", q), ReasonReserved, "is reserved", "pin the vGPU"},
		{"a type by name", under(only(TypeLimit{Type: q}), gpuWith(simA40, "41")), ask(q), "", "", ""},
		{"a type by id", under(only(TypeLimit{Type: simA40.find(q).id}), gpuWith(simA40, "41")), ask(q), "", "", ""},
		{"a type that is not allowed", under(only(TypeLimit{Type: q}), gpuWith(simA40, "41")), ask(half), ReasonTypeNotAllowed, "0000:41:00.0 may not run NVIDIA A40-24Q by its policy, which allows NVIDIA A40-8Q", "change the policy of 0000:41:00.0"},
		{"no type at all", under(GPUPolicy{Types: []TypeLimit{}}, gpuWith(simA40, "41")), ask(q), ReasonTypeNotAllowed, "which allows none", "change the policy"},
		{"below the limit", under(only(TypeLimit{q, 2}), gpuWith(simA40, "41", q)), ask(q), "", "", ""},
		{"at the limit", under(only(TypeLimit{q, 2}), gpuWith(simA40, "41", q, q)), ask(q), ReasonTypeLimit, "no room for another NVIDIA A40-8Q by its policy, which allows 2", "remove a vGPU of that type"},
		{"beyond the limit", under(only(TypeLimit{q, 1}), gpuWith(simA40, "41", q, q)), ask(q), ReasonTypeLimit, "which allows 1", "remove a vGPU of that type"},
		{"together beyond the limit", under(only(TypeLimit{q, 2}), gpuWith(simA40, "41", q)), ask(q, q), ReasonNotJointly, "", "ask for fewer"},
		{"a limit is for one type, not for its size", under(only(TypeLimit{"NVIDIA A40-1Q", 1}, TypeLimit{Type: "NVIDIA A40-1B"}), gpuWith(simA40, "41", "NVIDIA A40-1Q")), ask("NVIDIA A40-1B"), "", "", ""},
		{"quarantined, others are free", under(shut("1"), gpuWith(simA40, "41")), ask(q), "", "", ""},
		{"quarantined, and named", under(shut("1"), gpuWith(simA40, "41")), ask(q + "@0000:41:00.01"), ReasonQuarantined, "0000:41:00.01 is quarantined: failed for vm1 and vm2", "leave the parent out, or pin to the GPU 0000:41:00.0"},
		{"quarantined, all others are in use", under(shut("5"), gpuWith(simA40, "41", q, q, q, q)), ask(q), ReasonQuarantined, "0000:41:00.05 is quarantined", "release the quarantine of 0000:41:00.05"},
		{"quarantined, and the GPU full", under(shut("4"), gpuWith(simA40, "41", half, half)), ask(half), ReasonNoRoom, "is full", "remove a vGPU"},
		{"quarantined without virtual functions", under(GPUPolicy{Quarantined: map[string]string{"0000:41:00.0": "broken"}}, gpuWith(simM60, "41")), ask("GRID M60-8Q"), ReasonQuarantined, "is quarantined: broken", "release the quarantine of 0000:41:00.0"},
	} {
		t.Run(c.rule, func(t *testing.T) {
			_, err := oneHost(c.gpu).snapshot(t).Place(c.requests, Options{})
			if c.code == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorIs(t, err, ErrNoCapacity)
			require.ErrorContains(t, err, c.text)
			require.Contains(t, fault.Hint("", err), c.next)
			var refusal *Refusal
			require.ErrorAs(t, err, &refusal)
			byPolicy := 0
			codes := map[ReasonCode]bool{}
			for _, reason := range refusal.Reasons() {
				codes[reason.Code] = true
				if reason.Code.byPolicy() {
					byPolicy++
				}
			}
			require.True(t, codes[c.code], "%v", codes)
			require.Equal(t, c.code.byPolicy(), byPolicy > 0, "%v", codes)
		})
	}
}

// TestPolicyElsewhere: a GPU whose policy refuses leaves a VM to the others, and a pin to a parent
// that cannot be had is not answered with a GPU that is reserved.
func TestPolicyElsewhere(t *testing.T) {
	q := "NVIDIA A40-8Q"
	fleet := oneHost(
		under(GPUPolicy{Cordoned: "x"}, gpuWith(simA40, "41", q)), under(GPUPolicy{Reserved: true}, gpuWith(simA40, "42", q)),
		under(GPUPolicy{Types: []TypeLimit{{q, 1}}}, gpuWith(simA40, "43", q)), gpuWith(simA40, "44"),
	)
	for _, policy := range []Policy{Pack, Spread} {
		p, err := fleet.snapshot(t).Place(ask(q, q), Options{Policy: policy})
		require.NoError(t, err)
		for _, v := range p.VGPUs {
			require.Equal(t, "0000:44:00.0", v.GPU)
			for _, other := range v.Alternatives {
				require.Equal(t, "0000:44:00.0", other.GPU)
			}
		}
	}
	fleet[0].gpus = fleet[0].gpus[:2]
	_, err := fleet.snapshot(t).Place(ask(q+"@0000:42:00.01"), Options{})
	require.Equal(t, "pin to the GPU 0000:42:00.0", fault.Hint("", err))
	_, err = fleet.snapshot(t).Place(ask(q+"@0000:41:00.01"), Options{})
	require.NotContains(t, fault.Hint("", err), "leave the parent out")
}

// TestAfterUnderPolicy: what was granted before a policy forbade it takes its room in a later
// snapshot, on a parent that is quarantined too, and counts against limits.
func TestAfterUnderPolicy(t *testing.T) {
	q := simA40.find("NVIDIA A40-8Q").id
	on := func(parent string) Placement {
		return Placement{VGPUs: []VGPU{{Type: q, GPU: "0000:41:00.0", Parent: parent}}}
	}
	for _, p := range []GPUPolicy{
		{Cordoned: "x"},
		{Types: []TypeLimit{}},
		{Types: []TypeLimit{{q, 1}}},
		{Quarantined: map[string]string{"0000:41:00.01": "x", "0000:41:00.02": "x"}},
	} {
		s := oneHost(under(p, gpuWith(simA40, "41"))).snapshot(t)
		var err error
		for _, parent := range []string{"0000:41:00.01", "0000:41:00.02"} {
			s, err = s.After(on(parent))
			require.NoError(t, err, "%+v", p)
			_, err = s.After(on(parent))
			require.ErrorIs(t, err, ErrNoCapacity, "%+v: it has one", p)
		}
		require.Equal(t, 2, s.hosts[0].used)
		require.EqualValues(t, 3, s.hosts[0].gpus[0].room[s.hosts[0].gpus[0].model.slotOf(s.kindsOf(q))], "%+v", p)
	}
	s := oneHost(under(GPUPolicy{Types: []TypeLimit{{q, 2}}}, gpuWith(simA40, "41"))).snapshot(t)
	after, err := s.After(on("0000:41:00.01"))
	require.NoError(t, err)
	_, err = after.Place(ask(q, q), Options{})
	require.ErrorIs(t, err, ErrNoCapacity)
	_, err = s.Place(ask(q, q), Options{})
	require.NoError(t, err, "a snapshot is not changed")
}

// TestPolicyTravels: a policy comes back from JSON as it was; an empty list of types is not none.
func TestPolicyTravels(t *testing.T) {
	for _, p := range []GPUPolicy{{}, {Types: []TypeLimit{}}, {Cordoned: "x", Reserved: true, Types: []TypeLimit{{"a", 1}}, Quarantined: map[string]string{"v": "w"}}} {
		data, err := json.Marshal(p)
		require.NoError(t, err)
		var read GPUPolicy
		require.NoError(t, json.Unmarshal(data, &read))
		require.Equal(t, p, read)
		require.Equal(t, p.IsZero(), string(data) == "{}")
	}
}
