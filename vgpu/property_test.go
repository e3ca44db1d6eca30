package vgpu

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/vgpukit/vgpukit/domain"
	"github.com/vgpukit/vgpukit/mdev"
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

// hostModel is what must be true of a host, whatever is done to it.
type hostModel struct {
	*rig
	rng   *rand.Rand
	types []string
	trail []string // what was done, for the report

	strangers map[string]string // devices of strangers: id to type
	lost      map[string]bool   // VMs of ours whose Reserved vGPUs may be missing
	guests    vgputest.Guest
}

// TestRandomOperations: whatever is done in whatever order, by the Manager, by hand
// and by strangers, with faults and crashes anywhere: after one Reconcile nothing
// has leaked, no vGPU has two VMs, no stranger's device or domain was touched, no
// GPU holds more than it can, other VMs are as they were, and a second Reconcile
// changes nothing.
//
// VGPUKIT_OPERATIONS says how many operations to do, on each kind of host in turn;
// VGPUKIT_SEED repeats a run.
func TestRandomOperations(t *testing.T) {
	operations, seed := 700, seeded(t) // two runs on each kind of host
	if text := os.Getenv("VGPUKIT_OPERATIONS"); text != "" {
		_, err := fmt.Sscan(text, &operations)
		require.NoError(t, err, "VGPUKIT_OPERATIONS")
	}
	t.Logf("VGPUKIT_OPERATIONS=%d", operations)
	const each = 50 // operations on one host
	var told int
	for n := 0; n*each < operations; n++ {
		t.Run(strconv.Itoa(n), func(t *testing.T) {
			t.Parallel()
			newHostModel(t, seed, uint64(n)).play(min(each, operations-n*each))
		})
		told += min(each, operations-n*each)
	}
	t.Cleanup(func() { t.Logf("%d operations", told) })
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
	rng := rand.New(rand.NewPCG(seed, n))
	host := smallHosts[n%uint64(len(smallHosts))]
	return newHostModelOn(t, rng, host.boards, host.types)
}

func newHostModelOn(t *testing.T, rng *rand.Rand, boards, types []string) *hostModel {
	m := &hostModel{rig: newRig(t, boards...), rng: rng, types: types, strangers: map[string]string{}, lost: map[string]bool{}}
	_, err := m.hyper.Define(context.Background(), string(document("theirs")))
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

// turn does one thing, and checks the world.
func (m *hostModel) turn() {
	name := m.one(vmNames)
	if m.chance(0.25) {
		m.byHand(name)
		if m.chance(0.5) {
			m.check()
		}
		return
	}
	what, do, reached := m.operation(name)
	before := m.parts()
	decide := m.fault()
	p := m.launch(decide)
	err, dead := p.run(do)
	m.trail = append(m.trail, fmt.Sprintf("%s -> %v, died: %v, fault at %+v", what, err, dead, p.last))
	if err != nil && !dead {
		var e *Error
		require.True(m.t, errors.As(err, &e) || p.last.n > 0, "an error has a name: %s", m)
		require.False(m.t, p.last.n == 0 && errors.Is(err, ErrUnavailable), "without a fault the host is as required: %v: %s", err, m)
	}
	faulted := p.last.n > 0
	if err == nil && !dead && reached != nil {
		v, err := m.m.Status(context.Background(), name)
		require.True(m.t, reached(v, err), "it said that it was done: %+v %v: %s", v, err, m)
	}
	if faulted {
		m.check()
	}
	if name == "theirs" || faulted {
		name = ""
	}
	m.othersAsBefore(before, name, what)
	if !faulted && m.chance(0.5) {
		m.check()
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

// operation makes up an operation, and what is true when it says that it is done.
func (m *hostModel) operation(name string) (what string, do func(context.Context, *Manager) error, reached func(VM, error) bool) {
	opts := StopOptions{SkipGuest: true, TerminateTimeout: time.Millisecond, Force: m.chance(0.5)}
	if m.chance(0.3) {
		opts.SkipGuest, opts.GuestTimeout = false, time.Millisecond
	}
	is := func(states ...State) func(VM, error) bool {
		return func(v VM, err error) bool { return err == nil && slices.Contains(states, v.State) }
	}
	switch m.rng.IntN(6) {
	case 0, 1:
		req := ProvisionRequest{Domain: document(name), Lifetime: Reserved}
		if m.chance(0.5) {
			req.Lifetime = WhileRunning
		}
		typ := m.one(m.types)
		for range 1 + m.rng.IntN(2) {
			req.VGPUs = append(req.VGPUs, Request{Type: typ})
		}
		return fmt.Sprintf("provision %s %s %d %s", name, typ, len(req.VGPUs), req.Lifetime), func(ctx context.Context, m *Manager) error {
				_, err := m.Provision(ctx, req)
				return err
			}, func(v VM, err error) bool {
				return err == nil && len(v.VGPUs) == len(req.VGPUs) && (v.State == StateOff || v.State == StateRunning || v.State == StateIncomplete && m.lost[name])
			}
	case 2:
		return "start " + name, func(ctx context.Context, m *Manager) error {
			_, err := m.Start(ctx, name, StartOptions{})
			return err
		}, is(StateRunning)
	case 3:
		return fmt.Sprintf("stop %s %+v", name, opts), func(ctx context.Context, m *Manager) error {
				_, err := m.Stop(ctx, name, opts)
				return err
			}, func(v VM, err error) bool {
				return is(StateOff, StateIncomplete, StateAbsent)(v, err) || errors.Is(err, ErrNotFound) // a transient one
			}
	case 4:
		return fmt.Sprintf("teardown %s %+v", name, opts), func(ctx context.Context, m *Manager) error {
			return m.Teardown(ctx, name, TeardownOptions{Stop: opts})
		}, func(_ VM, err error) bool { return errors.Is(err, ErrNotFound) }
	}
	restore := m.chance(0.5)
	return fmt.Sprint("reconcile, restore ", restore), func(ctx context.Context, m *Manager) error {
		_, err := m.Reconcile(ctx, ReconcileOptions{Restore: restore})
		return err
	}, nil
}

// byHand is what people and other programs do.
func (m *hostModel) byHand(name string) {
	ctx := context.Background()
	said := func(what string, err error) { m.trail = append(m.trail, fmt.Sprintf("by hand: %s -> %v", what, err)) }
	switch m.rng.IntN(9) {
	case 0:
		said("kill QEMU of "+name, m.hyper.Crash(ctx, name))
	case 1:
		v, err := m.m.Status(ctx, name)
		if err != nil || slices.ContainsFunc(v.VGPUs, func(g VGPU) bool { return !g.Present }) {
			return // of virtual functions that another VM has, virsh would take them
		}
		said("virsh start "+name, m.hyper.Start(ctx, name))
	case 2:
		said("virsh destroy "+name, m.hyper.Destroy(ctx, name))
	case 3:
		if name != "theirs" {
			said("virsh undefine "+name, m.hyper.Undefine(ctx, name, domain.UndefineOptions{}))
		}
	case 4: // a vGPU of ours is removed
		for _, v := range m.vms() {
			if v.Name == name && v.VGPUs[0].Present {
				m.lost[name] = true
				said("remove "+v.VGPUs[0].ID, m.host.Remove(ctx, v.VGPUs[0].ID))
			}
		}
	case 5, 6: // a stranger makes a vGPU
		made, err := m.host.Create(ctx, mdev.CreateRequest{Type: m.one(m.types)})
		if err == nil {
			m.strangers[made.ID] = made.Type
		}
		for _, v := range m.vms() {
			for _, g := range v.VGPUs {
				// He took the virtual function from which ours was removed by hand, for
				// the same type: nobody can tell it from ours.
				if g.Present && g.ID == made.ID {
					require.True(m.t, m.lost[v.Name], m)
					require.NoError(m.t, m.host.Remove(ctx, made.ID))
					delete(m.strangers, made.ID)
				}
			}
		}
		said("create "+made.ID, err)
	case 7: // a stranger removes one of his
		if ids := slices.Sorted(maps.Keys(m.strangers)); len(ids) > 0 {
			err := m.host.Remove(ctx, ids[0])
			if err == nil {
				delete(m.strangers, ids[0])
			}
			said("remove "+ids[0], err)
		}
	case 8:
		m.guests = vgputest.Guest{Deaf: m.chance(0.3), IgnoresSIGTERM: m.chance(0.2)}
		m.hyper.SetGuest("", m.guests)
		if m.chance(0.4) {
			m.sim.Reboot()
			clear(m.strangers)
			for _, name := range vmNames {
				m.lost[name] = true
			}
			said("reboot", nil)
		}
	}
}

func (m *hostModel) vms() []VM {
	vms, err := m.m.List(context.Background())
	require.NoError(m.t, err, m)
	return vms
}

// parts is the world by VM: its document, state and vGPUs.
func (m *hostModel) parts() map[string]string {
	parts := map[string]string{}
	infos, err := m.hyper.Domains(context.Background())
	require.NoError(m.t, err)
	for _, info := range infos {
		xml, err := m.xml(info.Name)
		require.NoError(m.t, err)
		parts[info.Name] = fmt.Sprintln(info.State, xml)
	}
	for _, v := range m.vms() {
		parts[v.Name] += fmt.Sprintf("%s %+v", v.State, v.VGPUs)
	}
	return parts
}

// othersAsBefore checks that an operation on one VM changed no other. Reconcile
// works on all, so that only strangers are compared then.
func (m *hostModel) othersAsBefore(before map[string]string, name, what string) {
	now := m.parts()
	for other, was := range before {
		if other == "theirs" || name != "" && other != name && !strings.HasPrefix(what, "reconcile") && !m.lost[other] {
			require.Equal(m.t, was, now[other], "VM %s was touched: %s", other, m)
		}
	}
}

func (m *hostModel) String() string {
	return fmt.Sprintf("%s\n%s\n%s", m.board, strings.Join(m.trail, "\n"), m.world())
}

// check reconciles and compares the world with what must be true of it.
func (m *hostModel) check() {
	ctx := context.Background()
	healer := m.launch(nil)
	healer.m.timeouts.Release = 50 * time.Millisecond
	m.hyper.SetGuest("", vgputest.Guest{}) // an interrupted stop is to be finished
	report, err := healer.m.Reconcile(ctx, ReconcileOptions{Now: true})
	require.NoError(m.t, err, m)
	m.trail = append(m.trail, fmt.Sprintf("  reconciled: %+v", report.Actions))
	now := m.picture()
	again, err := healer.m.Reconcile(ctx, ReconcileOptions{Now: true})
	require.NoError(m.t, err, m)
	for _, a := range again.Actions {
		require.False(m.t, a.Done, "the second time there is nothing to do: %+v: %s", a, m)
	}
	require.Equal(m.t, now, m.picture(), "the second time changes nothing: %s", m)
	m.hyper.SetGuest("", m.guests)

	inv, err := m.host.Inventory(ctx)
	require.NoError(m.t, err)
	devices := map[string]mdev.Device{}
	for _, gpu := range inv.GPUs {
		size := map[string]int{}
		for _, c := range gpu.Capacity {
			require.GreaterOrEqual(m.t, c.Available, 0, "capacity of %s: %s", gpu.Name, m)
			size[c.Type] = c.Max
		}
		share := 0.0
		for _, p := range gpu.Parents {
			for _, d := range p.Devices {
				devices[d.ID] = d
				if size[d.Type] > 0 {
					share += 1 / float64(size[d.Type])
				}
			}
		}
		require.LessOrEqual(m.t, share, 1.0001, "%s holds more than it can: %s", gpu.Name, m)
	}
	for id, typ := range m.strangers {
		require.Equal(m.t, typ, devices[id].Type, "a stranger's vGPU %s was touched: %s", id, m)
	}
	owner := map[string]string{}
	for _, v := range m.vms() {
		require.NotEqual(m.t, "theirs", v.Name, m)
		require.Empty(m.t, v.Unfinished, m)
		for _, g := range v.VGPUs {
			if !g.Present {
				require.True(m.t, v.Lifetime == WhileRunning && v.State != StateRunning || m.lost[v.Name], "vGPU %s of VM %s is lost: %s", g.ID, v.Name, m)
				continue
			}
			require.NotContains(m.t, owner, g.ID, "a vGPU of two VMs: %s", m)
			require.NotContains(m.t, m.strangers, g.ID, "a stranger's vGPU is taken for ours: %s", m)
			require.Equal(m.t, g.Type, devices[g.ID].Type, m)
			owner[g.ID] = v.Name
			require.True(m.t, v.Lifetime == Reserved || v.State == StateRunning, "VM %s is off and holds a vGPU: %s", v.Name, m)
			if holder := devices[g.ID].Holder; holder != nil {
				require.Equal(m.t, v.Name, holder.VM, "a VM uses another's vGPU: %s", m)
			}
		}
	}
	for id := range devices {
		_, strange := m.strangers[id]
		require.True(m.t, strange || owner[id] != "", "vGPU %s has leaked: %s", id, m)
	}
	var told []string
	for _, d := range again.Strangers {
		told = append(told, d.ID)
	}
	require.ElementsMatch(m.t, slices.Collect(maps.Keys(m.strangers)), told, m)
	for _, sub := range []string{vmsDir + "/*.op", "damaged/*"} {
		left, err := filepath.Glob(filepath.Join(m.dir, sub))
		require.NoError(m.t, err)
		require.Empty(m.t, left, m)
	}
	left, err := filepath.Glob(filepath.Join(m.dir, "*", ".*"))
	require.NoError(m.t, err)
	require.Empty(m.t, left, m)
	for name := range m.lost { // whole again
		if v, err := m.m.Status(ctx, name); err != nil || v.State == StateOff {
			delete(m.lost, name)
		}
	}
}
