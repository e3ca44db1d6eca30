package vgpu

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/vgpukit/vgpukit/domain"
	"github.com/vgpukit/vgpukit/mdev"
)

// smallest are hosts with two places.
var smallest = []struct{ board, typ string }{
	{"tesla-m60", "GRID M60-8Q"},
	{"l40s,vfs=2", "NVIDIA L40S-24Q"},
}

// move is one thing that can be done to the world of two VMs.
type move struct {
	name string
	do   func(*model, *site)
}

// moves are all of them.
func moves(typ string) (all []move) {
	add := func(name string, do func(*model, *site)) { all = append(all, move{name, do}) }
	verb := func(v verb, decide func(access) fate) {
		name := v.what
		if decide != nil {
			name += ", killed"
		}
		add(name, func(m *model, s *site) { m.try(s, v, decide) })
	}
	for _, vm := range []string{"v", "w"} {
		other, id := map[string]string{"v": "w", "w": "v"}[vm], documentUUID(vm)
		for _, life := range []Lifetime{Reserved, WhileRunning} {
			verb(provisionVerb(document(vm), typ, 1, life), nil)
		}
		verb(provisionVerb(document(vm), typ, 1, Reserved), func(a access) fate {
			return when(strings.HasPrefix(a.what, "write ") && (strings.HasSuffix(a.what, "/create") || strings.HasSuffix(a.what, "current_vgpu_type")), dieAfter)
		})
		verb(startVerb(vm), nil)
		verb(stopVerb(vm, quickStop), nil)
		verb(stopVerb(vm, quickStop), func(a access) fate { return when(strings.HasPrefix(a.what, "shutdown "), dieAfter) })
		verb(teardownVerb(vm, quickStop), nil)
		verb(adoptVerb(vm, AdoptOptions{}), nil)
		verb(adoptVerb(vm, AdoptOptions{Fresh: true}), nil)
		verb(forgetVerb(vm), nil)
		verb(updateVerb(vm, UpdateOptions{}), nil)
		verb(updateVerb(vm, UpdateOptions{GiveUp: true}), nil)
		add("clone "+other+" as "+vm, func(m *model, s *site) { m.clone(s, other, vm, id) })
		add("swap "+vm, func(m *model, s *site) { m.swap(s, vm, documentUUID(vm+"'")) })
		add("undefine "+vm, func(m *model, s *site) { m.undefine(s, vm) })
		add("drop the copy of "+vm, func(m *model, s *site) { m.dropCopy(s, vm) })
		add("drop the hostdev of "+vm, func(m *model, s *site) { m.dropHostdev(s, vm) })
		add("forge "+vm, func(m *model, s *site) {
			for _, h := range hostdevsIn(s.text(other)) {
				m.forge(s, vm, claiming(id, strings.ToUpper(h.ID()), mdevType(m, s), "while-running"), domain.ScopeSaved)
			}
		})
		add("take the hostdev of "+other+" for "+vm, func(m *model, s *site) {
			for _, h := range hostdevsIn(s.text(other)) {
				m.addHostdev(s, vm, h.ID())
			}
		})
		add("remove the device of "+vm, func(m *model, s *site) {
			for _, id := range m.ids(s.machine, func(o origin) bool { return o.vm == id }) {
				m.removeByHand(s, id)
			}
		})
		add("crash "+vm, func(m *model, s *site) {
			if m.running(s, vm) {
				m.by(s, s.hyper.Virsh().Crash(context.Background(), vm), "crash %s", vm)
			}
		})
		add("virsh start "+vm, func(m *model, s *site) { m.startByHand(s, vm) })
	}
	for _, opts := range []ReconcileOptions{{}, {Now: true}, {Restore: true}, {Repair: true}} {
		add(fmt.Sprintf("reconcile %+v", opts), func(m *model, s *site) {
			_, err := m.reconcile(s, opts, nil)
			// What is made anew elsewhere cannot be written into a document that has lost it.
			require.True(m.t, err == nil || opts.Restore && errors.Is(err, ErrState), "%v: %s", err, m)
		})
	}
	verb(adoptAllVerb(AdoptOptions{}), nil)
	add("take over", func(m *model, s *site) { m.takeOver(s, nil) })
	add("a stranger's device", func(m *model, s *site) {
		req := mdev.CreateRequest{Type: typ}
		if strings.HasPrefix(s.board, "tesla") {
			req.UUID = deviceUUID(documentUUID("theirs"), 0)
		}
		m.makeByHand(s, req)
	})
	add("reboot", func(m *model, s *site) { m.reboot(s) })
	add("lose the owners", func(m *model, s *site) { m.loseOwners(s) })
	add("lose the state", func(m *model, s *site) { m.loseState(s) })
	return all
}

// mdevType is the id of the type on the smallest hosts.
func mdevType(m *model, s *site) string {
	for _, g := range s.shelf.held {
		return g.VGPUs[0].Type
	}
	return "nvidia-22"
}

// small is a world of one machine with two places.
func small(t testing.TB, board string) (*model, *site) {
	m := &model{t: t}
	r := newRig(t, board)
	return m, m.addSite("here", 0, r, &shelf{path: r.dir, machine: nobody, held: map[uuid.UUID]grant{}})
}

// likeness is the state of a world: two worlds of one likeness do not differ in what can be
// done in them. Random ids are left out, and which of the two VMs is which.
func (m *model) likeness(s *site) string {
	out := s.world()
	numbers := map[string]bool{}
	for id, g := range s.grants() {
		numbers[id.String()] = s.restored(g)
		g.Number = 0
		out += fmt.Sprintf("grant %+v restored %v\n", g, numbers[id.String()])
	}
	tasks := s.tasks()
	for _, t := range tasks {
		info, _ := s.hyper.Virsh().Info(context.Background(), t.VM.String())
		out += fmt.Sprintf("task %s %s %v %+v\n", t.VM, t.Operation, t.Boot == s.m.boot() && t.Run == info.ID, t.Grant)
	}
	owners, _, err := s.m.store.owners.All()
	require.NoError(s.t, err)
	for _, w := range owners {
		if w.Boot == s.m.boot() {
			out += fmt.Sprintln("owner", w.Device, w.VM, w.Name, w.Type, w.Parent, tasks[w.VM].Number == w.Operation)
		} else {
			out += fmt.Sprintln("former owner", w.Device)
		}
	}
	looks, _, err := s.m.store.looks.All()
	require.NoError(s.t, err)
	for id := range looks {
		out += fmt.Sprintln("look", id)
	}
	for id, o := range m.origins[s.machine] {
		out += fmt.Sprintf("origin %s %+v\n", id, o)
	}
	sorted := func(text string) string { return strings.Join(slices.Sorted(strings.Lines(text)), "") }
	return min(sorted(out), sorted(mirror(out)))
}

// mirror gives each of the two VMs the other's name and ids.
func mirror(out string) string {
	var pairs []string
	for _, ids := range [][2]string{
		{documentUUID("v").String(), documentUUID("w").String()},
		{documentUUID("v'").String(), documentUUID("w'").String()},
		{deviceUUID(documentUUID("v"), 0).String(), deviceUUID(documentUUID("w"), 0).String()},
		{deviceUUID(documentUUID("v'"), 0).String(), deviceUUID(documentUUID("w'"), 0).String()},
		{"<name>v<", "<name>w<"},
		{"domain v ", "domain w "},
		{"Name:v ", "Name:w "},
	} {
		pairs = append(pairs, ids[0], ids[1], ids[1], ids[0])
	}
	return strings.NewReplacer(pairs...).Replace(out)
}

// path is how a state is reached: numbers of moves.
type path []int

// TestStates: from each state that two VMs and a host with two places can be brought to in a
// few moves, by the Manager and by hand, each move does only what it may, and Reconcile leaves
// nothing that has leaked, and nothing to do.
//
// VGPUKIT_DEPTH says how many moves to go.
func TestStates(t *testing.T) {
	depth := 1
	if text := os.Getenv("VGPUKIT_DEPTH"); text != "" {
		_, err := fmt.Sscan(text, &depth)
		require.NoError(t, err, "VGPUKIT_DEPTH")
	}
	for _, host := range smallest {
		t.Run(host.board, func(t *testing.T) {
			begin := time.Now()
			all := moves(host.typ)
			m, s := small(t, host.board)
			seen := map[string]bool{m.likeness(s): true}
			edge, transitions := []path{{}}, 0
			for level := 1; level <= depth && len(edge) > 0; level++ {
				found := explore(t, host.board, all, edge)
				transitions += len(edge) * len(all)
				edge = nil
				for _, f := range found {
					if !seen[f.likeness] {
						seen[f.likeness] = true
						edge = append(edge, f.path)
					}
				}
				t.Logf("depth %d: %d states, %d transitions of %d moves, %s", level, len(seen), transitions, len(all), time.Since(begin).Round(time.Millisecond))
			}
		})
	}
}

// reached is a state that was reached, and how.
type reached struct {
	likeness string
	path     path
}

// explore makes each move from each of the states, on all processors.
func explore(t *testing.T, board string, all []move, edge []path) []reached {
	found := make([]reached, len(edge)*len(all))
	next := make(chan int)
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for n := range next {
				var one sync.WaitGroup // a test that fails ends its goroutine
				one.Go(func() { found[n] = follow(t, board, all, append(slices.Clone(edge[n/len(all)]), n%len(all))) })
				one.Wait()
			}
		})
	}
	for n := range found {
		if t.Failed() {
			break
		}
		next <- n
	}
	close(next)
	workers.Wait()
	if t.Failed() {
		t.FailNow()
	}
	return found
}

// follow makes the moves of a path in a new world, and checks what is left.
func follow(t *testing.T, board string, all []move, way path) (r reached) {
	var cleanups []func()
	defer func() {
		for _, cleanup := range slices.Backward(cleanups) {
			cleanup()
		}
	}()
	m, s := small(brief{t, &cleanups}, board)
	for _, n := range way {
		m.note("move: %s", all[n].name)
		all[n].do(m, s)
		m.demand()
	}
	r = reached{m.likeness(s), way}
	m.settle()
	return r
}

// brief is a test that ends before the whole one.
type brief struct {
	testing.TB
	cleanups *[]func()
}

func (b brief) Cleanup(f func()) { *b.cleanups = append(*b.cleanups, f) }
