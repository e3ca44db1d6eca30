package vgpu

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/vgpukit/vgpukit/vgpu/vgputest"
)

// boards of the small hosts that operations are tried on, with types that fit
// together.
var smallHosts = []struct {
	boards []string
	types  []string
}{
	{[]string{"mtty"}, []string{"mtty-1", "mtty-2"}},
	{[]string{"tesla-m60"}, []string{"GRID M60-4Q", "GRID M60-8Q"}},
	{[]string{"mbochs"}, []string{"mbochs-small", "mbochs-large"}},
	{[]string{"a40,vfs=2"}, []string{"NVIDIA A40-24Q", "NVIDIA A40-48Q"}},
	{[]string{"l40s,vfs=4"}, []string{"NVIDIA L40S-12Q", "NVIDIA L40S-24Q"}},
	{[]string{"l40s,vfs=3"}, []string{"NVIDIA L40S-16Q", "NVIDIA L40S-24Q"}},
	{[]string{"mdpy", "l40s,vfs=3"}, []string{"mdpy-xga", "NVIDIA L40S-16Q"}},
}

// names of the VMs; the last is a stranger's from the beginning.
var vmNames = []string{"a", "b", "c", "d", "theirs"}

// hostModel makes up what is done to a model's machines.
type hostModel struct {
	model
	rng   *rand.Rand
	types []string
	texts map[string]string // documents that somebody kept
	old   string            // a copy of the first state directory; empty: none was made
	olds  int               // the machine whose that was
}

// TestRandomOperations: whatever is done in whatever order, by the Managers of two libvirts
// and of another machine, by hand and by strangers, to documents and to state directories, with
// faults and crashes anywhere: each operation touches only what was granted to its VM; after
// one Reconcile nothing has leaked, no vGPU has two VMs, no GPU holds more than it can, and a
// second Reconcile changes nothing; and each way out that is told works.
//
// VGPUKIT_OPERATIONS says how many operations to do, on each kind of host in turn, VGPUKIT_FROM
// how many to leave out before; VGPUKIT_SEED repeats a run.
func TestRandomOperations(t *testing.T) {
	operations, from, seed := number(t, "VGPUKIT_OPERATIONS", 700), number(t, "VGPUKIT_FROM", 0), seeded(t) // two runs on each kind of host
	const each = 50                                                                                         // operations on one host
	begin := time.Now()
	for n := from / each; n*each < operations; n++ {
		t.Run(strconv.Itoa(n), func(t *testing.T) {
			t.Parallel()
			newHostModel(t, seed, uint64(n)).play(min(each, operations-n*each))
		})
	}
	t.Cleanup(func() { t.Logf("%d operations, %s", operations-from, time.Since(begin).Round(time.Second)) })
}

// number is a number from the environment.
func number(t *testing.T, name string, value int) int {
	if text := os.Getenv(name); text != "" {
		_, err := fmt.Sscan(text, &value)
		require.NoError(t, err, name)
	}
	t.Logf("%s=%d", name, value)
	return value
}

// seeded is VGPUKIT_SEED, or new; either way it is told.
func seeded(t *testing.T) (seed uint64) {
	seed = rand.Uint64()
	if text := os.Getenv("VGPUKIT_SEED"); text != "" {
		_, err := fmt.Sscan(text, &seed)
		require.NoError(t, err, "VGPUKIT_SEED")
	}
	t.Logf("VGPUKIT_SEED=%d", seed)
	return seed
}

func newHostModel(t *testing.T, seed, n uint64) *hostModel {
	host := smallHosts[n%uint64(len(smallHosts))]
	m := newHostModelOn(t, rand.New(rand.NewPCG(seed, n)), host.boards, host.types)
	session := vgputest.New(m.sites[0].sim)
	session.SetURI("qemu:///session")
	m.addSite("session", 0, m.sites[0].beside(session, m.sites[0].dir), m.sites[0].shelf)
	there := newRig(t, host.boards...)
	m.addSite("there", 1, there, &shelf{path: there.dir, machine: nobody, held: map[uuid.UUID]grant{}})
	m.addSite("there, on here's state", 1, there.beside(there.hyper, m.sites[0].dir), m.sites[0].shelf)
	return m
}

// newHostModelOn has one machine, with one libvirt.
func newHostModelOn(t *testing.T, rng *rand.Rand, boards, types []string) *hostModel {
	m := &hostModel{model: model{t: t}, rng: rng, types: types, texts: map[string]string{}}
	r := newRig(t, boards...)
	m.addSite("here", 0, r, &shelf{path: r.dir, machine: nobody, held: map[uuid.UUID]grant{}})
	_, err := r.hyper.Define(context.Background(), string(document("theirs")))
	require.NoError(t, err)
	return m
}

func (m *hostModel) play(operations int) {
	for range operations {
		m.turn()
	}
}

func (m *hostModel) one(of []string) string { return of[m.rng.IntN(len(of))] }
func (m *hostModel) chance(p float64) bool  { return m.rng.Float64() < p }

// site is where something is done: most of it at the first.
func (m *hostModel) site() *site {
	if m.chance(0.7) {
		return m.sites[0]
	}
	return m.sites[m.rng.IntN(len(m.sites))]
}

// name is a VM's that something is done to: most of the time one that there is.
func (m *hostModel) name(s *site) string {
	infos, err := s.hyper.Virsh().Domains(context.Background())
	require.NoError(m.t, err)
	if len(infos) < 2 || m.chance(0.3) {
		return m.one(vmNames)
	}
	return infos[m.rng.IntN(len(infos))].Name
}

// turn does one thing, and checks the world.
func (m *hostModel) turn() {
	s := m.site()
	name := m.name(s)
	switch {
	case m.chance(0.4):
		m.byHand(s, name)
	case m.chance(0.03):
		m.takeOver(s, nil)
	default:
		if v := m.operation(s, name); v.reached == nil {
			m.call(s, v, m.fault())
		} else {
			m.try(s, v, m.fault())
		}
	}
	switch {
	case m.chance(0.2):
		m.wayOut(s, name)
		m.settle()
	case m.chance(0.2):
		m.settle()
	}
}

// fault makes up what goes wrong in the next operation, if anything.
func (m *hostModel) fault() func(access) fate {
	if m.chance(0.4) {
		return nil
	}
	f := fate(1 + m.rng.IntN(4))
	forever := f == fail && m.chance(0.3)
	changes := f != fail || forever || m.chance(0.5)
	at := 1 + m.rng.IntN(200)
	if changes {
		at = 1 + m.rng.IntN(20)
	}
	again := m.chance(0.2) // a second fault, most likely in the undoing
	return func(a access) fate {
		n := a.n
		if changes {
			n = a.change
		}
		switch {
		case f == failAfter && !a.answers:
			return live
		case n == at, n != 0 && n > at && forever, again && n == at+3:
			return f
		}
		return live
	}
}

// operation makes up a call of a Manager.
func (m *hostModel) operation(s *site, name string) verb {
	opts := StopOptions{SkipGuest: true, TerminateTimeout: time.Millisecond, Force: m.chance(0.5)}
	if m.chance(0.3) {
		opts.SkipGuest, opts.GuestTimeout = false, time.Millisecond
	}
	called := name
	if info, err := s.hyper.Virsh().Info(context.Background(), name); err == nil && m.chance(0.2) {
		called = info.UUID.String()
	}
	switch m.rng.IntN(14) {
	case 0, 1, 2:
		life := Reserved
		if m.chance(0.5) {
			life = WhileRunning
		}
		return provisionVerb(m.document(s, name), m.one(m.types), 1+m.rng.IntN(2), life)
	case 3, 4:
		return startVerb(called)
	case 5:
		return stopVerb(called, opts)
	case 6, 7:
		return teardownVerb(called, opts)
	case 8:
		return adoptVerb(called, AdoptOptions{Fresh: m.chance(0.5), DryRun: m.chance(0.1)})
	case 9:
		if m.chance(0.3) {
			return adoptAllVerb(AdoptOptions{Fresh: m.chance(0.2), DryRun: m.chance(0.2)})
		}
		return forgetVerb(called)
	case 10:
		return updateVerb(called, UpdateOptions{GiveUp: m.chance(0.5)})
	}
	rec := ReconcileOptions{DryRun: m.chance(0.1), Restore: m.chance(0.5), Repair: m.chance(0.3), Now: m.chance(0.3)}
	return verb{op: opReconcile, what: fmt.Sprintf("reconcile %+v", rec), dry: rec.DryRun, do: func(ctx context.Context, m *Manager) error {
		_, err := m.Reconcile(ctx, rec)
		return err
	}}
}

// document is a VM's: with the UUID of its name, with another one at another libvirt, or
// without; and with a disk, so that snapshots can be made.
func (m *hostModel) document(s *site, name string) string {
	text := strings.Replace(document(name), "<graphics", "<disk type='file' device='disk'><source file='/d'/><target dev='vda'/></disk><graphics", 1)
	switch {
	case m.chance(0.1):
		return withoutUUID(text)
	case s.hyper != m.sites[0].hyper && m.chance(0.7), m.chance(0.05):
		return strings.Replace(text, documentUUID(name).String(), documentUUID(name+s.name).String(), 1)
	}
	return text
}
