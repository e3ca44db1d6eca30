package vgpu

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"sync/atomic"

	"github.com/vgpukit/vgpukit/internal/flight"
	"github.com/vgpukit/vgpukit/internal/statedir"
)

// DefaultStateDir is where grants, owners and locks are kept unless said otherwise.
const DefaultStateDir = "/var/lib/vgpukit"

// Config is what a Manager works with.
type Config struct {
	Host       Host         // required
	Hypervisor Hypervisor   // required
	StateDir   string       // default DefaultStateDir; on one host all programs share one
	RuntimeDir string       // for what is of this boot only; default /run/vgpukit, or one of this user's
	Logger     *slog.Logger // default: silence
	Observer   Observer     // default: none
	Timeouts   Timeouts     // default: as its fields say
}

// Manager brings VMs with their vGPUs up and down. It is safe for concurrent
// use, and many Managers in many processes may share a host: they exclude each
// other by file locks in the state directory. A Manager holds nothing open
// between calls.
type Manager struct {
	host     Host
	hyper    Hypervisor
	keeper   Hypervisor // as it was given, for what else it can do
	libvirt  string     // which one it is, however its URI is spelled
	store    store
	log      *slog.Logger
	observer Observer
	timeouts Timeouts
	booted   atomic.Pointer[string] // of the host, as last seen

	readings flight.Shared[*reading]
	picks    picks
}

// New returns a Manager. It makes the state directory and leaves unfinished
// operations alone: call [Manager.Reconcile] when a program starts. What an earlier version left
// in the state directory is carried over by the first operation; stop programs of that version
// before.
func New(cfg Config) (*Manager, error) {
	if cfg.Host == nil || cfg.Hypervisor == nil {
		return nil, &Error{Op: "new manager", Kind: ErrInvalid, Err: errors.New("Config needs a Host and a Hypervisor"), Next: "open them with mdev.Open and virt.Open"}
	}
	m, err := cfg.open()
	if err != nil {
		return nil, &Error{Op: "new manager", Kind: kindOf(err), Err: err}
	}
	return m, nil
}

// open is New without the hypervisor, if there is none.
func (cfg Config) open() (*Manager, error) {
	if err := cfg.Timeouts.Check(); err != nil {
		return nil, err
	}
	m := &Manager{host: cfg.Host, log: cfg.Logger, observer: cfg.Observer, timeouts: cfg.Timeouts.orDefault()}
	if m.log == nil {
		m.log = slog.New(slog.DiscardHandler)
	}
	unknown := noBoot
	m.booted.Store(&unknown)
	if err := m.seeBoot(context.Background()); err != nil && !errors.Is(err, ErrNotFound) {
		return nil, err
	}
	var err error
	if cfg.Hypervisor != nil {
		m.hyper, m.keeper = patientHypervisor{cfg.Hypervisor, m.timeouts.Call}, cfg.Hypervisor
		if m.libvirt, err = m.checkLibvirt(cfg.Hypervisor.URI()); err != nil {
			return nil, err
		}
	}
	if m.store, err = openStore(cmp.Or(cfg.StateDir, DefaultStateDir), cfg.RuntimeDir); err != nil {
		return nil, err
	}
	if err := m.bind(context.Background()); err != nil {
		return nil, err
	}
	return m, m.enterBoot(context.Background())
}

// noBoot is that of a directory that is no machine.
const noBoot = "unknown"

// enterBoot removes the notes of another boot, where they outlived it: those of a simulated
// host, and those that are not below /run.
func (m *Manager) enterBoot(ctx context.Context) error {
	if m.boot() == noBoot {
		return nil
	}
	err := m.store.notes.EnterBoot(ctx, m.boot(), numbersDir, looksDir)
	if statedir.Unwritable(err) {
		m.log.Warn("notes of another boot cannot be removed", "dir", m.store.notes.Path(), "err", err)
		return nil
	}
	return err
}

// boot is the host's, as it was when the last operation began.
func (m *Manager) boot() string { return *m.booted.Load() }

// seeBoot looks which boot it is: a Manager may outlive that of another host.
func (m *Manager) seeBoot(ctx context.Context) error {
	boot, err := m.host.Boot(ctx)
	if err == nil && boot != m.boot() {
		m.booted.Store(&boot)
	}
	return err
}
