package mdevtest

import (
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/vgpukit/vgpukit/mdev"
)

// Host is one simulated machine. All its methods are safe for concurrent use.
type Host struct {
	mu   sync.Mutex
	root *node

	boards   []Board // as plugged, for Reboot
	gpus     []*gpu
	parents  map[string]*parent
	devices  map[string]*device   // mdevs by UUID, ghosts too
	pci      map[string]*function // by address
	groups   map[int]*vfioDevice  // by IOMMU group
	vfioNums map[int]bool         // numbers of vfio-dev/vfioN
	procs    map[int]*process

	major, minor int // of the kernel
	readOnly     bool
	noGroups     bool          // of the kernel that is booted next
	cdevs        bool          // the running one has nodes of devices and none of groups
	skew         time.Duration // what Advance added to the clock
	machine      mdev.Machine

	faults    []*fault
	accesses  int
	crashed   chan struct{} // closed by a crash
	crashedBy *fault
	open      map[*openNode]func()

	watchers map[*watcher]struct{}
	onReboot []*func()
}

// New returns a host with these boards and Linux 6.12. It panics when a board
// cannot be there; [Host.Plug] returns the error instead.
func New(boards ...Board) *Host {
	h := &Host{
		major:    6,
		minor:    12,
		crashed:  make(chan struct{}),
		open:     make(map[*openNode]func()),
		watchers: make(map[*watcher]struct{}),
	}
	h.boot()
	h.SetMachine(newMachine())
	for _, b := range boards {
		if err := h.Plug(b); err != nil {
			panic(err)
		}
	}
	return h
}

// NewHost is [New] with boards as [NewBoard] takes them: "tesla-m60",
// "l40s@0000:41:00.0,vfs=8".
func NewHost(specs ...string) (*Host, error) {
	h := New()
	for _, spec := range specs {
		b, err := NewBoard(spec)
		if err == nil {
			err = h.Plug(b)
		}
		if err != nil {
			return nil, err
		}
	}
	return h, nil
}

// Devices returns all vGPUs that there are, by UUID or VF address, sorted, with those
// whose removal waits for a VM: a test that leaves nothing behind finds none.
func (h *Host) Devices() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	names := slices.Collect(maps.Keys(h.devices))
	for address, f := range h.pci {
		if f.vgpu != nil {
			names = append(names, address)
		}
	}
	slices.Sort(names)
	return names
}

// boot makes the tree of a machine without any GPU.
func (h *Host) boot() {
	etc := (*node)(nil)
	if h.root != nil {
		etc = h.root.kids["etc"]
	}
	h.root = h.newNode(nil, "", fs.ModeDir|0o755)
	for _, path := range []string{
		"sys/bus/pci/devices", "sys/bus/pci/drivers", "sys/class", "sys/devices", "sys/kernel/iommu_groups",
		"sys/class/vfio-dev", "dev/vfio", "proc",
	} {
		h.dir(h.root, path)
	}
	if etc == nil {
		h.dir(h.root, "etc")
	} else {
		h.root.kids["etc"], etc.parent = etc, h.root // a disk survives a reboot
	}
	h.bootVFIO()
	release := h.dir(h.root, "proc/sys/kernel")
	h.text(h.dir(release, "random"), "boot_id", uuid.NewString()+"\n")
	h.showDMI()
	h.attr(release, "osrelease", func() (string, error) { return fmt.Sprintf("%d.%d.0-mdevtest\n", h.major, h.minor), nil }, nil)

	h.gpus = nil
	h.parents = make(map[string]*parent)
	h.devices = make(map[string]*device)
	h.pci = make(map[string]*function)
	h.groups = make(map[int]*vfioDevice)
	h.vfioNums = make(map[int]bool)
	h.procs = make(map[int]*process)
}

// Plug adds a board.
func (h *Host) Plug(b Board) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	model, err := b.check()
	if err != nil {
		return err
	}
	if b, err = h.plug(b, model); err != nil {
		return err
	}
	h.boards = append(h.boards, b)
	return nil
}

// Unplug takes away a GPU with all its devices, by its PCI address, or a
// virtual parent by its name: the driver is unbound, the device falls off the
// bus. It fails while a VM uses one of its devices, where a real kernel would
// wait for the VM to end.
func (h *Host) Unplug(name string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i, g := range h.gpus {
		if g.name != name {
			continue
		}
		if d := g.userOf(); d != nil {
			return fmt.Errorf("unplug %s: %s is in use by %s", name, d.id, d.vfio.holder.vm)
		}
		h.unplug(g)
		h.gpus = slices.Delete(h.gpus, i, i+1)
		return nil
	}
	return fmt.Errorf("unplug %s: there is no such GPU", name)
}

// GPUs returns the names of the GPUs and virtual parents: PCI addresses,
// "mtty", "matrix".
func (h *Host) GPUs() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	var names []string
	for _, g := range h.gpus {
		names = append(names, g.name)
	}
	return names
}

// Reboot ends all VMs, and loses all mdevs, vGPU types of VFs, parameters and
// GPU instances. Boards come back as they were plugged, with [Board.VFs]
// enabled; files in etc/ stay. It returns when all that [Host.OnReboot] asked for
// is done.
func (h *Host) Reboot() {
	for _, f := range h.reboot() {
		(*f)()
	}
}

// OnReboot calls f after each reboot, until it is taken out again: what a service
// that starts at boot does. f may use the host.
func (h *Host) OnReboot(f func()) (remove func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.onReboot = append(h.onReboot, &f)
	return func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.onReboot = slices.DeleteFunc(h.onReboot, func(other *func()) bool { return other == &f })
	}
}

// reboot returns what is to be done after it.
func (h *Host) reboot() []*func() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, d := range h.devices {
		d.end()
	}
	for _, handle := range slices.Collect(maps.Keys(h.open)) {
		delete(h.open, handle)
	}
	h.boot()
	for _, b := range h.boards {
		model, err := b.check()
		if err == nil {
			_, err = h.plug(b, model)
		}
		if err != nil {
			panic(err) // it was there before
		}
	}
	return slices.Clone(h.onReboot)
}

// SetKernel says how old the kernel is. Before 5.14 a write to "remove" of a
// device in use fails with EBUSY instead of blocking; before 6.1 a driver
// without room says EPERM (ap, ccw) or ENOMEM (mdpy) instead of EUSERS.
func (h *Host) SetKernel(major, minor int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.major, h.minor = major, minor
}

func (h *Host) before(major, minor int) bool {
	return h.major < major || h.major == major && h.minor < minor
}

// SetVFIOGroups says whether the kernel that the next [Host.Reboot] boots has VFIO groups,
// as most do, or only nodes of the devices themselves, dev/vfio/devices/vfioN, for iommufd
// (CONFIG_VFIO_DEVICE_CDEV without CONFIG_VFIO_GROUP). Any number can open such a node,
// and one can bind it; a device whose node is open is removed when it is closed.
func (h *Host) SetVFIOGroups(has bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.noGroups = !has
}

// SetReadOnly makes sys/ read-only, as it is in an unprivileged container:
// every write fails with EROFS.
func (h *Host) SetReadOnly(readOnly bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.readOnly = readOnly
}

// Advance moves the host's clock forward, which otherwise runs with
// time.Now: what takes [Board.CleanUp] to end is sooner over. It panics when told to
// move it back.
func (h *Host) Advance(d time.Duration) {
	if d < 0 {
		panic(fmt.Sprintf("mdevtest: Advance by %v: the clock never goes back", d))
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.skew += d
	h.finishDue()
}

func (h *Host) now() time.Time { return time.Now().Add(h.skew) }
