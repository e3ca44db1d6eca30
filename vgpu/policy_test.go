package vgpu

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vgpukit/vgpukit/vgpu/placement"
)

// policy changes the policy of a GPU.
func (r *rig) policy(gpu string, change func(*GPUPolicy)) GPUPolicy {
	r.t.Helper()
	p, err := r.m.ChangePolicy(r.t.Context(), gpu, func(p *GPUPolicy) error {
		change(p)
		return nil
	})
	require.NoError(r.t, err)
	return p
}

// rules are policies that keep a "NVIDIA L40S-4Q" off a GPU on which one is, or was granted.
var rules = map[placement.ReasonCode]func(*GPUPolicy){
	placement.ReasonCordoned:       func(p *GPUPolicy) { p.Cordoned = "its fan fails" },
	placement.ReasonReserved:       func(p *GPUPolicy) { p.Reserved = true },
	placement.ReasonTypeNotAllowed: func(p *GPUPolicy) { p.Types = []placement.TypeLimit{{Type: "NVIDIA L40S-8Q"}} },
	placement.ReasonTypeLimit:      func(p *GPUPolicy) { p.Types = []placement.TypeLimit{{Type: "NVIDIA L40S-4Q", Most: 1}} },
}

// reasons are those of a refusal.
func reasons(t *testing.T, err error) map[placement.ReasonCode]bool {
	t.Helper()
	var refusal *placement.Refusal
	require.ErrorAs(t, err, &refusal)
	codes := map[placement.ReasonCode]bool{}
	for _, r := range refusal.Reasons() {
		codes[r.Code] = true
	}
	return codes
}

// TestPolicyDecidesOnNewPlaces: what a policy forbids plan and provision refuse alike, with the
// reason; what was granted before goes on, and is made again where it was after a reboot. A VM that
// has vGPUs only while it runs gets no new place.
func TestPolicyDecidesOnNewPlaces(t *testing.T) {
	const gpu, typ = "0000:41:00.0", "NVIDIA L40S-4Q"
	for code, rule := range rules {
		t.Run(string(code), func(t *testing.T) {
			r := newRig(t, "l40s@"+gpu+",vfs=4")
			ctx := t.Context()
			before := r.provisionVM(typ, Reserved)
			passing := request("passing", typ, 1)
			passing.Lifetime = WhileRunning
			_, err := r.m.Provision(ctx, passing)
			require.NoError(t, err)
			r.policy(gpu, rule)

			_, planned := r.m.Plan(ctx, request("new", typ, 1))
			_, err = r.m.Provision(ctx, request("new", typ, 1))
			for _, err := range []error{planned, err} {
				require.ErrorIs(t, err, ErrNoCapacity)
				assert.True(t, reasons(t, err)[code], "%v", err)
				assert.NotEmpty(t, Hint(err))
			}
			_, err = r.m.Start(ctx, "passing", StartOptions{})
			require.ErrorIs(t, err, ErrNoCapacity)
			assert.True(t, reasons(t, err)[code], "%v", err)

			r.sim.Reboot()
			_, err = r.m.Provision(ctx, request("new", typ, 1))
			require.ErrorIs(t, err, ErrNoCapacity, "a vGPU that is granted and absent counts")
			vm, err := r.m.Start(ctx, "vm", StartOptions{})
			require.NoError(t, err)
			assert.Equal(t, before.VGPUs[0].Parent, vm.VGPUs[0].Parent)

			p := r.policy(gpu, func(p *GPUPolicy) { p.GPUPolicy = placement.GPUPolicy{} })
			assert.Equal(t, "everything is allowed", p.String())
			assert.NoFileExists(t, r.m.store.policies.Path(gpu))
			_, err = r.m.Start(ctx, "passing", StartOptions{})
			require.NoError(t, err)
			_, err = r.m.Provision(ctx, request("new", typ, 1))
			require.NoError(t, err)
		})
	}
}

// TestPolicyOfAVMThatHasNoPlaceYet: a VM that has vGPUs while it runs can be defined on a host
// that is cordoned, since that ends, and not where no GPU may run its type.
func TestPolicyOfAVMThatHasNoPlaceYet(t *testing.T) {
	for code, rule := range rules {
		r := newRig(t, "l40s@0000:41:00.0,vfs=4")
		r.policy("0000:41:00.0", rule)
		req := request("vm", "NVIDIA L40S-4Q", 1)
		req.Lifetime = WhileRunning
		_, err := r.m.Provision(t.Context(), req)
		if code == placement.ReasonTypeNotAllowed || code == placement.ReasonReserved {
			require.ErrorIs(t, err, ErrNoCapacity, code)
			assert.True(t, reasons(t, err)[code], "%v", err)
		} else {
			require.NoError(t, err, code)
		}
	}
}

// TestQuarantinedVFIsLeft: nothing goes to a quarantined virtual function, a vGPU that was there
// before a reboot neither: it goes to another.
func TestQuarantinedVFIsLeft(t *testing.T) {
	r := newRig(t, "l40s@0000:41:00.0,vfs=2")
	first := r.provisionVM("NVIDIA L40S-4Q", Reserved).VGPUs[0].Parent
	r.sim.Reboot()
	p := r.policy(first, func(p *GPUPolicy) { p.Quarantined = map[string]string{first: ""} })
	assert.Equal(t, map[string]string{first: "by an operator"}, p.Quarantined)
	vm, err := r.m.Start(t.Context(), "vm", StartOptions{})
	require.NoError(t, err)
	assert.NotEqual(t, first, vm.VGPUs[0].Parent)
	_, err = r.m.Provision(t.Context(), request("new", "NVIDIA L40S-4Q", 1))
	require.ErrorIs(t, err, ErrNoCapacity)
	assert.True(t, reasons(t, err)[placement.ReasonQuarantined])
	r.policy("0000:41:00.0", func(p *GPUPolicy) { delete(p.Quarantined, first) })
	_, err = r.m.Provision(t.Context(), request("new", "NVIDIA L40S-4Q", 1))
	require.NoError(t, err)
}

// TestChangePolicyRefuses: what no GPU here can be told is refused, with what to do, and nothing
// is written.
func TestChangePolicyRefuses(t *testing.T) {
	r := newRig(t, "l40s@0000:41:00.0,vfs=2", "tesla-m60@0000:05:00.0")
	mine := errors.New("mine")
	types := func(list ...placement.TypeLimit) func(*GPUPolicy) error {
		return func(p *GPUPolicy) error { p.Types = list; return nil }
	}
	for name, c := range map[string]struct {
		gpu    string
		change func(*GPUPolicy) error
		kind   error
		says   string
	}{
		"no such GPU":             {"0000:99:00.0", types(), ErrNotFound, "no GPU of that name"},
		"a type of another board": {"0000:41:00.0", types(placement.TypeLimit{Type: "GRID M60-2Q"}), ErrNotFound, `it has no type "GRID M60-2Q"`},
		"a type that is near":     {"0000:05:00.0", types(placement.TypeLimit{Type: "GRID M60-9Q"}), ErrNotFound, "did you mean GRID M60-0Q"},
		"no type":                 {"0000:05:00.0", types(placement.TypeLimit{}), ErrInvalid, "has no name"},
		"fewer than none":         {"0000:05:00.0", types(placement.TypeLimit{Type: "nvidia-18", Most: -1}), ErrInvalid, "-1"},
		"twice":                   {"0000:05:00.0", types(placement.TypeLimit{Type: "nvidia-18"}, placement.TypeLimit{Type: "18", Most: 1}), ErrInvalid, "twice"},
		"a parent of another GPU": {"0000:05:00.0", func(p *GPUPolicy) error { p.Quarantined = map[string]string{"0000:41:00.4": ""}; return nil }, ErrNotFound, "no parent 0000:41:00.4"},
		"what the caller refuses": {"0000:05:00.0", func(*GPUPolicy) error { return mine }, mine, "mine"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := r.m.ChangePolicy(t.Context(), c.gpu, c.change)
			require.ErrorIs(t, err, c.kind)
			require.ErrorContains(t, err, c.says)
			require.ErrorContains(t, err, "policy: change "+c.gpu)
			list, err := r.m.Policies(t.Context())
			require.NoError(t, err)
			require.Empty(t, list)
		})
	}
	p := r.policy("0000:41:00.0", func(p *GPUPolicy) { p.Types = []placement.TypeLimit{{Type: "NVIDIA L40S-4Q"}, {Type: "1146", Most: 2}} })
	assert.Len(t, p.Types, 2)
}

// TestPolicyOfAnotherDevice: a policy does not apply to another device that has its GPU's address
// now, is told, and the next one begins anew.
func TestPolicyOfAnotherDevice(t *testing.T) {
	r := newRig(t, "l40s@0000:41:00.0,vfs=2")
	require.NoError(t, r.m.store.policies.Write(GPUPolicy{GPU: "0000:41:00.0", PCI: "10de:1234", GPUPolicy: placement.GPUPolicy{Cordoned: "x"}}))
	require.NoError(t, r.m.store.policies.Write(GPUPolicy{GPU: "0000:42:00.0", PCI: "10de:1234", GPUPolicy: placement.GPUPolicy{Cordoned: "x"}}))
	r.provisionVM("NVIDIA L40S-4Q", Reserved)
	list, err := r.m.Policies(t.Context())
	require.NoError(t, err)
	require.Len(t, list, 2)
	assert.Regexp(t, "made for the PCI device 10de:1234, which is 10de:.* now", list[0].Void)
	assert.Equal(t, "there is no such GPU now", list[1].Void)
	report, err := r.m.Reconcile(t.Context(), ReconcileOptions{})
	require.NoError(t, err)
	require.Len(t, report.Actions, 2)
	for _, a := range report.Actions {
		assert.Equal(t, ReportPolicy, a.Kind)
		assert.NotEmpty(t, a.Next)
	}
	p := r.policy("0000:41:00.0", func(p *GPUPolicy) {
		assert.Empty(t, p.Cordoned)
		p.Reserved = true
	})
	assert.NotEqual(t, "10de:1234", p.PCI)
	r.policy("0000:42:00.0", func(p *GPUPolicy) { *p = GPUPolicy{} })
	list, err = r.m.Policies(t.Context())
	require.NoError(t, err)
	require.Len(t, list, 1)
	assert.Empty(t, list[0].Void)
}

// TestDamagedPolicy: while it cannot be known what may be placed on a GPU nothing is; Reconcile
// sets what is damaged aside.
func TestDamagedPolicy(t *testing.T) {
	r := newRig(t, "l40s@0000:41:00.0,vfs=2")
	path := r.m.store.policies.Path("0000:41:00.0")
	require.NoError(t, os.WriteFile(path, []byte(`{"sum":"half of i`), 0o600))
	_, err := r.m.Provision(t.Context(), request("vm", "NVIDIA L40S-4Q", 1))
	require.ErrorIs(t, err, ErrNoCapacity)
	require.ErrorContains(t, err, "its policy cannot be read")
	_, err = r.m.ChangePolicy(t.Context(), "0000:41:00.0", func(*GPUPolicy) error { return nil })
	require.ErrorIs(t, err, ErrState)
	assert.Contains(t, Hint(err), "reconcile")
	require.NoError(t, os.WriteFile(filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".tmp1"), []byte("{"), 0o600))
	report := r.settled()
	require.Len(t, report.Actions, 2)
	_, err = r.m.Provision(t.Context(), request("vm", "NVIDIA L40S-4Q", 1))
	require.NoError(t, err)
}

// TestPolicyIsWholeOrAbsent: wherever a process dies that changes a policy, or a write fails, the
// policy is the one before or the one after, and Reconcile leaves nothing else.
func TestPolicyIsWholeOrAbsent(t *testing.T) {
	cordon := func(ctx context.Context, m *Manager) error {
		_, err := m.ChangePolicy(ctx, "0000:41:00.0", func(p *GPUPolicy) error { p.Cordoned = "new"; return nil })
		return err
	}
	uncordon := func(ctx context.Context, m *Manager) error {
		_, err := m.ChangePolicy(ctx, "0000:41:00.0", func(p *GPUPolicy) error { p.Cordoned = ""; return nil })
		return err
	}
	for name, c := range map[string]struct {
		do           func(context.Context, *Manager) error
		before, then string
	}{"made": {cordon, "", "new"}, "changed": {cordon, "old", "new"}, "removed": {uncordon, "old", ""}} {
		for _, f := range []fate{fail, failAfter, dieBefore, dieAfter} {
			t.Run(name+" "+f.String(), func(t *testing.T) {
				r := newRig(t, "l40s@0000:41:00.0,vfs=2")
				if c.before != "" {
					r.policy("0000:41:00.0", func(p *GPUPolicy) { p.Cordoned = c.before })
				}
				struck := 0
				p := r.launch(func(a access) fate {
					if a.change > 0 {
						struck++
						return f
					}
					return live
				})
				err, died := p.run(c.do)
				require.Equal(t, 1, struck, "it is one change")
				require.True(t, died || err != nil)
				r.settled()
				want := c.then
				if f == fail || f == dieBefore {
					want = c.before
				}
				list, err := r.m.Policies(t.Context())
				require.NoError(t, err)
				got := ""
				if len(list) > 0 {
					got = list[0].Cordoned
				}
				assert.Equal(t, want, got)
				left, err := os.ReadDir(filepath.Join(r.dir, gpusDir))
				require.NoError(t, err)
				assert.Len(t, left, len(list))
			})
		}
	}
}

// TestPolicyIsKept: a policy's file is for its owner only, and each change has a line in the log
// of record; saying the same again changes nothing.
func TestPolicyIsKept(t *testing.T) {
	r := newRig(t, "l40s@0000:41:00.0,vfs=2")
	set := func(p *GPUPolicy) {
		p.Reserved, p.Types = true, []placement.TypeLimit{{Type: "NVIDIA L40S-4Q", Most: 2}}
	}
	p := r.policy("0000:41:00.0", set)
	assert.Equal(t, "reserved; only NVIDIA L40S-4Q (2 at most)", p.String())
	info, err := os.Stat(r.m.store.policies.Path("0000:41:00.0"))
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o600), info.Mode())
	r.policy("0000:41:00.4", set)
	again := r.manager(Observer{})
	list, err := again.Policies(t.Context())
	require.NoError(t, err)
	assert.Equal(t, []GPUPolicy{p}, list)
	record, err := os.ReadFile(filepath.Join(r.dir, "record.log"))
	require.NoError(t, err)
	assert.Equal(t, 1, strings.Count(string(record), `"what":"policy"`))
	assert.Contains(t, string(record), fmt.Sprintf(`"object":"0000:41:00.0","detail":%q`, p.String()))
}

// TestLimitInCompany: of many who want a type at the same moment, in several processes, as many get
// one as its limit says, and the others are told of the limit; all of another type are served.
func TestLimitInCompany(t *testing.T) {
	r := newRig(t, "a40@0000:41:00.0,vfs=16")
	r.policy("0000:41:00.0", func(p *GPUPolicy) {
		p.Types = []placement.TypeLimit{{Type: "NVIDIA A40-4Q", Most: 3}, {Type: "NVIDIA A40-4C"}}
	})
	var all sync.WaitGroup
	made, errs := make([]VM, 12), make([]error, 12)
	for i := range made {
		m := r.manager(Observer{})
		typ := []string{"NVIDIA A40-4Q", "NVIDIA A40-4C"}[i%4/3]
		all.Go(func() { made[i], errs[i] = m.Provision(t.Context(), request(fmt.Sprint("vm", i), typ, 1)) })
	}
	all.Wait()
	limited := 0
	for i, err := range errs {
		switch {
		case err != nil:
			require.NotEqual(t, 3, i%4, "%v", err)
			require.ErrorIs(t, err, ErrNoCapacity)
			assert.True(t, reasons(t, err)[placement.ReasonTypeLimit], "%v", err)
		case i%4 != 3:
			limited++
		}
	}
	assert.Equal(t, 3, limited)
	assert.Len(t, r.sim.Devices(), 3+3)
	assert.Empty(t, r.only().Failures, "who lost a race blames nobody")
}

// TestCordonedMeanwhile: a GPU that is cordoned after it was chosen gets nothing: the next one does,
// or the VM is refused with the reason.
func TestCordonedMeanwhile(t *testing.T) {
	for _, boards := range [][]string{{"tesla-m60@0000:05:00.0"}, {"l40s@0000:05:00.0,vfs=2", "l40s@0000:06:00.0,vfs=2"}} {
		r := newRig(t, boards...)
		typ := map[int]string{1: "GRID M60-2Q", 2: "NVIDIA L40S-4Q"}[len(boards)]
		operator, cordons := r.manager(Observer{}), []string{"0000:05:00.0"}
		r.m = r.manager(Observer{StepBegun: func(ctx context.Context, s Step) context.Context {
			if s.Name == "create" {
				for _, gpu := range cordons {
					_, err := operator.ChangePolicy(context.Background(), gpu, func(p *GPUPolicy) error { p.Cordoned = "now"; return nil })
					assert.NoError(t, err)
				}
			}
			return ctx
		}})
		vm, err := r.m.Provision(t.Context(), request("one", typ, 1))
		require.NoError(t, err)
		assert.Equal(t, "0000:06:00.0", vm.VGPUs[0].GPU)
		cordons = append(cordons, "0000:06:00.0")
		_, err = r.m.Provision(t.Context(), request("two", typ, 1))
		require.ErrorIs(t, err, ErrNoCapacity)
		assert.True(t, reasons(t, err)[placement.ReasonCordoned], "%v", err)
		assert.Len(t, r.sim.Devices(), 1)
		r.settled()
	}
}
