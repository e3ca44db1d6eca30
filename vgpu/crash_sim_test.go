package vgpu

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/vgpukit/vgpukit/domain"
	"github.com/vgpukit/vgpukit/internal/statedir"
	"github.com/vgpukit/vgpukit/mdev"
	"github.com/vgpukit/vgpukit/vgpu/vgputest"
)

// fate is what becomes of one access of a process to the world.
type fate int

const (
	live      fate = iota
	fail           // the access fails and has no effect
	failAfter      // it has its effect and fails: an answer that got lost, a sync that failed
	dieBefore      // the process is killed before its effect
	dieAfter       // the process is killed right after it
)

func (f fate) String() string {
	return [...]string{"live", "fail", "fail after", "die before", "die after"}[f]
}

// errFault is what an access fails with that was made to.
var errFault = &fs.PathError{Op: "fault", Path: "injected", Err: syscall.EIO}

// access is one access of a process to host, hypervisor or state directory.
type access struct {
	n       int // counts accesses from 1
	change  int // counts those that change something; 0: this one does not
	what    string
	answers bool // its answer can get lost
}

// process is a simulated process: whatever its Manager does to the world goes
// through it. When it dies, the goroutine that does so ends at once, as do all
// others at their next access: no code of a killed process runs on.
type process struct {
	m      *Manager
	ctx    context.Context
	kill   context.CancelFunc
	decide func(access) fate
	fault  error // of accesses that fail; nil: errFault

	mu       sync.Mutex
	accesses int
	changes  int
	dead     bool
	last     access // where it died or first failed
	nodes    map[*node]bool
	half     func() // what a change leaves that the process dies in

	// Who watches what takes effect; nil: nobody.
	wrote   func(path string, data []byte)
	started func(vm string)
}

// launch starts a process on the rig's world; decide, if not nil, says what becomes
// of each access.
func (r *rig) launch(decide func(access) fate) *process {
	p := &process{decide: decide, nodes: map[*node]bool{}}
	p.ctx, p.kill = context.WithCancel(context.Background())
	r.t.Cleanup(p.kill)
	host, err := mdev.Open(mdev.Config{FS: processFS{p, r.sim}})
	require.NoError(r.t, err)
	p.m, err = New(Config{
		Host: r.host, Hypervisor: processHypervisor{p, r.hyper}, StateDir: r.dir, RuntimeDir: r.run,
		Timeouts: Timeouts{Lock: 2 * time.Second, Start: 2 * time.Second, Release: 2 * time.Second, Undo: 5 * time.Second},
	})
	require.NoError(r.t, err)
	p.m.host = host
	p.m.store.dir.Files = processFiles{p, p.m.store.dir.Files}
	return p
}

// run does an operation in the process, and tells whether it died of it.
func (p *process) run(do func(context.Context, *Manager) error) (err error, died bool) {
	died = true
	var done sync.WaitGroup
	done.Go(func() {
		err = do(p.ctx, p.m)
		died = false
	})
	done.Wait()
	return err, died || p.isDead()
}

func (p *process) isDead() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.dead
}

// die ends the process. The kernel closes what it had open.
func (p *process) die(at access) {
	p.mu.Lock()
	p.dead, p.last = true, at
	nodes := p.nodes
	p.nodes = nil
	p.mu.Unlock()
	p.kill()
	for n := range nodes {
		_ = n.Closer.Close()
	}
	runtime.Goexit()
}

// through lets an access through, or not.
func through[T any](p *process, what string, change, answers bool, do func() (T, error)) (T, error) {
	p.mu.Lock()
	if p.dead {
		p.mu.Unlock()
		runtime.Goexit()
	}
	p.accesses++
	a := access{n: p.accesses, what: what, answers: answers}
	if change {
		p.changes++
		a.change = p.changes
	}
	f := live
	if p.decide != nil {
		f = p.decide(a)
	}
	if f != live && p.last.n == 0 {
		p.last = a
	}
	p.mu.Unlock()
	var none T
	fault := error(errFault)
	if p.fault != nil {
		fault = p.fault
	}
	switch f {
	case fail:
		return none, fault
	case dieBefore:
		if p.half != nil {
			p.half()
		}
		p.die(a)
	}
	result, err := do()
	switch {
	case f == dieAfter:
		p.die(a)
	case f == failAfter && err == nil:
		return none, fault
	}
	return result, err
}

func effect(p *process, what string, answers bool, do func() error) error {
	_, err := through(p, what, true, answers, func() (struct{}, error) { return struct{}{}, do() })
	return err
}

// processFiles are the state directory's files, as the process changes them. A writer
// that dies before its effect leaves its temporary file behind.
type processFiles struct {
	p *process
	statedir.Files
}

func (f processFiles) Write(path string, data []byte) error {
	half := func() {
		_ = os.WriteFile(filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".tmp1"), []byte("{"), 0o600)
	}
	return f.change("write", path, half, func() error { return f.Files.Write(path, data) })
}

func (f processFiles) Put(path string, data []byte) error {
	return f.change("put", path, func() {}, func() error { return f.Files.Put(path, data) })
}

func (f processFiles) Create(path string, data []byte) error {
	return f.change("create", path, func() {}, func() error { return f.Files.Create(path, data) })
}

func (f processFiles) Rename(from, to string) error {
	return f.change("rename", from, func() {}, func() error { return f.Files.Rename(from, to) })
}

func (f processFiles) Remove(path string) error {
	return f.change("remove", path, func() {}, func() error { return f.Files.Remove(path) })
}

// change lets a change through, or not; half is what it leaves if the process dies in
// it.
func (f processFiles) change(what, path string, half func(), do func() error) error {
	f.p.mu.Lock()
	f.p.half = half
	f.p.mu.Unlock()
	err := effect(f.p, what+" "+filepath.Base(filepath.Dir(path)), true, do)
	f.p.mu.Lock()
	f.p.half = nil
	f.p.mu.Unlock()
	return err
}

// processFS is the simulated host's files as the process sees them.
type processFS struct {
	p   *process
	sim mdev.FS
}

func (f processFS) ReadFile(name string) ([]byte, error) {
	return through(f.p, "read "+name, false, false, func() ([]byte, error) { return f.sim.ReadFile(name) })
}

func (f processFS) ReadDir(name string) ([]fs.DirEntry, error) {
	return through(f.p, "list "+name, false, false, func() ([]fs.DirEntry, error) { return f.sim.ReadDir(name) })
}

func (f processFS) Readlink(name string) (string, error) {
	return through(f.p, "link "+name, false, false, func() (string, error) { return f.sim.Readlink(name) })
}

func (f processFS) Stat(name string) (fs.FileInfo, error) {
	return through(f.p, "stat "+name, false, false, func() (fs.FileInfo, error) { return f.sim.Stat(name) })
}

// WriteAttr returns even if the process dies: whoever waits for it ends at his
// next access.
func (f processFS) WriteAttr(name string, data []byte) error {
	var written sync.WaitGroup
	err := error(errFault)
	written.Go(func() {
		err = effect(f.p, "write "+name, false, func() error {
			if f.p.wrote != nil {
				f.p.wrote(name, data)
			}
			return f.sim.WriteAttr(name, data)
		})
	})
	written.Wait()
	return err
}

func (f processFS) OpenNode(name string) (io.Closer, error) {
	return through(f.p, "open "+name, true, false, func() (io.Closer, error) {
		closer, err := f.sim.OpenNode(name)
		if err != nil {
			return nil, err
		}
		n := &node{closer, f.p}
		f.p.mu.Lock()
		defer f.p.mu.Unlock()
		if f.p.dead {
			_ = closer.Close()
		} else {
			f.p.nodes[n] = true
		}
		return n, nil
	})
}

// node is a device node that the process has open.
type node struct {
	io.Closer
	p *process
}

func (n *node) Close() error {
	n.p.mu.Lock()
	delete(n.p.nodes, n)
	n.p.mu.Unlock()
	return n.Closer.Close()
}

// processHypervisor is the hypervisor as the process reaches it.
type processHypervisor struct {
	p *process
	f *vgputest.Hypervisor
}

func (h processHypervisor) Domains(ctx context.Context) ([]domain.Info, error) {
	return through(h.p, "domains", false, false, func() ([]domain.Info, error) { return h.f.Domains(ctx) })
}

func (h processHypervisor) Lookup(ctx context.Context, vm string) (uuid.UUID, error) {
	return through(h.p, "lookup "+vm, false, false, func() (uuid.UUID, error) { return h.f.Lookup(ctx, vm) })
}

func (h processHypervisor) Info(ctx context.Context, vm string) (domain.Info, error) {
	return through(h.p, "info "+vm, false, false, func() (domain.Info, error) { return h.f.Info(ctx, vm) })
}

func (h processHypervisor) URI() string { return h.f.URI() }

func (h processHypervisor) Definition(ctx context.Context, vm string) (domain.Definition, error) {
	return through(h.p, "definition "+vm, false, false, func() (domain.Definition, error) { return h.f.Definition(ctx, vm) })
}

func (h processHypervisor) Define(ctx context.Context, xml string) (domain.Info, error) {
	return through(h.p, "define", true, true, func() (domain.Info, error) { return h.f.Define(ctx, xml) })
}

func (h processHypervisor) Undefine(ctx context.Context, vm string, opts domain.UndefineOptions) error {
	return effect(h.p, "undefine "+vm, true, func() error { return h.f.Undefine(ctx, vm, opts) })
}

func (h processHypervisor) Start(ctx context.Context, vm string) error {
	return effect(h.p, "start "+vm, true, func() error {
		if h.p.started != nil {
			h.p.started(vm)
		}
		return h.f.Start(ctx, vm)
	})
}

func (h processHypervisor) Shutdown(ctx context.Context, vm string, mode domain.ShutdownMode) error {
	return effect(h.p, "shutdown "+vm, true, func() error { return h.f.Shutdown(ctx, vm, mode) })
}

func (h processHypervisor) Terminate(ctx context.Context, vm string) error {
	return effect(h.p, "terminate "+vm, true, func() error { return h.f.Terminate(ctx, vm) })
}

func (h processHypervisor) Destroy(ctx context.Context, vm string) error {
	return effect(h.p, "destroy "+vm, true, func() error { return h.f.Destroy(ctx, vm) })
}

func (h processHypervisor) Events(ctx context.Context) (<-chan domain.Event, error) {
	return through(h.p, "events", false, false, func() (<-chan domain.Event, error) { return h.f.Events(ctx) })
}

var pciAddress = regexp.MustCompile(`\b0000:[1-9a-f][0-9a-f]:[0-9a-f]{2}\.[0-7]\b|domain='0x0000' bus='0x[1-9a-f][0-9a-f]' slot='0x[0-9a-f]{2}' function='0x[0-7]'`)

// picture is the world with what the grants say, and without the addresses of
// virtual functions: which of them a vGPU has does not matter.
func (r *rig) picture() string {
	r.t.Helper()
	out := r.world()
	require.NoError(r.t, r.m.seeBoot(context.Background()))
	grants, damaged, err := r.m.store.grants.All()
	require.NoError(r.t, err)
	require.Empty(r.t, damaged)
	for _, name := range slices.Sorted(maps.Keys(grants)) {
		out += fmt.Sprintln("grant", name, grants[name].Lifetime)
		for _, d := range grants[name].VGPUs {
			out += fmt.Sprintln("granted", d.ID, d.Type, d.Parent)
		}
	}
	owners, damaged, err := r.m.store.owners.All()
	require.NoError(r.t, err)
	require.Empty(r.t, damaged)
	for _, id := range slices.Sorted(maps.Keys(owners)) {
		if w := owners[id]; w.Boot == r.m.boot() && strings.Contains(out, "device "+id) { // else it says nothing
			out += fmt.Sprintln("owner", id, w.VM, w.Type)
		}
	}
	return strings.Join(slices.Sorted(strings.Lines(pciAddress.ReplaceAllString(out, "VF"))), "")
}

// stateDir is a directory for a state: in memory if possible, since simulated
// processes lose no power.
func stateDir(t testing.TB) string {
	dir, err := os.MkdirTemp("/dev/shm", "vgpukit-test-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}
