//go:build cgo

package vgpukit_test

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vgpukit/vgpukit/domain"
	"github.com/vgpukit/vgpukit/domain/virt"
	"github.com/vgpukit/vgpukit/mdev"
	"github.com/vgpukit/vgpukit/mdev/mdevtest"
	"github.com/vgpukit/vgpukit/vgpu"
)

const (
	firstGPU  = "0000:05:00.0"
	secondGPU = "0000:06:00.0"
	biggest   = "GRID M60-8Q" // takes a GPU for itself
)

// world is a simulated host with a Tesla M60, which has two GPUs, and libvirt's test
// driver.
type world struct {
	t     *testing.T
	sim   *mdevtest.Host
	host  *mdev.Host
	hyper *hypervisor
	dir   string
	vm    string
	force bool                // Stop may destroy the VM
	ended chan vgpu.Operation // what the last run's operations were, as they end
}

// hypervisor is libvirt's test driver with guests and QEMUs that do not listen.
type hypervisor struct {
	*virt.Conn
	deafGuest, deafQEMU bool
	refusal             error // of what is defined or started
}

func (h *hypervisor) Shutdown(ctx context.Context, vm string, mode domain.ShutdownMode) error {
	if h.deafGuest {
		return nil
	}
	return h.Conn.Shutdown(ctx, vm, mode)
}

func (h *hypervisor) Terminate(ctx context.Context, vm string) error {
	if h.deafQEMU {
		return nil
	}
	return h.Conn.Terminate(ctx, vm)
}

func (h *hypervisor) Define(ctx context.Context, xml string) (domain.Info, error) {
	if h.refusal != nil {
		return domain.Info{}, h.refusal
	}
	return h.Conn.Define(ctx, xml)
}

func (h *hypervisor) Start(ctx context.Context, vm string) error {
	if h.refusal != nil {
		return h.refusal
	}
	return h.Conn.Start(ctx, vm)
}

func newWorld(t *testing.T, vm string) *world {
	t.Helper()
	board, err := mdevtest.NewBoard("tesla-m60@" + firstGPU)
	require.NoError(t, err)
	w := &world{t: t, sim: mdevtest.New(board), dir: stateDir(t), vm: vm}
	w.host, err = mdev.Open(mdev.Config{FS: w.sim})
	require.NoError(t, err)
	conn, err := virt.Open(t.Context(), virt.Config{URI: "test:///default"})
	require.NoError(t, err)
	w.hyper = &hypervisor{Conn: conn}
	return w
}

// stateDir is a directory for a state: in memory if possible, since no power is lost.
func stateDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "vgpukit-test-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// end makes room for other worlds, which have the same libvirt.
func (w *world) end() {
	w.t.Helper()
	ctx := context.Background()
	_ = w.hyper.Destroy(ctx, w.vm) // it may be off, or not there
	_ = w.hyper.Undefine(ctx, w.vm, domain.UndefineOptions{})
	require.NoError(w.t, w.hyper.Close())
}

// recorder writes down what an Observer sees, in the words of the document.
type recorder struct {
	dies  func(step int, name string) bool // whether the process dies after it
	ended chan vgpu.Operation

	mu    sync.Mutex
	verb  string // the outermost operation's
	steps []string
}

type stepKey struct{}

func (r *recorder) observer() vgpu.Observer {
	return vgpu.Observer{
		OperationBegun: func(ctx context.Context, o vgpu.Operation) context.Context {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.verb = cmp.Or(r.verb, o.Op)
			return ctx
		},
		OperationEnded: func(_ context.Context, o vgpu.Operation, _ error) { r.ended <- o },
		StepBegun: func(ctx context.Context, s vgpu.Step) context.Context {
			return context.WithValue(ctx, stepKey{}, r.add(s, ""))
		},
		StepEnded: func(ctx context.Context, s vgpu.Step, err error) {
			r.mu.Lock()
			defer r.mu.Unlock()
			i, _ := ctx.Value(stepKey{}).(int)
			if err != nil {
				r.steps[i] += " fails"
			}
			if r.dies(i, s.Name) {
				runtime.Goexit() // as if killed: nothing is undone, and its locks are free
			}
		},
		StepUndone: func(_ context.Context, s vgpu.Step, _ error) { r.add(s, "undo ") },
	}
}

// add notes a step; one of an operation within the verb has that operation's name too.
func (r *recorder) add(s vgpu.Step, prefix string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	if s.Op != r.verb {
		prefix += s.Op + "/"
	}
	r.steps = append(r.steps, prefix+s.Name)
	return len(r.steps) - 1
}

// call is one call of a Manager.
type call func(context.Context, *vgpu.Manager) error

// run makes a call in a process of its own.
func (w *world) run(do call, dies func(int, string) bool) (steps []string, err error) {
	w.t.Helper()
	w.ended = make(chan vgpu.Operation, 100)
	r := &recorder{dies: dies, ended: w.ended}
	m, err := vgpu.New(vgpu.Config{Host: w.host, Hypervisor: w.hyper, StateDir: w.dir, Observer: r.observer()})
	require.NoError(w.t, err)
	var process sync.WaitGroup
	process.Go(func() { err = do(w.t.Context(), m) })
	process.Wait()
	return r.steps, err
}

func lives(int, string) bool { return false }

// done makes calls that succeed.
func (w *world) done(calls ...call) {
	w.t.Helper()
	for _, do := range calls {
		_, err := w.run(do, lives)
		require.NoError(w.t, err)
	}
}

// killed makes a call whose process dies after a step.
func (w *world) killed(do call, step string) {
	w.t.Helper()
	steps, err := w.run(do, func(_ int, name string) bool { return name == step })
	require.NoError(w.t, err)
	require.Equal(w.t, step, steps[len(steps)-1])
}

func (w *world) provisionAs(life vgpu.Lifetime) call {
	return func(ctx context.Context, m *vgpu.Manager) error {
		_, err := m.Provision(ctx, vgpu.ProvisionRequest{
			Domain: fmt.Sprintf("<domain type='test'>\n  <name>%s</name>\n  <uuid>f4cbcf76-3c2b-4c4e-9e0e-2a2a0a3f1b11</uuid>\n"+
				"  <memory unit='MiB'>64</memory>\n  <os><type arch='x86_64' machine='q35'>hvm</type></os>\n  <devices/>\n</domain>\n", w.vm),
			VGPUs: []vgpu.Request{{Type: biggest}}, Lifetime: life,
		})
		return err
	}
}

func (w *world) provision(ctx context.Context, m *vgpu.Manager) error {
	return w.provisionAs(vgpu.Reserved)(ctx, m)
}

func (w *world) provisionWhileRunning(ctx context.Context, m *vgpu.Manager) error {
	return w.provisionAs(vgpu.WhileRunning)(ctx, m)
}

func (w *world) start(ctx context.Context, m *vgpu.Manager) error {
	_, err := m.Start(ctx, w.vm, vgpu.StartOptions{})
	return err
}

func (w *world) stop(ctx context.Context, m *vgpu.Manager) error {
	_, err := m.Stop(ctx, w.vm, vgpu.StopOptions{GuestTimeout: time.Millisecond, TerminateTimeout: time.Millisecond, Force: w.force})
	return err
}

func (w *world) teardown(ctx context.Context, m *vgpu.Manager) error {
	return m.Teardown(ctx, w.vm, vgpu.TeardownOptions{})
}

func (w *world) reconcile(ctx context.Context, m *vgpu.Manager) error {
	_, err := m.Reconcile(ctx, vgpu.ReconcileOptions{Restore: true})
	return err
}

// clean is the Reconcile after a verb: when that is itself a Reconcile, the same again.
func (w *world) clean(verb string) call {
	return func(ctx context.Context, m *vgpu.Manager) error {
		_, err := m.Reconcile(ctx, vgpu.ReconcileOptions{Restore: verb == "Reconcile"})
		return err
	}
}

// watch sees the VM end by itself, and what is done about it.
func (w *world) watch(ctx context.Context, m *vgpu.Manager) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	over := make(chan error)
	go func() { over <- m.Watch(ctx) }()
	saw := func(want vgpu.Operation) error {
		for {
			select {
			case o := <-w.ended:
				if o.Op == want.Op && o.VM == want.VM {
					return nil
				}
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
	err := saw(vgpu.Operation{Op: "reconcile"}) // it listens before
	if err == nil {
		err = w.hyper.Destroy(ctx, w.vm)
	}
	if err == nil {
		err = saw(vgpu.Operation{Op: "reconcile", VM: w.vm})
	}
	cancel()
	<-over
	return err
}

// vanish takes the VM's vGPU away, as a reboot of the host does.
func (w *world) vanish() {
	w.t.Helper()
	inventory, err := w.host.Inventory(w.t.Context())
	require.NoError(w.t, err)
	for d := range devices(inventory) {
		require.NoError(w.t, w.host.Remove(w.t.Context(), d.ID))
	}
}

// refuse lets GPUs' drivers answer EIO.
func (w *world) refuse(gpus ...string) {
	for _, gpu := range gpus {
		w.sim.Fail(mdevtest.Fault{Op: mdevtest.OpWrite, Path: "create", Do: func(a mdevtest.Access) error {
			if strings.Contains(a.Name, gpu) {
				return syscall.EIO
			}
			return nil
		}})
	}
}

// occupy gives a GPU's room to another program.
func (w *world) occupy(gpu string) {
	w.t.Helper()
	_, err := w.host.Create(w.t.Context(), mdev.CreateRequest{Type: biggest, Parent: gpu})
	require.NoError(w.t, err)
}

func devices(inventory *mdev.Inventory) iter.Seq[mdev.Device] {
	return func(yield func(mdev.Device) bool) {
		for _, gpu := range inventory.GPUs {
			for _, parent := range gpu.Parents {
				for _, d := range parent.Devices {
					if !yield(d) {
						return
					}
				}
			}
		}
	}
}

// undefine is virsh's.
func (w *world) undefine() {
	w.t.Helper()
	require.NoError(w.t, w.hyper.Undefine(w.t.Context(), w.vm, domain.UndefineOptions{}))
}

// picture is all that there is: devices, the VM, and the entries of the state directory.
func (w *world) picture() string {
	w.t.Helper()
	inventory, err := w.host.Inventory(w.t.Context())
	require.NoError(w.t, err)
	var lines []string
	for d := range devices(inventory) {
		lines = append(lines, fmt.Sprintln("device", d.Parent, d.Type))
	}
	vm, err := w.hyper.Definition(w.t.Context(), w.vm)
	if err == nil {
		lines = append(lines, fmt.Sprintln("domain", vm.State.Active(), vm.XML))
	} else {
		require.ErrorIs(w.t, err, domain.ErrNotFound)
	}
	entries, err := filepath.Glob(filepath.Join(w.dir, "[jv]*", "*"))
	require.NoError(w.t, err)
	for _, entry := range entries {
		lines = append(lines, strings.TrimPrefix(entry, w.dir))
	}
	return strings.Join(lines, "\n")
}

// scenario is a call on a host at which other things happened before.
type scenario struct {
	before func(*world)
	call   func(*world) call
}

// scenarios are the calls of each verb's table in the document.
var scenarios = map[string]map[string]scenario{
	"Provision": {
		"a new VM":                              {nothing, provision},
		"a new VM, its vGPU only while it runs": {nothing, func(w *world) call { return w.provisionWhileRunning }},
		"the VM is there as asked":              {func(w *world) { w.done(w.provision) }, provision},
		"the first GPU refuses":                 {func(w *world) { w.refuse(firstGPU) }, provision},
		"libvirt refuses the document":          {func(w *world) { w.hyper.refusal = errUnsupported }, provision},
	},
	"Start": {
		"its vGPU is there":   {func(w *world) { w.done(w.provision) }, start},
		"its vGPU is missing": {func(w *world) { w.done(w.provision); w.vanish() }, start},
		"its vGPU has to go to another GPU": {func(w *world) {
			w.done(w.provision)
			w.vanish()
			w.occupy(firstGPU)
		}, start},
		"it runs already": {func(w *world) { w.done(w.provision, w.start) }, start},
		"libvirt refuses to start it": {func(w *world) {
			w.done(w.provisionWhileRunning)
			w.hyper.refusal = errUnsupported
		}, start},
	},
	"Stop": {
		"the guest shuts down": {func(w *world) { w.done(w.provision, w.start) }, stop},
		"the guest does not listen": {func(w *world) {
			w.done(w.provision, w.start)
			w.hyper.deafGuest = true
		}, stop},
		"nor does QEMU, and force is allowed": {func(w *world) {
			w.done(w.provision, w.start)
			w.hyper.deafGuest, w.hyper.deafQEMU, w.force = true, true, true
		}, stop},
		"nor does QEMU, and force is not allowed": {func(w *world) {
			w.done(w.provision, w.start)
			w.hyper.deafGuest, w.hyper.deafQEMU = true, true
		}, stop},
		"its vGPU is only for while it runs": {func(w *world) { w.done(w.provisionWhileRunning, w.start) }, stop},
		"it is off already":                  {func(w *world) { w.done(w.provision) }, stop},
	},
	"Teardown": {
		"a VM that is off": {func(w *world) { w.done(w.provision) }, teardown},
		"a running VM":     {func(w *world) { w.done(w.provision, w.start) }, teardown},
		"a running VM, its vGPU only while it runs": {func(w *world) { w.done(w.provisionWhileRunning, w.start) }, teardown},
		"a VM that was undefined by hand": {func(w *world) {
			w.done(w.provision)
			w.undefine()
		}, teardown},
	},
	"Reconcile": {
		"all is well": {func(w *world) { w.done(w.provision) }, reconcile},
		"a Provision was killed before the VM was defined": {func(w *world) { w.killed(w.provision, "create") }, reconcile},
		"a Stop was killed": {func(w *world) {
			w.done(w.provision, w.start)
			w.killed(w.stop, "journal")
		}, reconcile},
		"a VM ended by itself, and its vGPU is left": {func(w *world) {
			w.done(w.provisionWhileRunning, w.start)
			require.NoError(w.t, w.hyper.Destroy(w.t.Context(), w.vm))
		}, reconcile},
		"a VM was undefined by hand": {func(w *world) {
			w.done(w.provision)
			w.undefine()
		}, reconcile},
		"the state directory was lost": {func(w *world) {
			w.done(w.provision)
			require.NoError(w.t, os.RemoveAll(w.dir))
		}, reconcile},
		"the host was rebooted": {func(w *world) {
			w.done(w.provision)
			w.vanish()
		}, reconcile},
	},
	"Watch": {
		"a VM ends by itself": {func(w *world) { w.done(w.provisionWhileRunning, w.start) }, func(w *world) call { return w.watch }},
	},
	"After a killed call": {
		"Start, after a Stop": {func(w *world) {
			w.done(w.provision, w.start)
			w.killed(w.stop, "journal")
		}, start},
		"Stop, after a Stop": {func(w *world) {
			w.done(w.provision, w.start)
			w.killed(w.stop, "journal")
		}, stop},
		"Provision, after a Provision": {func(w *world) { w.killed(w.provision, "create") }, provision},
	},
}

var errUnsupported = &domain.Error{Op: "define", Object: "VM", Kind: domain.ErrUnsupported, Meaning: "this QEMU has no such device"}

func nothing(*world) {}

func provision(w *world) call { return w.provision }
func start(w *world) call     { return w.start }
func stop(w *world) call      { return w.stop }
func teardown(w *world) call  { return w.teardown }
func reconcile(w *world) call { return w.reconcile }

// architecture is the document that is held to what the code does.
func architecture(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("docs/architecture.md")
	require.NoError(t, err)
	return string(text)
}

// table returns the rows of the table below a heading whose first column is named so,
// without their marks.
func table(t *testing.T, text, heading, column string) (rows [][]string) {
	t.Helper()
	_, section, ok := strings.Cut(text, "\n### "+heading+"\n")
	require.True(t, ok, "no heading %q", heading)
	section, _, _ = strings.Cut(section, "\n#")
	within := false
	for line := range strings.Lines(section) {
		if !strings.HasPrefix(line, "|") {
			within = false
			continue
		}
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		for i := range cells {
			cells[i] = strings.Trim(strings.TrimSpace(cells[i]), "`*")
		}
		switch {
		case cells[0] == column:
			within = true
		case within && strings.Trim(cells[0], "-:") != "":
			rows = append(rows, cells)
		}
	}
	return rows
}

// TestDocsSteps: docs/architecture.md tells the steps of each call as an Observer sees
// them.
func TestDocsSteps(t *testing.T) {
	text := architecture(t)
	for verb, calls := range scenarios {
		told := map[string]string{}
		for _, row := range table(t, text, verb, "call") {
			told[row[0]] = row[1]
		}
		assert.ElementsMatch(t, slices.Collect(maps.Keys(calls)), slices.Collect(maps.Keys(told)), verb)
		for name, s := range calls {
			t.Run(verb+", "+name, func(t *testing.T) {
				w := newWorld(t, "docs")
				defer w.end()
				s.before(w)
				steps, _ := w.run(s.call(w), lives)
				assert.Equal(t, told[name], cmp.Or(strings.Join(steps, ", "), "none"))
			})
		}
	}
}

// TestDocsOrder: the steps that docs/architecture.md explains for a verb are those of
// its calls, in their order.
func TestDocsOrder(t *testing.T) {
	text := architecture(t)
	for verb := range scenarios {
		explained := table(t, text, verb, "step")
		if len(explained) == 0 {
			continue // it is made of others' steps
		}
		seen := map[int]bool{}
		for _, row := range table(t, text, verb, "call") {
			for _, at := range places(t, explained, strings.Split(row[1], ", ")) {
				seen[at] = true
			}
		}
		assert.Len(t, seen, len(explained), "%s explains steps that no call has", verb)
	}
}

// places finds the row that explains each of a call's own steps; of those of operations
// within it, the row of the step that they are in, and of what is undone none.
func places(t *testing.T, explained [][]string, steps []string) map[int]int {
	t.Helper()
	at, found := -1, map[int]int{}
	for i, step := range steps {
		step = strings.TrimSuffix(step, " fails")
		if step == "none" || strings.HasPrefix(step, "undo ") {
			continue
		}
		if !strings.Contains(step, "/") {
			same := func(row []string) bool { return row[0] == step }
			if next := slices.IndexFunc(explained[at+1:], same); next >= 0 {
				at += next + 1
			} else { // these two are done again, for what has changed meanwhile
				require.Contains(t, []string{"journal", "look"}, step, "not explained, or in another order")
				at = slices.IndexFunc(explained, same)
			}
		}
		found[i] = at
	}
	return found
}

// TestDocsKilled: what a process that is killed after a step leaves, Reconcile brings to
// what docs/architecture.md says: as it would be without the call, or as asked.
func TestDocsKilled(t *testing.T) {
	text := architecture(t)
	for verb, calls := range scenarios {
		explained := table(t, text, verb, "step")
		for name, s := range calls {
			w := newWorld(t, "docs")
			s.before(w)
			steps, err := w.run(s.call(w), lives)
			asked := w.picture()
			w.end()
			if err != nil || len(explained) == 0 {
				continue
			}
			w = newWorld(t, "docs")
			s.before(w)
			w.done(w.clean(verb))
			outcomes := map[string]string{"as before": w.picture(), "as asked": asked}
			w.end()
			for i, row := range places(t, explained, steps) {
				if steps[i] == "lock" || strings.HasSuffix(steps[i], " fails") {
					continue // nothing was done; and only the end of a real process frees a lock just taken
				}
				t.Run(fmt.Sprintf("%s, %s, %d %s", verb, name, i, steps[i]), func(t *testing.T) {
					w := newWorld(t, "docs")
					defer w.end()
					s.before(w)
					_, err := w.run(s.call(w), func(step int, _ string) bool { return step == i })
					require.NoError(t, err)
					w.done(w.clean(verb))
					require.Len(t, explained[row], 4)
					want, ok := outcomes[explained[row][3]]
					require.True(t, ok, explained[row][3])
					assert.Equal(t, want, w.picture())
				})
			}
		}
	}
}

// TestDocsError: the failure that docs/architecture.md shows is what the code says.
func TestDocsError(t *testing.T) {
	w := newWorld(t, "web1")
	defer w.end()
	w.refuse(firstGPU, secondGPU)
	_, err := w.run(w.provision, lives)
	require.Error(t, err)
	envelope, wrong := json.MarshalIndent(vgpu.NewEnvelope(err), "", "  ")
	require.NoError(t, wrong)
	text := architecture(t)
	assert.Contains(t, text, "\n"+err.Error()+"\n")
	assert.Contains(t, text, "\n"+vgpu.Hint(err)+"\n")
	assert.Contains(t, text, "\n"+string(envelope)+"\n")
	var kinds []error
	for _, kind := range []error{
		vgpu.ErrInvalid, vgpu.ErrNotFound, vgpu.ErrExists, vgpu.ErrInUse, vgpu.ErrNoCapacity, vgpu.ErrBusy,
		vgpu.ErrState, vgpu.ErrPermission, vgpu.ErrUnsupported, vgpu.ErrRefused, vgpu.ErrUnavailable,
	} {
		if errors.Is(err, kind) {
			kinds = append(kinds, kind)
		}
	}
	assert.Equal(t, []error{vgpu.ErrNoCapacity}, kinds, "it is of one kind")
	assert.ErrorIs(t, err, syscall.EIO)
}
