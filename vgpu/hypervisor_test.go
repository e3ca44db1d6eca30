package vgpu

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/google/uuid"

	"github.com/vgpukit/vgpukit/domain"
	"github.com/vgpukit/vgpukit/mdev/mdevtest"
)

// fakeHypervisor plays libvirt with QEMU over a simulated host: a VM that starts
// opens its vGPUs there, and one that ends lets them go.
type fakeHypervisor struct {
	sim *mdevtest.Host

	mu      sync.Mutex
	domains map[string]*fakeDomain
	pids    int
	calls   int
	// fault, if set, is asked before and after each call that changes something;
	// its error is the call's.
	fault func(call, vm string, after bool) error
	subs  []chan domain.Event

	deafGuests bool // guests ignore shutdown
	stuckQEMU  bool // QEMU ignores SIGTERM
	reboots    int
}

type fakeDomain struct {
	info    domain.Info
	xml     string
	release []func()
}

func newFakeHypervisor(sim *mdevtest.Host) *fakeHypervisor {
	return &fakeHypervisor{sim: sim, domains: map[string]*fakeDomain{}, pids: 1000}
}

func (f *fakeHypervisor) notFound(vm string) error {
	return &domain.Error{Op: "look up", Object: vm, Err: domain.ErrNotFound}
}

// call runs a change with the faults around it.
func (f *fakeHypervisor) call(ctx context.Context, name, vm string, do func() error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	f.mu.Lock()
	fault := f.fault
	f.calls++
	f.mu.Unlock()
	if fault != nil {
		if err := fault(name, vm, false); err != nil {
			return err
		}
	}
	f.mu.Lock()
	err := do()
	f.mu.Unlock()
	if err == nil && fault != nil {
		err = fault(name, vm, true)
	}
	return err
}

func (f *fakeHypervisor) Domains(ctx context.Context) ([]domain.Info, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var infos []domain.Info
	for _, d := range f.domains {
		infos = append(infos, d.info)
	}
	slices.SortFunc(infos, func(a, b domain.Info) int { return strings.Compare(a.Name, b.Name) })
	return infos, ctx.Err()
}

func (f *fakeHypervisor) Info(ctx context.Context, vm string) (domain.Info, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	d, ok := f.domains[vm]
	if !ok {
		return domain.Info{}, f.notFound(vm)
	}
	return d.info, ctx.Err()
}

func (f *fakeHypervisor) URI() string { return "fake:///" }

func (f *fakeHypervisor) Definition(ctx context.Context, vm string) (domain.Definition, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	d, ok := f.domains[vm]
	if !ok {
		return domain.Definition{}, f.notFound(vm)
	}
	return domain.Definition{Info: d.info, XML: d.xml}, ctx.Err()
}

// xml is the document of a domain.
func (f *fakeHypervisor) xml(vm string) (string, error) {
	def, err := f.Definition(context.Background(), vm)
	return def.XML, err
}

func (f *fakeHypervisor) Define(ctx context.Context, xml string) (info domain.Info, err error) {
	doc, err := domain.Parse([]byte(xml))
	if err != nil {
		return domain.Info{}, err
	}
	err = f.call(ctx, "define", doc.Name(), func() error {
		id, ok := doc.UUID()
		old, there := f.domains[doc.Name()]
		switch {
		case ok && there && old.info.UUID != id:
			return &domain.Error{Op: "define", Object: doc.Name(), Err: domain.ErrExists}
		case !ok && there:
			id = old.info.UUID
		case !ok:
			id = uuid.New()
		}
		if !there {
			old = &fakeDomain{info: domain.Info{Name: doc.Name(), UUID: id, State: domain.StateShutOff, Persistent: true}}
			f.domains[doc.Name()] = old
		}
		old.xml = xml
		info = old.info
		return nil
	})
	return info, err
}

func (f *fakeHypervisor) Undefine(ctx context.Context, vm string, _ domain.UndefineOptions) error {
	return f.call(ctx, "undefine", vm, func() error {
		d, ok := f.domains[vm]
		if !ok {
			return f.notFound(vm)
		}
		if d.info.State.Active() {
			d.info.Persistent = false
		} else {
			delete(f.domains, vm)
		}
		return nil
	})
}

func (f *fakeHypervisor) Start(ctx context.Context, vm string) error {
	return f.call(ctx, "start", vm, func() error {
		d, ok := f.domains[vm]
		if !ok {
			return f.notFound(vm)
		}
		if d.info.State.Active() {
			return &domain.Error{Op: "start", Object: vm, Meaning: "domain is already running", Err: domain.ErrState}
		}
		doc, err := domain.Parse([]byte(d.xml))
		if err != nil {
			return err
		}
		f.pids++
		for _, h := range doc.Hostdevs() {
			release, err := f.sim.Use(h.ID(), vm, f.pids)
			if err != nil {
				d.letGo()
				return &domain.Error{Op: "start", Object: vm, Meaning: fmt.Sprintf("mediated device '%s': %v", h.ID(), err), Err: domain.ErrNotFound}
			}
			d.release = append(d.release, release)
		}
		d.info.State = domain.StateRunning
		f.emit(vm, domain.EventStarted)
		return nil
	})
}

func (d *fakeDomain) letGo() {
	for _, release := range d.release {
		release()
	}
	d.release = nil
}

// end lets a VM's process end; the lock is held.
func (f *fakeHypervisor) end(vm string, state domain.State) {
	d, ok := f.domains[vm]
	if !ok || !d.info.State.Active() {
		return
	}
	d.letGo()
	d.info.State = state
	if !d.info.Persistent {
		delete(f.domains, vm)
	}
	f.emit(vm, domain.EventStopped)
}

func (f *fakeHypervisor) ending(ctx context.Context, call, vm string, ignored bool) error {
	return f.call(ctx, call, vm, func() error {
		d, ok := f.domains[vm]
		if !ok {
			return f.notFound(vm)
		}
		if !d.info.State.Active() {
			return &domain.Error{Op: call, Object: vm, Meaning: "domain is not running", Err: domain.ErrState}
		}
		if !ignored {
			f.end(vm, domain.StateShutOff)
		}
		return nil
	})
}

func (f *fakeHypervisor) Shutdown(ctx context.Context, vm string, _ domain.ShutdownMode) error {
	return f.ending(ctx, "shutdown", vm, f.deafGuests)
}

func (f *fakeHypervisor) Terminate(ctx context.Context, vm string) error {
	return f.ending(ctx, "terminate", vm, f.stuckQEMU)
}

func (f *fakeHypervisor) Destroy(ctx context.Context, vm string) error {
	return f.ending(ctx, "destroy", vm, false)
}

// crash lets a VM die by itself, as when somebody kills its QEMU.
func (f *fakeHypervisor) crash(vm string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.end(vm, domain.StateCrashed)
}

// rename is virsh's domrename.
func (f *fakeHypervisor) rename(vm, to string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	d := f.domains[vm]
	delete(f.domains, vm)
	d.info.Name = to
	f.domains[to] = d
}

// reboot is the host's: all VMs end without a word, definitions stay.
func (f *fakeHypervisor) reboot() {
	f.mu.Lock()
	for name, d := range f.domains {
		d.release = nil
		d.info.State = domain.StateShutOff
		if !d.info.Persistent {
			delete(f.domains, name)
		}
	}
	f.reboots++
	f.mu.Unlock()
	f.sim.Reboot()
}

func (f *fakeHypervisor) emit(vm string, kind domain.EventKind) {
	for _, sub := range f.subs {
		select {
		case sub <- domain.Event{VM: vm, Kind: kind}:
		default: // a slow listener; the Manager polls besides
		}
	}
}

func (f *fakeHypervisor) Events(ctx context.Context) (<-chan domain.Event, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	sub := make(chan domain.Event, 64)
	f.subs = append(f.subs, sub)
	context.AfterFunc(ctx, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.subs = slices.DeleteFunc(f.subs, func(c chan domain.Event) bool { return c == sub })
		close(sub)
	})
	return sub, nil
}
