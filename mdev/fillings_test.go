package mdev_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vgpukit/vgpukit/internal/nvidia"
	"github.com/vgpukit/vgpukit/mdev"
	"github.com/vgpukit/vgpukit/mdev/mdevtest"
	"github.com/vgpukit/vgpukit/vgpu/placement"
)

// What we say fits, fits: on random fillings of every board that is simulated, in and out of MIG
// mode and in each framework, capacity says n, exactly n can be made, the placement finds n
// places, and each reason of a refusal is true by the simulated GPU itself. Without a source the
// sizes of GPU instances are not known, and n is a bound.
//
// VGPUKIT_OPERATIONS says how many fillings of each board to try, else there is one of every
// fourth; VGPUKIT_SEED repeats a run.
func TestFillings(t *testing.T) {
	rounds, seed := 1, rand.Uint64()
	for name, set := range map[string]func(uint64){
		"VGPUKIT_OPERATIONS": func(n uint64) { rounds = int(n) }, "VGPUKIT_SEED": func(n uint64) { seed = n },
	} {
		if text := os.Getenv(name); text != "" {
			n, err := strconv.ParseUint(text, 10, 64)
			require.NoError(t, err, name)
			set(n)
		}
	}
	t.Logf("VGPUKIT_SEED=%d VGPUKIT_OPERATIONS=%d", seed, rounds)
	var total counts
	for i, spec := range fillable(t) {
		if os.Getenv("VGPUKIT_OPERATIONS") == "" && uint64(i)%4 != seed%4 {
			continue
		}
		t.Run(spec, func(t *testing.T) {
			for round := range rounds {
				f := newFilling(t, spec, rand.New(rand.NewPCG(seed, uint64(round))))
				f.run(2)
				total.add(f.counts)
			}
			total.boards++
		})
	}
	t.Logf("%d boards and modes, %d fillings, %d decisions: %d vGPUs made, %d refusals with %d reasons checked",
		total.boards, total.fillings, total.decisions, total.made, total.refusals, total.reasons)
}

type counts struct{ boards, fillings, decisions, made, refusals, reasons int }

func (c *counts) add(d counts) {
	c.fillings += d.fillings
	c.decisions += d.decisions
	c.made += d.made
	c.refusals += d.refusals
	c.reasons += d.reasons
}

// fillable are NVIDIA's boards of the catalogue, in each framework and mode that they have.
func fillable(t *testing.T) []string {
	var specs []string
	for _, name := range mdevtest.Boards() {
		b, err := mdevtest.NewBoard(name)
		require.NoError(t, err)
		sim, err := mdevtest.NewHost(name)
		require.NoError(t, err)
		facts, err := sim.Facts(t.Context(), sim.GPUs()[0])
		if err != nil || b.MIG {
			continue // another vendor's, or another name for what is there
		}
		modes := []string{name}
		if facts.MIG != nil {
			modes = append(modes, name+",mig")
		}
		for _, mode := range modes {
			specs = append(specs, mode)
			if b.VFs > 0 && !b.VendorVFIO {
				specs = append(specs, mode+",vendor-vfio", mode+",vfio-pci-types="+strconv.Itoa(b.VFs/2))
			}
		}
	}
	require.Greater(t, len(specs), 60)
	return specs
}

// filling is a simulated GPU that is filled at random.
type filling struct {
	counts
	t     *testing.T
	spec  string
	rng   *rand.Rand
	sim   *mdevtest.Host
	host  *mdev.Host // with a source
	blind *mdev.Host // without
	gpu   string
	types []mdev.Type
	ids   []string // of the vGPUs that it runs
}

func newFilling(t *testing.T, spec string, rng *rand.Rand) *filling {
	b, err := mdevtest.NewBoard(spec)
	require.NoError(t, err)
	f := &filling{t: t, spec: spec, rng: rng, sim: mdevtest.New(b)}
	f.gpu = f.sim.GPUs()[0]
	f.types, err = b.Types()
	require.NoError(t, err)
	f.host, err = mdev.Open(mdev.Config{FS: f.sim, Source: f.sim})
	require.NoError(t, err)
	f.blind, err = mdev.Open(mdev.Config{FS: f.sim})
	require.NoError(t, err)
	if b.MIG {
		f.makeInstances()
	}
	f.fillings++
	return f
}

// makeInstances makes some GPU instances, in an order that leaves more or less room.
func (f *filling) makeInstances() {
	var profiles []string
	for _, t := range f.types {
		named, ok := nvidia.Parse(t.Name)
		if !ok || named.Slices == 0 {
			continue
		}
		for _, attribute := range []string{"", "+gfx", "+me"} {
			for _, gib := range []int{named.GiB, 16 * named.Slices, 24 * named.Slices} {
				profiles = append(profiles, nvidia.Profile{Slices: named.Slices, GiB: gib, Attribute: attribute}.String())
			}
		}
	}
	for range f.rng.IntN(40) {
		_ = f.sim.CreateGPUInstance(f.gpu, profiles[f.rng.IntN(len(profiles))]) // many cannot be
	}
}

func (f *filling) run(steps int) {
	for range steps {
		f.change()
		for range 2 {
			f.check(f.host, true)
		}
		f.check(f.blind, false)
	}
}

// change makes or removes some vGPUs.
func (f *filling) change() {
	for range f.rng.IntN(4) {
		if len(f.ids) > 0 && f.rng.IntN(3) == 0 {
			at := f.rng.IntN(len(f.ids))
			require.NoError(f.t, f.host.Remove(f.t.Context(), f.ids[at]))
			f.ids = slices.Delete(f.ids, at, at+1)
			continue
		}
		created, err := f.host.Create(f.t.Context(), mdev.CreateRequest{Type: f.pick(f.inventory(f.host))})
		if err == nil {
			f.ids = append(f.ids, created.ID)
		}
	}
}

func (f *filling) inventory(host *mdev.Host) *mdev.Inventory {
	inv, err := host.Inventory(f.t.Context())
	require.NoError(f.t, err)
	return inv
}

// pick is a type: mostly one with room, else any of the board.
func (f *filling) pick(inv *mdev.Inventory) string {
	var free []string
	for _, c := range f.capacityOf(inv) {
		if c.Available > 0 {
			free = append(free, c.Type)
		}
	}
	if len(free) > 0 && f.rng.IntN(4) > 0 {
		return free[f.rng.IntN(len(free))]
	}
	t := f.types[f.rng.IntN(len(f.types))]
	if f.rng.IntN(2) == 0 {
		return t.Name
	}
	return t.ID
}

func (f *filling) capacityOf(inv *mdev.Inventory) []mdev.Capacity {
	at := slices.IndexFunc(inv.GPUs, func(g mdev.GPU) bool { return g.Name == f.gpu })
	require.GreaterOrEqual(f.t, at, 0)
	return inv.GPUs[at].Capacity
}

// check makes as many of one type as can be, on the first GPU, beside what it runs, holds them
// against what capacity and placement said, and removes them.
func (f *filling) check(host *mdev.Host, exact bool) {
	inv := f.inventory(host)
	typ := f.pick(inv)
	where := fmt.Sprintf("%s, %s beside %v (source: %v)", f.spec, typ, f.ids, exact)
	said, most := 0, 1
	for _, c := range f.capacityOf(inv) {
		if mdev.SameType(c.Type, typ) || c.Name == typ {
			said, most = c.Available, c.Max
		}
	}
	placed := f.places(inv, typ, said+1)
	var made []string
	for {
		p, err := f.place(f.inventory(host), typ)
		f.decisions++
		if err != nil {
			f.refusal(host, typ, err, where)
			break
		}
		created, err := host.Create(f.t.Context(), mdev.CreateRequest{Type: p.Type, Parent: p.Parent, Exclusive: true})
		require.NoError(f.t, err, "%s: placed on %s and refused", where, p.Parent)
		f.made++
		made = append(made, created.ID)
		require.LessOrEqual(f.t, len(made), said, where)
	}
	if most > 0 && (exact || len(f.instances()) == 0) {
		assert.Equal(f.t, said, len(made), "%s: capacity", where)
		assert.Equal(f.t, said, placed, "%s: placement", where)
	} else {
		assert.Equal(f.t, said > 0, len(made) > 0, "%s: a bound", where)
	}
	for _, id := range made {
		require.NoError(f.t, host.Remove(f.t.Context(), id))
	}
	require.Equal(f.t, f.capacityOf(inv), f.capacityOf(f.inventory(host)), where)
}

func (f *filling) instances() []mdev.Instance {
	facts, err := f.sim.Facts(f.t.Context(), f.gpu)
	require.NoError(f.t, err)
	return facts.Instances
}

// place asks for one vGPU on the first GPU.
func (f *filling) place(inv *mdev.Inventory, typ string) (placement.VGPU, error) {
	s, err := placement.NewSnapshot(placement.HostInventory{Inventory: inv})
	require.NoError(f.t, err)
	p, err := s.Place([]placement.Request{{Type: typ, Parent: f.gpu}}, placement.Options{})
	if err != nil {
		return placement.VGPU{}, err
	}
	return p.VGPUs[0], nil
}

// places is how many places the placement finds one after the other, without looking again.
func (f *filling) places(inv *mdev.Inventory, typ string, most int) int {
	s, err := placement.NewSnapshot(placement.HostInventory{Inventory: inv})
	require.NoError(f.t, err)
	for n := range most {
		p, err := s.Place([]placement.Request{{Type: typ, Parent: f.gpu}}, placement.Options{})
		f.decisions++
		if err != nil {
			return n
		}
		s, err = s.After(p)
		require.NoError(f.t, err)
	}
	return most
}

// refusal sees that the driver refuses too, wherever, and that the reasons are true.
func (f *filling) refusal(host *mdev.Host, typ string, err error, where string) {
	var refusal *placement.Refusal
	require.ErrorAs(f.t, err, &refusal, where)
	f.refusals++
	inv := f.inventory(host)
	for _, r := range refusal.Reasons() {
		if r.GPU == f.gpu {
			f.reasons++
			assert.Empty(f.t, f.lie(inv, typ, r.Code), "%s: %+v", where, r)
		}
	}
	for _, g := range inv.GPUs {
		if g.Name != f.gpu || len(g.Parents) == 0 {
			continue
		}
		free := slices.IndexFunc(g.Parents, func(p mdev.Parent) bool { return p.PF == "" || len(p.Devices) == 0 })
		if free < 0 {
			continue
		}
		_, err := host.Create(f.t.Context(), mdev.CreateRequest{Type: typ, Parent: g.Parents[free].Name, Exclusive: true})
		require.Error(f.t, err, "%s: not placed, and created", where)
		f.refusals++
		f.honest(err, where)
	}
}

// running are the types of the vGPUs that the GPU has.
func (f *filling) running(inv *mdev.Inventory) (types []nvidia.Type) {
	for _, g := range inv.GPUs {
		for _, p := range g.Parents {
			for _, d := range p.Devices {
				if g.Name == f.gpu {
					at := slices.IndexFunc(f.types, func(t mdev.Type) bool { return mdev.SameType(t.ID, d.Type) })
					require.GreaterOrEqual(f.t, at, 0, d.Type)
					t, _ := nvidia.Parse(f.types[at].Name)
					types = append(types, t)
				}
			}
		}
	}
	return types
}

// lie tells what is wrong with a reason; "": it is true. It goes by the table of the board's
// types, and by what the simulated GPU tells.
func (f *filling) lie(inv *mdev.Inventory, typ string, code placement.ReasonCode) string {
	at := slices.IndexFunc(f.types, func(t mdev.Type) bool { return mdev.SameType(t.ID, typ) || t.Name == typ })
	require.GreaterOrEqual(f.t, at, 0)
	wanted, _ := nvidia.Parse(f.types[at].Name)
	facts, err := f.sim.Facts(f.t.Context(), f.gpu)
	require.NoError(f.t, err)
	mig := facts.MIG != nil && *facts.MIG
	running := f.running(inv)
	fitting := 0
	for _, i := range facts.Instances {
		if p, ok := nvidia.ParseProfile(i.Profile); ok && p.Holds(wanted) > 0 {
			fitting++
		}
	}
	isTrue := false
	switch code {
	case placement.ReasonNoSuchType: // a virtual function lists what fits now only
		isTrue = wanted.Slices > 0 != mig || len(running) == 0 && fitting == 0
	case placement.ReasonMIGOn:
		isTrue = mig && wanted.Slices == 0
	case placement.ReasonMIGOff:
		isTrue = !mig && wanted.Slices > 0
	case placement.ReasonNoInstance:
		isTrue = mig && (len(facts.Instances) == 0 || wanted.Slices > 0 && fitting == 0)
	case placement.ReasonOtherSize:
		isTrue = slices.ContainsFunc(running, func(t nvidia.Type) bool { return t.Framebuffer() != wanted.Framebuffer() })
	case placement.ReasonNoRoom:
		isTrue = len(running) > 0 || fitting == 0
	case placement.ReasonParentInUse:
		isTrue = len(running) > 0
	case placement.ReasonIdle:
		isTrue = len(running) == 0
	}
	if !isTrue {
		return fmt.Sprintf("%s, with MIG %v, running %v, %d instances that fit", code, mig, running, fitting)
	}
	return ""
}

var (
	claimsRunning  = regexp.MustCompile(`(\d+) of "([^"]+)"`)
	claimsInstance = regexp.MustCompile(`has no GPU instance ([^;]+);`)
)

// honest sees that what an error of Create claims of the GPU is so.
func (f *filling) honest(err error, where string) {
	var e *mdev.Error
	require.ErrorAs(f.t, err, &e, where)
	require.NotEmpty(f.t, e.Hint(), "%s: %v", where, err)
	inv := f.inventory(f.host)
	names := map[string]int{}
	for _, t := range f.running(inv) {
		names[t.String()]++
	}
	facts, factsErr := f.sim.Facts(f.t.Context(), f.gpu)
	require.NoError(f.t, factsErr)
	text := err.Error()
	for _, claim := range claimsRunning.FindAllStringSubmatch(text, -1) {
		f.reasons++
		assert.Equal(f.t, claim[1], strconv.Itoa(names[claim[2]]), "%s: %s", where, text)
	}
	for _, claim := range claimsInstance.FindAllStringSubmatch(text, -1) {
		f.reasons++
		assert.False(f.t, slices.ContainsFunc(facts.Instances, func(i mdev.Instance) bool { return i.Profile == claim[1] }), "%s: %s", where, text)
	}
	mig := facts.MIG != nil && *facts.MIG
	for text, is := range map[string]bool{
		"is in MIG mode": mig, "is not in MIG mode": !mig, "without GPU instances": mig && len(facts.Instances) == 0,
	} {
		if strings.Contains(e.Cause, text) && !strings.Contains(e.Cause, "it is in MIG mode without GPU instances, or") {
			f.reasons++
			assert.True(f.t, is, "%s: %v", where, err)
		}
	}
	if len(names) == 0 {
		assert.NotContains(f.t, e.Hint(), "remove a", "%s: %v", where, err)
	}
	assert.False(f.t, errors.Is(err, mdev.ErrExists), "%s: %v", where, err)
}
