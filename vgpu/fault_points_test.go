package vgpu

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/vgpukit/vgpukit/domain"
	"github.com/vgpukit/vgpukit/mdev"
)

// everyBoard is a board of each framework, with one physical GPU.
var everyBoard = []struct{ board, typ string }{
	{"mtty", "mtty-1"},
	{"a40,vfs=3", "NVIDIA A40-4Q"},
	{"l40s,vfs=3", "NVIDIA L40S-4Q"},
}

// journey is an operation and the world that it begins in.
type journey struct {
	name  string
	setup func(*rig, string)
	do    func(context.Context, *Manager, string) error
}

func provision(n int, life Lifetime) func(context.Context, *Manager, string) error {
	return func(ctx context.Context, m *Manager, typ string) error {
		req := request("vm", typ, n)
		req.Lifetime = life
		_, err := m.Provision(ctx, req)
		return err
	}
}

// provisioned is a world with the VM in it; started, with the VM running.
func provisioned(n int, life Lifetime) func(*rig, string) {
	return func(r *rig, typ string) { require.NoError(r.t, provision(n, life)(context.Background(), r.m, typ)) }
}

func started(n int, life Lifetime) func(*rig, string) {
	return func(r *rig, typ string) {
		provisioned(n, life)(r, typ)
		_, err := r.m.Start(context.Background(), "vm", StartOptions{})
		require.NoError(r.t, err)
	}
}

func start(ctx context.Context, m *Manager, _ string) error {
	_, err := m.Start(ctx, "vm", StartOptions{})
	return err
}

func stop(ctx context.Context, m *Manager, _ string) error {
	_, err := m.Stop(ctx, "vm", quickStop)
	return err
}

func teardown(ctx context.Context, m *Manager, _ string) error {
	return m.Teardown(ctx, "vm", TeardownOptions{Stop: quickStop})
}

func reconcile(ctx context.Context, m *Manager, _ string) error {
	return reconciled(m.Reconcile(ctx, ReconcileOptions{Now: true}))
}

// reconciled is nil if all is well.
func reconciled(report Report, err error) error {
	for _, a := range report.Actions {
		switch {
		case err != nil:
		case a.Error != nil:
			err = a.Error
		case a.Kind == ReportForeign: // whose it is could not be seen
			err = errors.New(a.Reason)
		}
	}
	return err
}

// died is a world in which a process died of an operation, at its last change but
// some.
func died(setup func(*rig, string), do func(context.Context, *Manager, string) error, but int) func(*rig, string) {
	return func(r *rig, typ string) {
		count := newRig(r.t, r.board)
		stranger(count, typ)
		setup(count, typ)
		whole := count.launch(nil)
		err, _ := whole.run(func(ctx context.Context, m *Manager) error { return do(ctx, m, typ) })
		require.NoError(r.t, err)
		setup(r, typ)
		p := r.launch(func(a access) fate {
			if a.change == whole.changes-but {
				return dieBefore
			}
			return live
		})
		_, dead := p.run(func(ctx context.Context, m *Manager) error { return do(ctx, m, typ) })
		require.True(r.t, dead)
	}
}

var journeys = []journey{
	{"provision two", func(*rig, string) {}, provision(2, Reserved)},
	{"provision two while running", func(*rig, string) {}, provision(2, WhileRunning)},
	{"start", provisioned(2, Reserved), start},
	{"start while running", provisioned(2, WhileRunning), start},
	{"start after a reboot", func(r *rig, typ string) { provisioned(2, Reserved)(r, typ); r.reboot(typ) }, start},
	{"start elsewhere", func(r *rig, typ string) {
		provisioned(1, WhileRunning)(r, typ)
		_, err := r.m.Provision(context.Background(), request("other", typ, 1))
		require.NoError(r.t, err)
	}, start},
	{"stop", started(2, Reserved), stop},
	{"stop while running", started(2, WhileRunning), stop},
	{"teardown of one that is off", provisioned(2, Reserved), teardown},
	{"teardown of one that runs", started(2, WhileRunning), teardown},
	{"teardown of one that was undefined", func(r *rig, typ string) {
		provisioned(2, Reserved)(r, typ)
		require.NoError(r.t, r.hyper.Undefine(context.Background(), "vm", domain.UndefineOptions{}))
	}, teardown},
	{"reconcile a dead provision", died(func(*rig, string) {}, provision(2, Reserved), 3), reconcile},
	{"reconcile a dead provision, defined", died(func(*rig, string) {}, provision(2, Reserved), 0), reconcile},
	{"reconcile a dead start", died(provisioned(2, WhileRunning), start, 2), reconcile},
	{"reconcile a dead stop", died(started(2, WhileRunning), stop, 1), reconcile},
	{"reconcile a dead teardown", died(started(2, Reserved), teardown, 3), reconcile},
	{"reconcile a VM that crashed", func(r *rig, typ string) {
		started(2, WhileRunning)(r, typ)
		require.NoError(r.t, r.hyper.Crash(context.Background(), "vm"))
	}, reconcile},
	{"reconcile an undefined VM", func(r *rig, typ string) {
		provisioned(2, Reserved)(r, typ)
		require.NoError(r.t, r.hyper.Undefine(context.Background(), "vm", domain.UndefineOptions{}))
	}, reconcile},
	{"reconcile lost owners", func(r *rig, typ string) {
		provisioned(2, Reserved)(r, typ)
		if strings.HasPrefix(r.board, "l40s") { // only the VM that holds a virtual function can say so
			_, err := r.m.Start(context.Background(), "vm", StartOptions{})
			require.NoError(r.t, err)
		}
		r.loseOwners()
	}, reconcile},
	{"repair", func(r *rig, typ string) {
		provisioned(2, Reserved)(r, typ)
		require.NoError(r.t, r.hyper.SetMetadata(context.Background(), "vm", "", domain.ScopeSaved))
	}, func(ctx context.Context, m *Manager, _ string) error {
		return reconciled(m.Reconcile(ctx, ReconcileOptions{Repair: true}))
	}},
	{"adopt after the loss of the state", func(r *rig, typ string) {
		provisioned(2, Reserved)(r, typ)
		r.loseState()
	}, func(ctx context.Context, m *Manager, _ string) error {
		_, err := m.Adopt(ctx, "vm", AdoptOptions{})
		return err
	}},
	{"adopt a clone afresh", func(r *rig, typ string) {
		provisioned(1, Reserved)(r, typ)
		r.clone("vm", "clone")
	}, func(ctx context.Context, m *Manager, _ string) error {
		_, err := m.Adopt(ctx, "clone", AdoptOptions{Fresh: true})
		return err
	}},
	{"forget", provisioned(2, Reserved), func(ctx context.Context, m *Manager, _ string) error { return m.Forget(ctx, "vm") }},
	{"update puts back", func(r *rig, typ string) { provisioned(2, Reserved)(r, typ); r.removeHostdev("vm", 1) }, func(ctx context.Context, m *Manager, _ string) error {
		_, err := m.Update(ctx, "vm", UpdateOptions{})
		return err
	}},
	{"update gives up", func(r *rig, typ string) { provisioned(2, Reserved)(r, typ); r.removeHostdev("vm", 1) }, func(ctx context.Context, m *Manager, _ string) error {
		_, err := m.Update(ctx, "vm", UpdateOptions{GiveUp: true})
		return err
	}},
	{"provision beside what refuses", func(r *rig, typ string) { r.sickenFirst() }, provision(1, Reserved)},
	{"start beside what refuses", func(r *rig, typ string) {
		provisioned(1, WhileRunning)(r, typ)
		r.sickenFirst()
	}, start},
	{"restore", func(r *rig, typ string) { provisioned(2, Reserved)(r, typ); r.reboot(typ) }, func(ctx context.Context, m *Manager, _ string) error {
		return reconciled(m.Reconcile(ctx, ReconcileOptions{Restore: true}))
	}},
}

// stranger makes a vGPU and a domain that are not ours.
func stranger(r *rig, typ string) {
	req := mdev.CreateRequest{Type: typ}
	if !strings.HasPrefix(r.board, "l40s") { // there a vGPU has no UUID
		req.UUID = deviceUUID(documentUUID("theirs"), 0)
	}
	_, err := r.host.Create(context.Background(), req)
	require.NoError(r.t, err)
	if _, err := r.hyper.Info(context.Background(), "theirs"); err != nil {
		_, err := r.hyper.Define(context.Background(), string(document("theirs")))
		require.NoError(r.t, err)
	}
}

// reboot reboots the host; its stranger makes his vGPU again.
func (r *rig) reboot(typ string) {
	r.sim.Reboot()
	stranger(r, typ)
}

// drawn returns at which of these accesses to try: at some that are drawn, or at all
// if VGPUKIT_POINTS is "all".
func drawn(rng *rand.Rand, some int, accesses []int) []int {
	if os.Getenv("VGPUKIT_POINTS") == "all" || len(accesses) <= some {
		return accesses
	}
	var few []int
	for _, i := range rng.Perm(len(accesses))[:some] {
		few = append(few, accesses[i])
	}
	return few
}

// TestEveryAccess: at each access of each operation to host, hypervisor and state
// directory the process is killed, before and after its effect, or the access
// fails, alone or with all changes that follow, undoing included. Then one
// Reconcile brings the world to what it was before or to what was asked for, a
// second one finds nothing to do, and no stranger is touched.
//
// VGPUKIT_POINTS=all tries each access; else each way to fail is tried at some of
// each operation on each board, and VGPUKIT_SEED repeats which.
func TestEveryAccess(t *testing.T) {
	seed := seeded(t)
	var points atomic.Int64
	t.Cleanup(func() { t.Logf("%d points in all", points.Load()) })
	for _, b := range everyBoard {
		for i, j := range journeys {
			t.Run(b.board+" "+j.name, func(t *testing.T) {
				t.Parallel() // most of it waits
				rng := rand.New(rand.NewPCG(seed, uint64(i)))
				n := j.everyAccess(t, rng, b.board, b.typ)
				points.Add(int64(n))
				t.Logf("%d points", n)
			})
		}
	}
}

func (j journey) everyAccess(t *testing.T, rng *rand.Rand, board, typ string) (points int) {
	world := func() *rig {
		r := newRig(t, board)
		stranger(r, typ)
		j.setup(r, typ)
		return r
	}
	r := world()
	before := r.picture()
	var accesses, changes, answers []int // the accesses, the changes among them, and those whose answer can get lost
	whole := r.launch(func(a access) fate {
		accesses = append(accesses, a.n)
		if a.change != 0 {
			changes = append(changes, a.change)
		}
		if a.answers {
			answers = append(answers, a.change)
		}
		return live
	})
	err, _ := whole.run(func(ctx context.Context, m *Manager) error { return j.do(ctx, m, typ) })
	require.NoError(t, err)
	after := r.picture()

	try := func(what string, decide func(access) fate) {
		points++
		begin := time.Now()
		defer func() {
			if took := time.Since(begin); took > time.Second {
				t.Logf("%s took %s", what, took)
			}
		}()
		r := world()
		p := r.launch(decide)
		err, dead := p.run(func(ctx context.Context, m *Manager) error { return j.do(ctx, m, typ) })
		at := fmt.Sprintf("%s, at access %d of %d: %s; it said: %v", what, p.last.n, whole.accesses, p.last.what, err)
		if err == nil && !dead {
			require.Equal(t, after, r.picture(), "it said that it was done: %s", at)
		}
		healer := r.launch(nil)
		report, err := healer.m.Reconcile(context.Background(), ReconcileOptions{Now: true})
		require.NoError(t, err, at)
		now := r.picture()
		if now != before && now != after {
			require.Failf(t, "neither as before nor done", "%s\nreport: %+v\nto before: %s\nto after: %s", at, report.Actions, difference(before, now), difference(after, now))
		}
		again, err := healer.m.Reconcile(context.Background(), ReconcileOptions{Now: true})
		require.NoError(t, err, at)
		for _, a := range again.Actions {
			require.False(t, a.Done, "the second time there is nothing to do: %s: %+v", at, a)
		}
		require.Equal(t, now, r.picture(), "the second time changes nothing: %s", at)
		left, err := filepath.Glob(filepath.Join(r.dir, "*", ".*"))
		require.NoError(t, err)
		require.Empty(t, left, at)
	}
	const some = 2
	for _, k := range drawn(rng, some, accesses) {
		try("fails", func(a access) fate { return when(a.n == k, fail) })
	}
	for _, k := range drawn(rng, some, changes) {
		try("dies before", func(a access) fate { return when(a.change == k, dieBefore) })
	}
	for _, k := range drawn(rng, some, changes) {
		try("dies after", func(a access) fate { return when(a.change == k, dieAfter) })
	}
	for _, k := range drawn(rng, some, answers) {
		try("answer lost", func(a access) fate { return when(a.change == k, failAfter) })
	}
	for _, k := range drawn(rng, some, changes) {
		try("all changes fail from", func(a access) fate { return when(a.change >= k, fail) })
	}
	return points
}

// difference has the lines that one of two pictures lacks.
func difference(a, b string) (d string) {
	has := func(text string) map[string]bool {
		lines := map[string]bool{}
		for line := range strings.Lines(text) {
			lines[line] = true
		}
		return lines
	}
	inA, inB := has(a), has(b)
	for line := range strings.Lines(a) {
		if !inB[line] {
			d += "- " + line
		}
	}
	for line := range strings.Lines(b) {
		if !inA[line] {
			d += "+ " + line
		}
	}
	return d
}

func when(yes bool, f fate) fate {
	if yes {
		return f
	}
	return live
}
