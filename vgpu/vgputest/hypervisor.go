package vgputest

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/google/uuid"

	"github.com/vgpukit/vgpukit/domain"
	"github.com/vgpukit/vgpukit/internal/fanout"
	"github.com/vgpukit/vgpukit/mdev/mdevtest"
)

// Hypervisor is the libvirt of one simulated host, with its VMs. It has the methods of
// domain/virt.Conn that concern VMs, under the same names and with the same meanings,
// and what virsh can do besides; a VM is given by name or UUID. It is safe for
// concurrent use, and needs no closing.
type Hypervisor struct {
	*world
	virsh bool // somebody else's hand
}

// world is what all hands at one libvirt share.
type world struct {
	host *mdevtest.Host
	hub  fanout.Hub[domain.Event]

	mu          sync.Mutex
	uri         string
	machines    map[uuid.UUID]*machine
	names       map[string]*machine // the same
	files       map[string]image    // of the host, by path: saved VMs, firmware variables
	guests      map[string]Guest    // by VM; "": all others
	lastID      int
	down        bool
	booting     int  // reboots under way
	autostarted bool // since the host has booted
	onBoot      []*func()
	restarted   chan struct{} // closed when the daemon ends: its clients' connections break
	changed     chan struct{} // closed at the next change, for those who wait for one
	faults      []*injected
	calls       int
	messages    map[string]int // that clients have sent, by function
	limits      Limits         // of those that are served
}

// machine is one domain.
type machine struct {
	name       string
	uuid       uuid.UUID
	saved      string // its definition; empty: transient
	known      bool   // it was defined since it began to run, or is
	autostart  bool
	image      *image // its managed save
	snapshots  []snapshot
	lastReason reason

	lastSnapshot string // the current one: made or reverted to

	// While it is active.
	state   domain.State
	live    string
	id      int
	pid     int
	open    map[string]func() // its vGPUs, by UUID or VF address: lets go
	leaving map[string]bool   // aliases that the guest was asked to let go
}

// image is a file: the memory of a VM, of which its document and state are simulated, or
// the variables of its firmware.
type image struct {
	xml    string // the document that it ran with
	paused bool
}

// lastPID is of the QEMU that was started last, on any simulated host: a host may have
// several libvirts.
var lastPID atomic.Int64

func init() { lastPID.Store(1000) }

// New returns the libvirt of a host, without any domain. Reboots of the host end its
// VMs, and start those that are set to start with it.
func New(host *mdevtest.Host) *Hypervisor {
	w := &world{
		host: host, uri: "qemu:///system",
		machines: make(map[uuid.UUID]*machine), names: make(map[string]*machine),
		files: make(map[string]image), guests: make(map[string]Guest),
		autostarted: true, restarted: make(chan struct{}), changed: make(chan struct{}), messages: make(map[string]int),
	}
	host.OnReboot(w.boot)
	return &Hypervisor{world: w}
}

// Virsh returns the same libvirt for somebody else's hand: what is done with it, a
// [Fault] does not strike and [Hypervisor.Calls] does not count. A test changes things
// with it behind the back of the program that it tests.
func (h *Hypervisor) Virsh() *Hypervisor { return &Hypervisor{world: h.world, virsh: true} }

// URI returns "qemu:///system", or what [Hypervisor.SetURI] said.
func (h *Hypervisor) URI() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.uri
}

// SetURI makes it another libvirt, such as "qemu:///session" on the same host.
func (h *Hypervisor) SetURI(uri string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.uri = uri
}

// lookUp returns a VM by UUID or name, nil if there is none.
func (w *world) lookUp(vm string) *machine {
	if id, err := uuid.Parse(vm); err == nil && len(vm) == 36 {
		return w.machines[id]
	}
	return w.names[vm]
}

func (w *world) find(vm string) (*machine, error) {
	if m := w.lookUp(vm); m != nil {
		return m, nil
	}
	by := "name"
	if _, err := uuid.Parse(vm); err == nil && len(vm) == 36 {
		by = "uuid"
	}
	return nil, refuse(codeNoDomain, domain.ErrNotFound, "Domain not found: no domain with matching %s '%s'", by, vm)
}

// sorted returns the VMs by name.
func (w *world) sorted() []*machine {
	return slices.SortedFunc(maps.Values(w.machines), func(a, b *machine) int { return strings.Compare(a.name, b.name) })
}

func (m *machine) active() bool { return m.state.Active() }

func (m *machine) info() domain.Info {
	return domain.Info{Name: m.name, UUID: m.uuid, ID: m.id, State: m.state, Persistent: m.saved != ""}
}

// next is the document that it has when it starts next.
func (m *machine) next() string {
	if m.saved != "" {
		return m.saved
	}
	return m.live
}

// current is the document that it runs with, or would.
func (m *machine) current() string {
	if m.active() {
		return m.live
	}
	return m.saved
}

// Domains lists all VMs, by name.
func (h *Hypervisor) Domains(ctx context.Context) ([]domain.Info, error) {
	return call(ctx, h, Call{Method: "Domains"}, func() ([]domain.Info, error) {
		infos := []domain.Info{}
		for _, m := range h.sorted() {
			infos = append(infos, m.info())
		}
		return infos, nil
	})
}

// Lookup finds a VM's UUID by its name; [domain.ErrNotFound] if there is none.
func (h *Hypervisor) Lookup(ctx context.Context, vm string) (uuid.UUID, error) {
	return call(ctx, h, Call{Method: "Lookup", VM: vm}, func() (uuid.UUID, error) {
		if m := h.names[vm]; m != nil {
			return m.uuid, nil
		}
		return uuid.Nil, refuse(codeNoDomain, domain.ErrNotFound, "Domain not found: no domain with matching name '%s'", vm)
	})
}

// Info describes one VM. [domain.ErrNotFound]: there is none of that name or UUID.
func (h *Hypervisor) Info(ctx context.Context, vm string) (domain.Info, error) {
	return ask(ctx, h, "Info", vm, func(m *machine) (domain.Info, error) { return m.info(), nil })
}

// Definition is [Hypervisor.Info] and [Hypervisor.XML] with the secrets.
func (h *Hypervisor) Definition(ctx context.Context, vm string) (domain.Definition, error) {
	return ask(ctx, h, "Definition", vm, func(m *machine) (domain.Definition, error) {
		return domain.Definition{Info: m.info(), XML: m.next()}, nil
	})
}

// XML returns the document that the VM has when it starts next, without secrets.
func (h *Hypervisor) XML(ctx context.Context, vm string) (string, error) {
	return ask(ctx, h, "XML", vm, func(m *machine) (string, error) { return withoutSecrets(m.next()), nil })
}

// LiveXML returns the document of the VM as it runs, with the aliases of its devices; of
// a stopped VM, the saved definition.
func (h *Hypervisor) LiveXML(ctx context.Context, vm string) (string, error) {
	return ask(ctx, h, "LiveXML", vm, func(m *machine) (string, error) { return withoutSecrets(m.current()), nil })
}

// MigratableXML returns the live document in the form that another host takes, with
// the secrets.
func (h *Hypervisor) MigratableXML(ctx context.Context, vm string) (string, error) {
	return ask(ctx, h, "MigratableXML", vm, func(m *machine) (string, error) { return inactive(m.current()), nil })
}
