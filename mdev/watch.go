package mdev

import (
	"context"
	"path"
	"slices"
	"strings"
	"time"
)

// vfPoll is how often virtual functions of the vendor-specific framework are
// looked at: the kernel tells nothing of a type that is written there.
const vfPoll = 2 * time.Second

// pciSettle is how long PCI functions may take to come or go before the host is
// read again.
const pciSettle = 100 * time.Millisecond

// rescanPause is the longest pause before the host is read again when that failed.
const rescanPause = 10 * time.Second

// ChangeKind is what happened.
type ChangeKind string

// The kinds of changes.
const (
	// ChangeScanned: Inventory is the whole host. The first change is one, and
	// one follows whenever events were lost.
	ChangeScanned       ChangeKind = "scanned"
	ChangeParentAdded   ChangeKind = "parent-added"
	ChangeParentRemoved ChangeKind = "parent-removed"
	ChangeDeviceAdded   ChangeKind = "device-added" // for a virtual function: it was given a type
	ChangeDeviceRemoved ChangeKind = "device-removed"
	// ChangeProblem: Problem says what went wrong. When the host could not be
	// read, that is tried again, and the changes that were missed follow. When
	// no more events come, it is the last change, before the channel closes.
	ChangeProblem ChangeKind = "problem"
)

// Change is one thing that happened on a host.
type Change struct {
	Kind      ChangeKind `json:"kind"`
	Parent    string     `json:"parent,omitempty"`    // its name; of a device, its parent's
	Device    *Device    `json:"device,omitempty"`    // as it was read then; of a removed one, as it was known
	Inventory *Inventory `json:"inventory,omitempty"` // of ChangeScanned
	Problem   *Problem   `json:"problem,omitempty"`   // of ChangeProblem
}

// Watch tells what happens to parents and devices, from the kernel's events,
// until ctx ends; then the channel is closed. The first change has the whole
// inventory; nothing between it and the next change is missed. When events were
// lost, because the receiver was too slow for too long, an inventory follows,
// and after it the changes that had been missed. A source of events that fails is
// told as a [ChangeProblem] before the channel closes: call Watch again.
//
// A device that is added is told once it has its type. Who has it open is in the
// inventories only.
//
// It fails with [ErrUnsupported] when there is no source of events: on a root
// other than "/", and in a network namespace that belongs to another user
// namespace than the host's, as in a rootless container, unless that cannot be
// known. Other network namespaces get the events.
func (h *Host) Watch(ctx context.Context) (<-chan Change, error) {
	source, ok := h.fs.(WatchFS)
	if !ok {
		return nil, &Error{Op: "watch", Meaning: "this host's files have no events", Next: "implement mdev.WatchFS on its FS, or read the inventory again from time to time", Kind: ErrUnsupported}
	}
	ctx, cancel := context.WithCancel(ctx)
	events, err := source.Uevents(ctx)
	if err != nil {
		cancel()
		return nil, err
	}
	inventory, err := h.Inventory(ctx)
	if err != nil {
		cancel()
		return nil, err
	}
	w := &watch{host: h, changes: make(chan Change, 16)}
	w.parents, w.devices = inventory.index()
	go func() {
		defer cancel()
		defer close(w.changes)
		if w.tell(ctx, Change{Kind: ChangeScanned, Inventory: inventory}) {
			w.run(ctx, events)
		}
	}()
	return w.changes, nil
}

// watch is what was last told.
type watch struct {
	host    *Host
	changes chan Change
	parents map[string]Framework
	devices map[string]Device
	due     <-chan time.Time // when to read the host again; nil: not asked for
	pause   time.Duration    // before the next try; 0: the last one worked
	lost    bool             // events were lost, and no inventory was told since
}

func (w *watch) run(ctx context.Context, events <-chan Uevent) {
	poll := time.NewTicker(vfPoll)
	defer poll.Stop()
	for {
		ok := true
		select {
		case event, open := <-events:
			if !open || event.Err != nil {
				w.ended(ctx, event.Err)
				return
			}
			ok = w.event(ctx, &event)
		case <-w.due:
			w.due = nil
			ok = w.rescan(ctx)
		case <-poll.C:
			if w.vfChanged(ctx) {
				ok = w.rescan(ctx)
			}
		case <-ctx.Done():
			return
		}
		if !ok {
			return
		}
	}
}

// ended tells that no more events come, unless that is because ctx has ended.
func (w *watch) ended(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return
	}
	p := Problem{Object: "events", Text: "no more events come: their source has ended", Next: "watch again", Err: err}
	if err != nil {
		p.Text += ": " + err.Error()
	}
	w.tell(ctx, Change{Kind: ChangeProblem, Problem: &p})
}

// vfChanged tells whether a virtual function of the vendor-specific framework
// was given a type or lost it.
func (w *watch) vfChanged(ctx context.Context) bool {
	ctx, cancel := bounded(ctx, readTimeout)
	defer cancel()
	for name, framework := range w.parents {
		if framework != FrameworkVendorVFIO {
			continue
		}
		data, err := w.host.readFile(ctx, path.Join(pciDevicesDir, name, currentFile))
		if err != nil && !absent(err) {
			continue // reading all the rest tells no more
		}
		current := strings.TrimSpace(string(data))
		if current == noVGPU {
			current = ""
		}
		if err != nil || current != w.devices[name].Type {
			return true
		}
	}
	return false
}

// event answers one event; false when ctx has ended.
func (w *watch) event(ctx context.Context, event *Uevent) bool {
	name := path.Base(event.Path)
	switch {
	case event.Lost:
		w.lost = true
		return w.rescan(ctx)
	case event.Env["SUBSYSTEM"] == "mdev" && isUUID(name):
		return w.mdevEvent(ctx, event.Action, name)
	case event.Env["MDEV_STATE"] == "registered" && event.Action == "change":
		return w.parentAdded(ctx, name, FrameworkMdev)
	case event.Env["MDEV_STATE"] == "unregistered" && event.Action == "change":
		return w.parentRemoved(ctx, name)
	case event.Env["SUBSYSTEM"] == "pci" && w.host.mayBeGPU(event) && w.due == nil:
		w.due = time.After(pciSettle) // many functions come and go together
	}
	return true
}

// mayBeGPU leaves out the PCI functions that are none.
func (h *Host) mayBeGPU(event *Uevent) bool {
	id, class := event.Env["PCI_ID"], event.Env["PCI_CLASS"]
	return len(id) < 4 || id[:4] == "10DE" || id[:4] == "8086" || len(class) > 0 && class[0] == '3'
}

func (w *watch) mdevEvent(ctx context.Context, action, id string) bool {
	known, was := w.devices[id]
	if action == "remove" {
		if !was {
			return true
		}
		delete(w.devices, id)
		return w.tell(ctx, Change{Kind: ChangeDeviceRemoved, Parent: known.Parent, Device: &known})
	}
	if was {
		return true
	}
	// Its type is linked after the event is sent.
	wait := newPatience(time.Second)
	for {
		dev, err := w.find(ctx, id)
		if err != nil {
			return true // gone again
		}
		if dev.State == StateReady || !wait.sleep(ctx) {
			w.devices[id] = dev
			return w.tell(ctx, Change{Kind: ChangeDeviceAdded, Parent: dev.Parent, Device: &dev})
		}
	}
}

func (w *watch) find(ctx context.Context, id string) (Device, error) {
	ctx, cancel := bounded(ctx, readTimeout)
	defer cancel()
	return w.host.find(ctx, "watch", id)
}

func (w *watch) parentAdded(ctx context.Context, name string, framework Framework) bool {
	if _, was := w.parents[name]; was {
		return true
	}
	w.parents[name] = framework
	return w.tell(ctx, Change{Kind: ChangeParentAdded, Parent: name})
}

func (w *watch) parentRemoved(ctx context.Context, name string) bool {
	if _, was := w.parents[name]; !was {
		return true
	}
	delete(w.parents, name)
	return w.tell(ctx, Change{Kind: ChangeParentRemoved, Parent: name})
}

// rescan reads the host again and tells the differences. What fails is tried
// again later.
func (w *watch) rescan(ctx context.Context) bool {
	inventory, err := w.host.Inventory(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return false
		}
		first := w.pause == 0
		w.pause = min(max(2*w.pause, pciSettle), rescanPause)
		w.due = time.After(w.pause)
		w.host.log.WarnContext(ctx, "the host could not be read again after an event", "error", err, "next", w.pause)
		p := Problem{Object: "inventory", Text: "the host could not be read again after an event: " + err.Error(), Next: "nothing: it is tried again", Err: err}
		return !first || w.tell(ctx, Change{Kind: ChangeProblem, Problem: &p})
	}
	w.pause = 0
	if w.lost && !w.tell(ctx, Change{Kind: ChangeScanned, Inventory: inventory}) {
		return false
	}
	w.lost = false
	parents, devices := inventory.index()
	for id, dev := range w.devices {
		if now, still := devices[id]; still && now.Type == dev.Type && now.Parent == dev.Parent {
			continue
		}
		if inventory.unread(dev.Parent) {
			continue // not seen, which is not gone
		}
		delete(w.devices, id)
		if !w.tell(ctx, Change{Kind: ChangeDeviceRemoved, Parent: dev.Parent, Device: &dev}) {
			return false
		}
	}
	for name := range w.parents {
		if _, still := parents[name]; !still && !inventory.unread(name) && !w.parentRemoved(ctx, name) {
			return false
		}
	}
	for _, name := range sortedNames(parents) {
		if !w.parentAdded(ctx, name, parents[name]) {
			return false
		}
	}
	for _, id := range sortedNames(devices) {
		dev := devices[id]
		if _, was := w.devices[id]; was {
			continue
		}
		w.devices[id] = dev
		if !w.tell(ctx, Change{Kind: ChangeDeviceAdded, Parent: dev.Parent, Device: &dev}) {
			return false
		}
	}
	return true
}

func (w *watch) tell(ctx context.Context, change Change) bool {
	select {
	case w.changes <- change:
		return true
	case <-ctx.Done():
		return false
	}
}

// index lists an inventory's parents, and its devices, ghosts too.
func (inv *Inventory) index() (map[string]Framework, map[string]Device) {
	parents, devices := map[string]Framework{}, map[string]Device{}
	for i := range inv.GPUs {
		for j := range inv.GPUs[i].Parents {
			p := &inv.GPUs[i].Parents[j]
			parents[p.Name] = p.Framework
			for _, dev := range p.Devices {
				devices[dev.ID] = dev
			}
		}
	}
	return parents, devices
}

// unread tells whether something about a parent is there and could not be read.
func (inv *Inventory) unread(parent string) bool {
	for _, p := range inv.Problems {
		if p.unread() && (p.Object == pciDevicesDir || strings.Contains(p.Object, parent)) {
			return true
		}
	}
	for i := range inv.GPUs {
		for j := range inv.GPUs[i].Parents {
			p := &inv.GPUs[i].Parents[j]
			if p.Name == parent && slices.ContainsFunc(p.Problems, Problem.unread) {
				return true
			}
		}
	}
	return false
}

func sortedNames[V any](m map[string]V) []string {
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	slices.SortFunc(names, compareNames)
	return names
}
