package vgpu

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/vgpukit/vgpukit/domain"
	"github.com/vgpukit/vgpukit/mdev"
)

// DefaultStateDir is where journal, claims and locks are kept unless said otherwise.
const DefaultStateDir = "/var/lib/vgpukit"

// Config is what a Manager works with.
type Config struct {
	Host       Host         // required
	Hypervisor Hypervisor   // required
	StateDir   string       // default DefaultStateDir; on one host all programs share one
	Logger     *slog.Logger // default: silence
	Observer   Observer     // default: nobody
	Timeouts   Timeouts     // default: as its fields say
}

// Timeouts bound the Manager's waits. A caller's context ends them earlier. Zero
// fields have the default.
type Timeouts struct {
	Lock    time.Duration // for another operation on the VM or the GPU: 30 s
	Call    time.Duration // for libvirt to answer, where it is not told to wait longer: 60 s
	Start   time.Duration // for a VM to start and be seen running: 60 s
	Release time.Duration // for a stopped VM's vGPUs to be let go, driver included: 30 s
	Undo    time.Duration // for undoing a failed operation, all in all: 60 s
}

// Manager brings VMs with their vGPUs up and down. It is safe for concurrent
// use, and many Managers in many processes may share a host: they exclude each
// other by file locks in the state directory. A Manager holds nothing open
// between calls.
type Manager struct {
	host     Host
	hyper    Hypervisor
	store    store
	log      *slog.Logger
	observer Observer
	timeouts Timeouts
	boot     string // of the host
}

// New returns a Manager. It makes the state directory and leaves unfinished
// operations alone: call [Manager.Reconcile] when a program starts.
func New(cfg Config) (*Manager, error) {
	if cfg.Host == nil || cfg.Hypervisor == nil {
		return nil, &Error{Op: "new manager", Kind: ErrInvalid, Err: errors.New("Config needs a Host and a Hypervisor"), Next: "open them with mdev.Open and virt.Open"}
	}
	m := &Manager{host: cfg.Host, log: cfg.Logger, observer: cfg.Observer, timeouts: cfg.Timeouts, boot: bootID()}
	if m.log == nil {
		m.log = slog.New(slog.DiscardHandler)
	}
	t := &m.timeouts
	t.Lock, t.Call, t.Start = cmp.Or(t.Lock, 30*time.Second), cmp.Or(t.Call, time.Minute), cmp.Or(t.Start, time.Minute)
	t.Release, t.Undo = cmp.Or(t.Release, 30*time.Second), cmp.Or(t.Undo, time.Minute)
	m.hyper = patientHypervisor{cfg.Hypervisor, t.Call}
	dir := cmp.Or(cfg.StateDir, DefaultStateDir)
	s, err := openStore(dir)
	if err != nil {
		return nil, (store{dir: dir}).explain(err)
	}
	m.store = s
	return m, nil
}

// checkName refuses names that libvirt refuses too, before they are used.
func checkName(name string) error {
	switch {
	case name == "":
		return invalid("give the domain a <name>", "the domain has no name")
	case strings.ContainsAny(name, "/\n\x00"), name == ".", name == "..":
		return invalid("choose a name without slashes and line ends", "%q is not a domain's name", name)
	}
	return nil
}

// withVM runs an operation under the VM's lock, after whatever was interrupted
// on that VM was finished or undone.
func (m *Manager) withVM(ctx context.Context, o *operation, do func(*view) (VM, error)) (VM, error) {
	if err := checkName(o.vm); err != nil {
		return VM{}, o.wrap("check", "", err)
	}
	unlock, err := m.lockVM(ctx, o)
	if err != nil {
		return VM{}, err
	}
	defer unlock()
	v, err := o.look(ctx)
	if err == nil && v.intent != nil && !o.supersedes(v) {
		if err = o.step("recover", v.intent.Operation, func() error { return m.recover(ctx, v) }); err == nil {
			v, err = o.look(ctx)
		}
	}
	if err != nil {
		return VM{}, err
	}
	vm, err := do(v)
	if err != nil && !v.defined && v.claim == nil {
		m.store.dropLock(o.vm) // there is no such VM
	}
	return vm, err
}

// look is the Manager's, as a step. It refuses a VM that another libvirt has.
func (o *operation) look(ctx context.Context) (v *view, err error) {
	err = o.step("look", "", func() error {
		if v, err = o.m.look(ctx, o.vm); err == nil {
			err = o.m.here(v)
		}
		return err
	})
	return v, err
}

// here refuses a VM that another libvirt has.
func (m *Manager) here(v *view) error {
	if v.elsewhere == "" {
		return nil
	}
	return &Error{
		Kind: ErrExists, Err: fmt.Errorf("it was provisioned through libvirt at %s, and this is %s", v.elsewhere, m.hyper.URI()),
		Next: "connect to that libvirt, or choose another name",
	}
}

// supersedes tells whether this operation does what the one that was interrupted
// began, and as this caller wants it.
func (o *operation) supersedes(v *view) bool {
	switch o.op {
	case opStop:
		return v.intent.Operation == opStop && v.ours
	case opTeardown:
		return (v.intent.Operation == opStop || v.intent.Operation == opTeardown) && (v.ours || !v.defined)
	}
	return false
}

func (m *Manager) lockVM(ctx context.Context, o *operation) (unlock func(), err error) {
	err = o.step("lock", "", func() error {
		ctx, cancel := context.WithTimeout(ctx, m.timeouts.Lock)
		defer cancel()
		unlock, err = m.store.lock(ctx, "vm", o.vm, o.op+" "+o.vm)
		return err
	})
	return unlock, err
}

// look observes one VM: domain, metadata, claim, intent and devices. The VM's
// lock is held, so that damaged entries can be set aside.
func (m *Manager) look(ctx context.Context, name string) (*view, error) {
	v, damaged, err := m.observe(ctx, name)
	for _, d := range damaged {
		to, err := m.store.setAside(d)
		if err != nil {
			return nil, err
		}
		m.log.Warn("damaged entry set aside", "vm", name, "file", to, "err", d.err)
	}
	return v, err
}

// observe is look for who does not hold the lock. It leaves damaged entries, which
// count as not there, to others.
func (m *Manager) observe(ctx context.Context, name string) (v *view, damaged []*damagedError, err error) {
	v = &view{}
	for _, place := range []struct {
		sub string
		to  **record
	}{{journalDir, &v.intent}, {claimsDir, &v.claim}} {
		r, ok, err := m.store.read(place.sub, name)
		var harm *damagedError
		if errors.As(err, &harm) {
			damaged = append(damaged, harm)
			continue
		}
		if err != nil {
			return nil, damaged, err
		}
		if ok {
			*place.to = &r
		}
	}
	err = v.read(ctx, m.hyper, name)
	if errors.Is(err, domain.ErrNotFound) {
		err = v.own()
	}
	if err != nil {
		return nil, damaged, err
	}
	return v, damaged, m.find(v, name, func(id string) (mdev.Device, error) { return m.host.Find(ctx, id) })
}

// read takes the domain and its document into the view.
func (v *view) read(ctx context.Context, hyper Hypervisor, name string) error {
	def, err := hyper.Definition(ctx, name)
	if err != nil {
		return err
	}
	v.info, v.defined = def.Info, true
	if v.doc, err = domain.Parse([]byte(def.XML)); err != nil {
		return err
	}
	return v.own()
}

// find looks up the VM's devices. A virtual function that has a vGPU of another
// VM or of a stranger counts as not there: the VM takes the next one.
func (m *Manager) find(v *view, name string, device func(id string) (mdev.Device, error)) error {
	v.found, v.leased, v.foreign = map[string]mdev.Device{}, map[string]bool{}, map[string]string{}
	for _, r := range []*record{v.intent, v.claim} {
		if r != nil && !v.defined && r.Hypervisor != m.hyper.URI() {
			v.elsewhere = r.Hypervisor
		}
	}
	for _, d := range v.everyDevice() {
		found, err := device(d.ID)
		switch {
		case errors.Is(err, mdev.ErrNotFound):
			if d.vf() {
				l, known, err := m.store.lease(d.ID)
				if err != nil {
					return err
				}
				v.leased[d.ID] = known && l.VM == name && l.Boot == m.boot
			}
		case err != nil:
			return err
		case found.State == mdev.StateGhost: // it cannot be used again, and goes by itself
		case d.vf():
			mine, err := m.owns(v, name, d.ID)
			if err != nil {
				return err
			}
			if mine && found.Type == d.Type {
				v.found[d.ID] = found
			}
		case found.Type != "" && found.Type != d.Type:
			v.foreign[d.ID] = fmt.Sprintf("it is of type %s, not %s: somebody else made it", found.Type, d.Type)
		default:
			v.found[d.ID] = found
		}
	}
	return nil
}

// own finds out which vGPUs are the VM's: the document's metadata outranks the
// claim, the claim the intent.
func (v *view) own() error {
	v.life = Reserved
	switch {
	case v.claim != nil:
		v.devices, v.life = v.claim.Devices, v.claim.Lifetime
	case v.intent != nil:
		v.devices, v.life = v.intent.Devices, v.intent.Lifetime
	}
	if v.doc == nil {
		return nil
	}
	meta, ok, err := v.doc.Metadata()
	if err != nil || !ok {
		return err
	}
	pins := map[string]string{}
	for _, d := range v.devices {
		pins[d.ID] = d.Pin
	}
	v.ours, v.devices = true, nil
	for _, g := range meta.VGPUs {
		v.devices = append(v.devices, device{ID: g.ID, Type: g.Type, Parent: g.Parent, Params: fromMetadata(g.Params), Pin: pins[g.ID]})
		v.life = Lifetime(g.Lifetime)
	}
	return nil
}

// everyDevice has the VM's devices and those of an unfinished operation and of
// the claim that the document does not name.
func (v *view) everyDevice() []device {
	all := append([]device(nil), v.devices...)
	seen := map[string]bool{}
	for _, d := range all {
		seen[d.ID] = true
	}
	for _, r := range []*record{v.intent, v.claim} {
		if r == nil {
			continue
		}
		for _, d := range r.Devices {
			if !seen[d.ID] {
				seen[d.ID] = true
				all = append(all, d)
			}
		}
	}
	return all
}

func fromMetadata(params []domain.Param) []mdev.Param {
	var out []mdev.Param
	for _, p := range params {
		out = append(out, mdev.Param{Name: p.Name, Value: p.Value})
	}
	return out
}

// metadata is what the VM's document says of its vGPUs.
func metadata(devices []device, life Lifetime) domain.Metadata {
	var meta domain.Metadata
	for _, d := range devices {
		g := domain.VGPU{ID: d.ID, Type: d.Type, Parent: d.Parent, Lifetime: string(life)}
		for _, p := range d.Params {
			g.Params = append(g.Params, domain.Param{Name: p.Name, Value: p.Value})
		}
		meta.VGPUs = append(meta.VGPUs, g)
	}
	return meta
}

// removeDevice removes a device that is the VM's, and is content if it is gone or
// somebody else's.
func (m *Manager) removeDevice(ctx context.Context, vm string, d device) error {
	if !d.vf() {
		return m.removeFound(ctx, d)
	}
	unlock, err := m.lockVF(ctx, d.ID, "remove "+d.ID)
	if err != nil {
		return err
	}
	defer unlock()
	l, known, err := m.store.lease(d.ID)
	if err != nil || known && (l.VM != vm || l.Boot != m.boot) {
		return err
	}
	if err := m.removeFound(ctx, d); err != nil {
		return err
	}
	return m.vacate(d.ID, vm)
}

func (m *Manager) removeFound(ctx context.Context, d device) error {
	found, err := m.host.Find(ctx, d.ID)
	if errors.Is(err, mdev.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if found.Type != "" && found.Type != d.Type {
		return nil // somebody else's by now
	}
	if err := m.host.Remove(ctx, d.ID); err != nil && !errors.Is(err, mdev.ErrNotFound) {
		return err
	}
	return nil
}

// pollFirst and pollMost bound how often something that sends no event is
// looked at.
const (
	pollFirst = 5 * time.Millisecond
	pollMost  = 250 * time.Millisecond
)

// poll calls done until it says so, fails, or ctx ends; wake may cut a pause
// short and may be nil.
func poll(ctx context.Context, wake <-chan domain.Event, done func() (bool, error)) error {
	pause := pollFirst
	for {
		ok, err := done()
		if ok || err != nil {
			return err
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case _, open := <-wake:
			if !open {
				wake = nil
			}
		case <-timer.C:
			pause = min(2*pause, pollMost)
		}
		timer.Stop()
	}
}
