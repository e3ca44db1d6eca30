//go:build integration && linux && amd64

package integration

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/vgpukit/vgpukit/domain"
	"github.com/vgpukit/vgpukit/domain/virt"
	"github.com/vgpukit/vgpukit/mdev"
	"github.com/vgpukit/vgpukit/vgpu"
)

// The environment of a child that does one operation and may be killed at it.
const (
	killedOperation = "VGPUKIT_KILLED_OPERATION"
	killedState     = "VGPUKIT_KILLED_STATE"
	killedBoard     = "VGPUKIT_KILLED_BOARD"
	killedTraced    = "VGPUKIT_KILLED_TRACED" // somebody waits to be told of its writes
)

// noCapacityStatus is a child's exit status when there was no capacity.
const noCapacityStatus = 3

// operations are what a child can do.
var operations = map[string]func(context.Context, *vgpu.Manager, board) error{
	"provision": func(ctx context.Context, m *vgpu.Manager, b board) error {
		_, err := m.Provision(ctx, b.victim(vgpu.Reserved))
		return err
	},
	"provision a": provisionOne("a"),
	"provision b": provisionOne("b"),
	"provision c": provisionOne("c"),
	"start": func(ctx context.Context, m *vgpu.Manager, _ board) error {
		_, err := m.Start(ctx, victim, vgpu.StartOptions{})
		return err
	},
	"stop": func(ctx context.Context, m *vgpu.Manager, _ board) error {
		_, err := m.Stop(ctx, victim, powerOff)
		return err
	},
	"teardown": func(ctx context.Context, m *vgpu.Manager, _ board) error {
		return m.Teardown(ctx, victim, vgpu.TeardownOptions{Stop: powerOff})
	},
	"reconcile": func(ctx context.Context, m *vgpu.Manager, _ board) error {
		_, err := m.Reconcile(ctx, vgpu.ReconcileOptions{Now: true})
		return err
	},
}

// provisionOne provisions a VM with a single vGPU.
func provisionOne(name string) func(context.Context, *vgpu.Manager, board) error {
	return func(ctx context.Context, m *vgpu.Manager, b board) error {
		_, err := m.Provision(ctx, b.single("vgpukit-test-"+name, vgpu.Reserved))
		return err
	}
}

// init lets the test program play the child.
func init() {
	name := os.Getenv(killedOperation)
	if name == "" {
		return
	}
	if err := child(operations[name], boardNamed(os.Getenv(killedBoard))); err != nil {
		fmt.Println(name+":", err)
		if errors.Is(err, vgpu.ErrNoCapacity) {
			os.Exit(noCapacityStatus)
		}
		os.Exit(1)
	}
	os.Exit(0)
}

// childTime is how long a child may take: many of them share the lab's processors.
const childTime = 5 * time.Minute

func child(do func(context.Context, *vgpu.Manager, board) error, b board) error {
	ctx, cancel := context.WithTimeout(context.Background(), childTime)
	defer cancel()
	host, err := mdev.Open(mdev.Config{})
	if err != nil {
		return err
	}
	conn, err := virt.Open(ctx, virt.Config{URI: "qemu:///system"})
	if err != nil {
		return err
	}
	if os.Getenv(killedTraced) != "" {
		if err := haltAtWrites(); err != nil {
			return err
		}
	}
	m, err := vgpu.New(vgpu.Config{Host: host, Hypervisor: conn, StateDir: os.Getenv(killedState), Timeouts: vgpu.Timeouts{Lock: childTime, Call: childTime, Start: childTime}})
	if err != nil {
		return err
	}
	return do(ctx, m, b)
}

// ward is the world that an operation is killed in.
type ward struct {
	*rig
	board         board
	t             *testing.T
	log           *os.File // what the children say
	before, after string   // the host, before the operation and when it was done
	made          int      // the write of a Provision after the one that makes its last vGPU
}

// env makes a child of the test program do an operation.
func (w *ward) env(operation string) []string {
	return []string{killedOperation + "=" + operation, killedState + "=" + w.dir, killedBoard + "=" + w.board.name}
}

// spawn lets a child do an operation, and kills it at its n-th write; with n = 0
// it is let live and must succeed. It tells what it wrote.
func (w *ward) spawn(operation string, n int) (writes []string, killed bool) {
	w.t.Helper()
	writes, killed, status := trace(w.t, n, w.log, append(w.env(operation), killedTraced+"=1")...)
	if !killed {
		said, _ := os.ReadFile(w.log.Name())
		require.Zero(w.t, status, "%s: %s", operation, said)
	}
	return writes, killed
}

// clear takes the victim away, whatever it is at.
func (w *ward) clear() {
	if _, err := w.conn.Info(w.t.Context(), victim); err == nil {
		require.NoError(w.t, w.m.Teardown(within(w.t, time.Minute), victim, vgpu.TeardownOptions{Stop: powerOff}))
	}
	_, err := w.m.Reconcile(within(w.t, time.Minute), vgpu.ReconcileOptions{Now: true})
	require.NoError(w.t, err)
}

func (w *ward) provision(life vgpu.Lifetime) {
	if _, err := w.m.Status(w.t.Context(), victim); err == nil {
		return
	}
	_, err := w.m.Provision(within(w.t, time.Minute), w.board.victim(life))
	require.NoError(w.t, err)
}

func (w *ward) off() {
	w.provision(vgpu.WhileRunning)
	_, err := w.m.Stop(within(w.t, time.Minute), victim, powerOff)
	require.NoError(w.t, err)
}

func (w *ward) running() {
	w.provision(vgpu.WhileRunning)
	_, err := w.m.Start(within(w.t, time.Minute), victim, vgpu.StartOptions{})
	require.NoError(w.t, err)
}

// mess is what Reconcile has to do: an interrupted Provision, the vGPU of a VM
// that was undefined by hand, and those of one that was destroyed by hand.
func (w *ward) mess() {
	const undefined, destroyed = "vgpukit-test-undefined", "vgpukit-test-destroyed"
	if w.made == 0 {
		writes, _ := w.spawn("provision", 0)
		for n, what := range writes {
			if w.board.makes(what) {
				w.made = n + 2 // they are counted from 1
			}
		}
		require.NotZero(w.t, w.made, "a Provision makes vGPUs: %q", writes)
		w.clear()
	}
	ctx := within(w.t, time.Minute)
	if _, err := w.m.Status(ctx, destroyed); err != nil {
		_, err := w.m.Provision(ctx, w.board.single(destroyed, vgpu.WhileRunning))
		require.NoError(w.t, err)
	}
	_, err := w.m.Start(ctx, destroyed, vgpu.StartOptions{})
	require.NoError(w.t, err)
	require.NoError(w.t, w.conn.Terminate(ctx, destroyed))
	_, err = w.m.Provision(ctx, w.board.single(undefined, vgpu.Reserved))
	require.NoError(w.t, err)
	require.NoError(w.t, w.conn.Undefine(ctx, undefined, domain.UndefineOptions{}))
	_, killed := w.spawn("provision", w.made) // before it defines the VM, so that it is undone
	require.True(w.t, killed)
}

// TestKilledAnywhere: a process that provisions, starts, stops, tears down or
// reconciles is killed at each system call that writes, before it takes effect;
// then one Reconcile brings the host to what it was before or to what was asked
// for. A vGPU and a domain of somebody else stay as they are, and on NVIDIA's boards
// the driver cleans up for a while after each VM. By default some of the points are
// tried, from a random one on, on the first board, and of three of the operations one
// on another board; VGPUKIT_KILL=all tries all.
func TestKilledAnywhere(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	all := os.Getenv("VGPUKIT_KILL") == "all"
	total := 0
	cases := []struct {
		operation string
		setup     func(*ward)
		tries     int // by default, on the first board; on another, if it is tried, one
	}{
		{"provision", (*ward).clear, 6},
		{"start", (*ward).off, 3},
		{"stop", (*ward).running, 2},
		{"teardown", func(w *ward) { w.provision(vgpu.Reserved) }, 5},
		{"reconcile", (*ward).mess, 3},
	}
	elsewhere := rng.Perm(len(cases))[:3]
	for n, c := range cases {
		try := func(t *testing.T, b board, tries int) {
			w := newWard(t, b)
			w.clear()
			c.setup(w)
			w.before = w.state(t)
			list, _ := w.spawn(c.operation, 0)
			writes := len(list)
			w.after = w.state(t)
			t.Logf("%s writes %d times:\n%s", c.operation, writes, strings.Join(list, "\n"))
			stride, first := 1, 1
			if !all {
				stride = max(1, writes/tries)
				first += rng.IntN(stride)
			}
			tried, done, begin := 0, 0, time.Now()
			for n := first; n <= writes; n += stride {
				c.setup(w)
				require.Equal(t, w.before, w.settled(w.before), "the world is as it was the first time")
				killed, finished := w.killed(c.operation, n)
				tried, done = tried+killed, done+finished
			}
			t.Logf("%s on %s: killed at %d of %d writes, finished %d and undid %d times, %s",
				c.operation, b.name, tried, writes, done, tried-done, time.Since(begin).Round(time.Second))
			total += tried
		}
		other := 1 + rng.IntN(len(boards)-1)
		for i, b := range boards {
			tries := 1
			switch {
			case i == 0:
				tries = c.tries
			case !all && (i != other || !slices.Contains(elsewhere, n)):
				continue
			}
			t.Run(c.operation+" "+b.name, func(t *testing.T) { try(t, b, tries) })
		}
	}
	t.Logf("%d kill points", total)
}

// newWard makes a world with a vGPU and a domain of a stranger, and takes away
// at the end what is ours.
func newWard(t *testing.T, b board) *ward {
	w := &ward{rig: b.rig(t), board: b, t: t}
	log, err := os.Create(filepath.Join(t.TempDir(), "children"))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, log.Close()) })
	w.log = log
	hostCreate(t, w.host, b.types[0])
	virtDefine(t, w.conn, plain("vgpukit-test-theirs"))
	empty := w.state(t)
	t.Cleanup(func() {
		if t.Failed() {
			return // what there is says why
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		vms, err := w.m.List(ctx)
		require.NoError(t, err)
		for _, vm := range vms {
			require.NoError(t, w.m.Teardown(ctx, vm.Name, vgpu.TeardownOptions{Stop: powerOff}))
		}
		require.Equal(t, empty, w.state(contextless{t}), "nothing is left")
	})
	return w
}

// contextless is for what runs when the test's own context has ended.
type contextless struct{ testing.TB }

func (contextless) Context() context.Context { return context.Background() }

// killed kills an operation at its n-th write, reconciles, and compares the host
// with what it was before and with what was asked for.
func (w *ward) killed(operation string, n int) (tried, finished int) {
	writes, killed := w.spawn(operation, n)
	if !killed {
		return 0, 0 // it did not write as often this time
	}
	at := fmt.Sprintf("%s, killed at write %d: %s", operation, n, writes[n-1])
	report, err := w.m.Reconcile(within(w.t, 2*time.Minute), vgpu.ReconcileOptions{Now: true})
	require.NoError(w.t, err, at)
	now := w.settled(w.before, w.after)
	if now != w.before || operation == "reconcile" {
		require.Equal(w.t, w.after, now, "%s\n%+v", at, report.Actions)
		finished = 1
	}
	again, err := w.m.Reconcile(within(w.t, time.Minute), vgpu.ReconcileOptions{Now: true})
	require.NoError(w.t, err, at)
	require.Empty(w.t, again.Actions, at)
	require.Equal(w.t, now, w.state(w.t), "the second time changes nothing: %s", at)
	return 1, finished
}

// settled returns the host's state as soon as it is one of those: libvirt goes on
// with what a killed process asked of it, and a driver cleans up after a VM.
func (w *ward) settled(states ...string) string {
	deadline := time.Now().Add(20 * time.Second)
	for {
		now := w.state(w.t)
		if slices.Contains(states, now) || time.Now().After(deadline) {
			return now
		}
		time.Sleep(50 * time.Millisecond)
	}
}
