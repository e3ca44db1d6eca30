package vgpu

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"strings"
)

// DefaultStateDir is where journal, claims and locks are kept unless said otherwise.
const DefaultStateDir = "/var/lib/vgpukit"

// Config is what a Manager works with.
type Config struct {
	Host       Host         // required
	Hypervisor Hypervisor   // required
	StateDir   string       // default DefaultStateDir; on one host all programs share one
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
	if err := cfg.Timeouts.Check(); err != nil {
		return nil, &Error{Op: "new manager", Kind: ErrInvalid, Err: err}
	}
	m := &Manager{host: cfg.Host, log: cfg.Logger, observer: cfg.Observer, timeouts: cfg.Timeouts.orDefault(), boot: "unknown"}
	if m.log == nil {
		m.log = slog.New(slog.DiscardHandler)
	}
	switch boot, err := cfg.Host.Boot(context.Background()); {
	case err == nil:
		m.boot = boot
	case !errors.Is(err, ErrNotFound): // a directory that is no machine has none
		return nil, &Error{Op: "new manager", Kind: kindOf(err), Err: err}
	}
	m.hyper = patientHypervisor{cfg.Hypervisor, m.timeouts.Call}
	dir := cmp.Or(cfg.StateDir, DefaultStateDir)
	s, err := openStore(dir)
	if err != nil {
		return nil, &Error{Op: "new manager", Kind: kindOf(err), Err: err}
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
