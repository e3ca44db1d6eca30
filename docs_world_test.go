package vgpukit_test

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/vgpukit/vgpukit/domain"
	"github.com/vgpukit/vgpukit/mdev"
	"github.com/vgpukit/vgpukit/mdev/mdevtest"
	"github.com/vgpukit/vgpukit/vgpu"
	"github.com/vgpukit/vgpukit/vgpu/vgputest"
)

const (
	firstGPU  = "0000:05:00.0"
	secondGPU = "0000:06:00.0"
	biggest   = "GRID M60-8Q" // takes a GPU for itself
)

// world is a simulated host with a Tesla M60, which has two GPUs, and the libvirt on it.
type world struct {
	t       *testing.T
	sim     *mdevtest.Host
	host    *mdev.Host
	libvirt *vgputest.Hypervisor
	dir     string // the state directory
	runtime string // and what is of this boot
	vm      string
	ended   chan vgpu.Operation // what the last run's operations were, as they end

	guest       vgputest.Guest // the VM's, once it was set
	force       bool           // Stop may destroy the VM
	adopting    vgpu.AdoptOptions
	updating    vgpu.UpdateOptions
	reconciling vgpu.ReconcileOptions
}

func newWorld(t *testing.T, vm string) *world {
	t.Helper()
	board, err := mdevtest.NewBoard("tesla-m60@" + firstGPU)
	require.NoError(t, err)
	sim := mdevtest.New(board)
	w := &world{t: t, sim: sim, libvirt: vgputest.New(sim), dir: stateDir(t), runtime: stateDir(t), vm: vm}
	w.host, err = mdev.Open(mdev.Config{FS: sim})
	require.NoError(t, err)
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
	m, err := vgpu.New(vgpu.Config{Host: w.host, Hypervisor: w.libvirt, StateDir: w.dir, RuntimeDir: w.runtime, Observer: r.observer()})
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

func (w *world) provisionAs(life vgpu.Lifetime, vgpus ...vgpu.Request) call {
	return func(ctx context.Context, m *vgpu.Manager) error {
		_, err := m.Provision(ctx, vgpu.ProvisionRequest{
			Domain: fmt.Sprintf("<domain type='kvm'>\n  <name>%s</name>\n  <uuid>f4cbcf76-3c2b-4c4e-9e0e-2a2a0a3f1b11</uuid>\n"+
				"  <memory unit='MiB'>64</memory>\n  <os><type arch='x86_64' machine='q35'>hvm</type></os>\n  <devices/>\n</domain>\n", w.vm),
			VGPUs: vgpus, Lifetime: life,
		})
		return err
	}
}

func (w *world) provision(ctx context.Context, m *vgpu.Manager) error {
	return w.provisionAs(vgpu.Reserved, vgpu.Request{Type: biggest})(ctx, m)
}

func (w *world) provisionWhileRunning(ctx context.Context, m *vgpu.Manager) error {
	return w.provisionAs(vgpu.WhileRunning, vgpu.Request{Type: biggest})(ctx, m)
}

func (w *world) provisionTwo(ctx context.Context, m *vgpu.Manager) error {
	return w.provisionAs(vgpu.Reserved, vgpu.Request{Type: biggest}, vgpu.Request{Type: biggest})(ctx, m)
}

func (w *world) start(ctx context.Context, m *vgpu.Manager) error {
	_, err := m.Start(ctx, w.vm, vgpu.StartOptions{})
	return err
}

func (w *world) stop(ctx context.Context, m *vgpu.Manager) error {
	opts := vgpu.StopOptions{Force: w.force}
	if w.guest.Deaf { // else it is waited for as long as it takes
		opts.GuestTimeout = time.Millisecond
	}
	if w.guest.IgnoresSIGTERM {
		opts.TerminateTimeout = time.Millisecond
	}
	_, err := m.Stop(ctx, w.vm, opts)
	return err
}

func (w *world) teardown(ctx context.Context, m *vgpu.Manager) error {
	return m.Teardown(ctx, w.vm, vgpu.TeardownOptions{})
}

func (w *world) adopt(ctx context.Context, m *vgpu.Manager) error {
	_, err := m.Adopt(ctx, w.vm, w.adopting)
	return err
}

func (w *world) forget(ctx context.Context, m *vgpu.Manager) error { return m.Forget(ctx, w.vm) }

func (w *world) update(ctx context.Context, m *vgpu.Manager) error {
	_, err := m.Update(ctx, w.vm, w.updating)
	return err
}

func (w *world) reconcile(ctx context.Context, m *vgpu.Manager) error {
	_, err := m.Reconcile(ctx, w.reconciling)
	return err
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
		err = w.libvirt.Crash(ctx, w.vm)
	}
	if err == nil {
		err = saw(vgpu.Operation{Op: "reconcile", VM: w.vm})
	}
	cancel()
	<-over
	return err
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
	require.NoError(w.t, w.libvirt.Virsh().Undefine(w.t.Context(), w.vm, domain.UndefineOptions{}))
}

// setGuest has the VM's guest, and its QEMU, be so when they are asked to end.
func (w *world) setGuest(guest vgputest.Guest) {
	w.guest = guest
	w.libvirt.SetGuest(w.vm, guest)
}

// edit changes the VM's document, as somebody does with virsh.
func (w *world) edit(change func(*domain.Document) (*domain.Document, error)) {
	w.t.Helper()
	there, err := w.libvirt.Virsh().Definition(w.t.Context(), w.vm)
	require.NoError(w.t, err)
	doc, err := domain.Parse([]byte(there.XML))
	require.NoError(w.t, err)
	doc, err = change(doc)
	require.NoError(w.t, err)
	_, err = w.libvirt.Virsh().Define(w.t.Context(), doc.String())
	require.NoError(w.t, err)
}

// clone defines the VM once more, by another name, and goes on with that one.
func (w *world) clone() {
	w.t.Helper()
	there, err := w.libvirt.Virsh().Definition(w.t.Context(), w.vm)
	require.NoError(w.t, err)
	text := strings.Replace(there.XML, "<name>"+w.vm+"</name>", "<name>clone</name>", 1)
	text = strings.Replace(text, "<uuid>"+there.UUID.String()+"</uuid>", "<uuid>0b1f6c0e-8a56-4d5e-9a29-5d8c8c9a7c42</uuid>", 1)
	made, err := w.libvirt.Virsh().Define(w.t.Context(), text)
	require.NoError(w.t, err)
	require.NotEqual(w.t, there.UUID, made.UUID)
	w.vm = made.Name
}

// loseState removes what is in a place of the state directory; in all of it, if that is empty.
func (w *world) loseState(place string) {
	w.t.Helper()
	require.NoError(w.t, os.RemoveAll(filepath.Join(w.dir, place)))
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
	vm, err := w.libvirt.Virsh().Definition(w.t.Context(), w.vm)
	if err == nil {
		lines = append(lines, fmt.Sprintln("domain", vm.State.Active(), vm.XML))
	} else {
		require.ErrorIs(w.t, err, domain.ErrNotFound)
	}
	boot, err := w.host.Boot(w.t.Context())
	require.NoError(w.t, err)
	for _, place := range []string{"vms", "owners"} {
		entries, err := filepath.Glob(filepath.Join(w.dir, place, "*"))
		require.NoError(w.t, err)
		for _, entry := range entries {
			text, err := os.ReadFile(entry)
			require.NoError(w.t, err)
			if place == "vms" || strings.Contains(string(text), boot) { // owners of another boot are void
				lines = append(lines, strings.TrimPrefix(entry, w.dir))
			}
		}
	}
	return strings.Join(lines, "\n")
}
