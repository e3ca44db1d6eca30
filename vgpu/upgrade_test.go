package vgpu

import (
	"context"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestUpgrade: VMs that an earlier version provisioned are the same to this one, running or
// not: their vGPUs, where those are pinned, and how long they live. Nothing is to be mended.
func TestUpgrade(t *testing.T) {
	for _, w := range slices.Concat(formerWorlds(t, "mtty.json"), formerWorlds(t, "tesla-m60.json"), formerWorlds(t, "a40.json"), formerWorlds(t, "l40s.json")) {
		t.Run(w.Board+" "+w.Name, func(t *testing.T) {
			r := w.rig(t)
			ctx := t.Context()
			copies := w.copies(t)
			require.Len(t, copies, 2)
			for _, d := range w.Domains {
				meta, ours := copies[d.Name]
				if !ours {
					continue
				}
				vm, err := r.m.Status(ctx, d.Name)
				require.NoError(t, err)
				assert.Equal(t, d.UUID, vm.UUID)
				assert.Equal(t, map[bool]State{false: StateOff, true: StateRunning}[d.Running], vm.State)
				assert.Empty(t, vm.Drift)
				assert.Empty(t, vm.Unfinished)
				require.Len(t, vm.VGPUs, len(meta.VGPUs))
				for i, g := range meta.VGPUs {
					assert.Equal(t, g.ID, vm.VGPUs[i].ID)
					assert.Equal(t, g.Type, vm.VGPUs[i].Type)
					assert.Equal(t, g.Parent, vm.VGPUs[i].Parent)
					assert.Equal(t, g.Lifetime, string(vm.Lifetime))
					assert.Equal(t, d.Running || vm.Lifetime == Reserved, vm.VGPUs[i].Present)
					assert.Empty(t, vm.VGPUs[i].Problem)
				}
				granted, ok, err := r.m.store.grants.Read(d.UUID.String())
				require.NoError(t, err)
				require.True(t, ok)
				if d.Name == "one" {
					assert.NotEmpty(t, granted.VGPUs[0].Pin)
					assert.True(t, granted.Placement.AntiAffinity)
				}
			}
			r.carriedOver()
			assert.Empty(t, r.settled().Actions)
			r.nothingLeaked()
			if d := w.Domains[0]; !d.Running { // one more form of the document
				report, err := r.m.Reconcile(ctx, ReconcileOptions{Repair: true})
				require.NoError(t, err)
				assert.Empty(t, report.Actions)
			}
			r.worksOn()
		})
	}
}

// TestUpgradeOfInterrupted: an operation that was interrupted under an earlier version is
// finished or undone by Reconcile, wherever it was.
func TestUpgradeOfInterrupted(t *testing.T) {
	for _, w := range formerWorlds(t, "*-interrupted.json") {
		t.Run(w.Board+" "+w.Name, func(t *testing.T) {
			r := w.rig(t)
			r.settledButRestore()
			r.carriedOver()
			r.nothingLeaked()
			vm, err := r.m.Status(t.Context(), "vm")
			reached := StateAbsent
			if err == nil {
				reached = vm.State
			} else {
				require.ErrorIs(t, err, ErrNotFound)
			}
			present := func() bool { return !slices.ContainsFunc(vm.VGPUs, func(g VGPU) bool { return !g.Present }) }
			switch op := strings.Fields(strings.ReplaceAll(w.Name, ",", " "))[0]; op {
			case opProvision:
				_, defined := w.copies(t)["vm"]
				assert.Equal(t, map[bool]State{false: StateAbsent, true: StateOff}[defined], reached)
				if defined && vm.Lifetime == Reserved {
					assert.True(t, present())
				}
			case opStart:
				switch {
				case w.running("vm"):
					assert.Equal(t, StateRunning, reached)
					assert.True(t, present())
				case strings.Contains(w.Name, "reboot"):
					assert.Equal(t, StateIncomplete, reached)
				default:
					assert.Equal(t, StateOff, reached)
				}
			case opStop:
				assert.Equal(t, StateOff, reached)
				assert.Equal(t, vm.Lifetime == Reserved, present())
			case opTeardown:
				assert.Equal(t, StateAbsent, reached)
			default:
				require.Fail(t, "no such operation", op)
			}
			r.worksOn()
		})
	}
}

// TestUpgradeThenRepeat: the operation that was interrupted may be asked for again at once.
func TestUpgradeThenRepeat(t *testing.T) {
	ctx := t.Context()
	for _, w := range formerWorlds(t, "*-interrupted.json") {
		t.Run(w.Board+" "+w.Name, func(t *testing.T) {
			r := w.rig(t)
			state := StateAbsent
			var err error
			switch op := strings.Fields(strings.ReplaceAll(w.Name, ",", " "))[0]; op {
			case opProvision:
				req := request("vm", w.Type, 2)
				if !strings.Contains(w.Name, "UUID") {
					req.Domain = withoutUUID(req.Domain)
				}
				if strings.Contains(w.Name, "while running") {
					req.Lifetime = WhileRunning
				}
				_, err = r.m.Provision(ctx, req)
				state = StateOff
			case opStart:
				_, err = r.m.Start(ctx, "vm", StartOptions{})
				state = StateRunning
			case opStop:
				_, err = r.m.Stop(ctx, "vm", quickStop)
				state = StateOff
			case opTeardown:
				if err = r.m.Teardown(ctx, "vm", TeardownOptions{Stop: quickStop}); err != nil {
					require.ErrorIs(t, err, ErrNotFound) // it was finished at the begin
					err = nil
				}
			}
			require.NoError(t, err)
			r.carriedOver()
			assert.Empty(t, r.settled().Actions)
			r.nothingLeaked()
			if vm, err := r.m.Status(ctx, "vm"); state != StateAbsent {
				require.NoError(t, err)
				assert.Equal(t, state, vm.State)
			} else {
				require.ErrorIs(t, err, ErrNotFound)
			}
			r.worksOn()
		})
	}
}

// TestKilledUpgrade: a process that is killed while it carries over what an earlier version
// wrote, and finishes what that began, leaves all of it to the next, which comes to the same.
func TestKilledUpgrade(t *testing.T) {
	interruptedUpgrade(t, reconcile, dieBefore, dieAfter)
}

// TestFailingUpgrade: what cannot be written while it is carried over is carried over later.
func TestFailingUpgrade(t *testing.T) {
	interruptedUpgrade(t, func(ctx context.Context, m *Manager, _ string) error {
		_, _ = m.List(ctx)
		return nil
	}, fail, failAfter)
}

// interruptedUpgrade checks that each world settles as it does by itself when the first that
// comes to it meets a fate at one of its changes.
func interruptedUpgrade(t *testing.T, do func(context.Context, *Manager, string) error, fates ...fate) {
	t.Helper()
	rng := rand.New(rand.NewPCG(seeded(t), 0))
	tried := 0
	for _, w := range formerWorlds(t, "*.json") {
		t.Run(w.Board+" "+w.Name, func(t *testing.T) {
			count := w.rig(t)
			whole := count.launch(nil)
			err, _ := whole.run(func(ctx context.Context, m *Manager) error { return do(ctx, m, w.Type) })
			require.NoError(t, err)
			count.settledButRestore()
			want := count.picture()
			var changes []int
			for n := range whole.changes {
				changes = append(changes, n+1)
			}
			for _, n := range drawn(rng, 1, changes) {
				for _, f := range fates {
					r := w.rig(t)
					p := r.launch(func(a access) fate {
						if a.change == n {
							return f
						}
						return live
					})
					_, dead := p.run(func(ctx context.Context, m *Manager) error { return do(ctx, m, w.Type) })
					require.Equal(t, f == dieBefore || f == dieAfter, dead)
					r.settledButRestore()
					r.carriedOver()
					require.Equal(t, want, r.picture(), "%s at %+v", f, p.last)
					tried++
				}
			}
		})
	}
	t.Log(tried, "times")
}

// TestUpgradeByMany: many programs may start at once.
func TestUpgradeByMany(t *testing.T) {
	for _, w := range slices.Concat(formerWorlds(t, "l40s.json"), formerWorlds(t, "l40s-interrupted.json")[:4]) {
		t.Run(w.Name, func(t *testing.T) {
			one := w.rig(t)
			one.settledButRestore()
			r := w.rig(t)
			for _, err := range r.together(8, func(_ int, m *Manager) error {
				_, err := m.List(t.Context())
				return err
			}) {
				require.NoError(t, err)
			}
			r.carriedOver()
			r.settledButRestore()
			r.nothingLeaked()
			assert.Equal(t, one.picture(), r.picture())
		})
	}
}
