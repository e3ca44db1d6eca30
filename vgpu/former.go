package vgpu

import (
	"cmp"
	"encoding/json"
	"errors"
	"slices"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/vgpukit/vgpukit/domain"
	"github.com/vgpukit/vgpukit/internal/statedir"
	"github.com/vgpukit/vgpukit/mdev"
	"github.com/vgpukit/vgpukit/vgpu/placement"
)

// What earlier versions kept in the state directory:
//
//	journal/<vm>.json   an operation that is not finished
//	vms/<vm>.json       a claim: which vGPUs were made for the VM
//	vfs/<address>.json  a lease: which VM's vGPU a virtual function is
//
// The first operation moves it below former/, in folders of the same names, and carries it over
// from there, VM by VM.
const (
	journalDir = "journal"
	leasesDir  = "vfs"
	formerDir  = "former"
)

// formerSpace is where UUIDs come from that are made of what earlier versions wrote.
var formerSpace = uuid.MustParse("5c2c1f0e-5a3b-4c8e-9a55-0b6f5f1f7d23")

// record is what earlier versions stored of one VM, as intent or as claim.
type record struct {
	VM         string            `json:"vm"`
	UUID       uuid.UUID         `json:"uuid"` // the VM's, zero if its first document had none
	Operation  string            `json:"operation"`
	Since      time.Time         `json:"since"`
	PID        int               `json:"pid"`
	Lifetime   Lifetime          `json:"lifetime"`
	Devices    []device          `json:"devices"`
	Hypervisor string            `json:"hypervisor"` // the URI of the libvirt that has the VM
	Placement  placement.Options `json:"placement,omitzero"`
	// Makes has the ids of the devices that the operation makes.
	Makes []string `json:"makes,omitempty"`
	// Was has the VM's vGPUs before some of them moved, once its document may be changed.
	Was      []device         `json:"was,omitempty"`
	Stop     *StopOptions     `json:"stop,omitempty"`
	Teardown *TeardownOptions `json:"teardown,omitempty"`
}

func (r record) name() string { return r.VM }

// UnmarshalJSON reads also what was called otherwise, and wishes with times as numbers, of
// which a negative one meant that the guest is not asked.
func (r *record) UnmarshalJSON(data []byte) error {
	type plain record
	type stop struct{ Guest, Terminate time.Duration }
	var old struct {
		Stop     *stop
		Teardown *struct {
			Stop     stop
			Undefine struct{ ManagedSave, NVRAM, KeepNVRAM, SnapshotsMetadata, CheckpointsMetadata bool }
		}
		Placement struct {
			Apart bool
			Has   []placement.Use
		}
	}
	if err := errors.Join(json.Unmarshal(data, (*plain)(r)), json.Unmarshal(data, &old)); err != nil {
		return err
	}
	carry := func(to *StopOptions, from stop) {
		to.SkipGuest = to.SkipGuest || from.Guest < 0
		to.GuestTimeout = cmp.Or(to.GuestTimeout, max(from.Guest, 0))
		to.TerminateTimeout = cmp.Or(to.TerminateTimeout, from.Terminate)
	}
	if old.Stop != nil {
		carry(r.Stop, *old.Stop)
	}
	if was := old.Teardown; was != nil {
		carry(&r.Teardown.Stop, was.Stop)
		r.Teardown.Undefine = mergeUndefine(r.Teardown.Undefine, domain.UndefineOptions(was.Undefine))
	}
	r.Placement.AntiAffinity = r.Placement.AntiAffinity || old.Placement.Apart
	r.Placement.Existing = append(r.Placement.Existing, old.Placement.Has...)
	return nil
}

// mergeUndefine is what either wishes.
func mergeUndefine(a, b domain.UndefineOptions) domain.UndefineOptions {
	return domain.UndefineOptions{
		ManagedSave: a.ManagedSave || b.ManagedSave, NVRAM: a.NVRAM || b.NVRAM, KeepNVRAM: a.KeepNVRAM || b.KeepNVRAM,
		SnapshotsMetadata:   a.SnapshotsMetadata || b.SnapshotsMetadata,
		CheckpointsMetadata: a.CheckpointsMetadata || b.CheckpointsMetadata,
	}
}

// lease said whose vGPU a virtual function was.
type lease struct {
	VF   string `json:"vf"`
	VM   string `json:"vm"`             // its name
	Boot string `json:"boot,omitempty"` // of the host; empty: void
}

func (l lease) name() string { return l.VF }

// former is what earlier versions wrote, below former/.
type former struct {
	claims, intents statedir.Entries[record]
	leases          statedir.Entries[lease]

	settled atomic.Bool            // there is nothing of them
	held    atomic.Pointer[[]held] // what could not be carried over, at the last try
}

func formerIn(dir *statedir.Dir) *former {
	return &former{
		claims:  statedir.In(dir, formerDir+"/"+vmsDir, record.name),
		intents: statedir.In(dir, formerDir+"/"+journalDir, record.name),
		leases:  statedir.In(dir, formerDir+"/"+leasesDir, lease.name),
	}
}

// held is a VM that is not carried over yet.
type held struct {
	name string // the VM's; of what cannot be read, the file's
	id   uuid.UUID
	ids  []string // of its devices
	err  error    // why
}

// heldBack is why a VM that is meant by one of the names is not carried over; nil if it is, or
// if earlier versions did not know it.
func (m *Manager) heldBack(names ...string) error {
	all := m.store.former.held.Load()
	if all == nil {
		return nil
	}
	for _, h := range *all {
		if slices.Contains(names, h.name) || slices.Contains(names, h.id.String()) {
			return h.err
		}
	}
	return nil
}

// formerVM is what earlier versions stored of one VM.
type formerVM struct {
	name          string
	claim, intent *record
	leases        map[string]lease // of all VMs
	all           map[string]formerVM
}

// latest is the record that was written last.
func (f formerVM) latest() record {
	if f.intent != nil {
		return *f.intent
	}
	return *f.claim
}

// uuid is the VM's, zero if the records do not tell.
func (f formerVM) uuid() uuid.UUID {
	if f.claim != nil && f.claim.UUID != uuid.Nil {
		return f.claim.UUID
	}
	return f.latest().UUID
}

// known has all devices that the records name.
func (f formerVM) known() map[string]device {
	known := map[string]device{}
	for _, r := range []*record{f.claim, f.intent} {
		if r != nil {
			for _, d := range slices.Concat(r.Was, r.Devices) {
				known[d.ID] = d
			}
		}
	}
	return known
}

// names tells whether a document's copy names one of the VM's devices.
func (f formerVM) names(copied domain.Metadata) bool {
	known := f.known()
	return slices.ContainsFunc(copied.VGPUs, func(g domain.VGPU) bool { return known[g.ID].ID != "" })
}

// devices are those that the VM had. The document was what counted; it is believed as far as
// the records say the same.
func (f formerVM) devices(v *view) []device {
	devices := f.latest().Devices
	if f.claim != nil {
		devices = f.claim.Devices
	}
	if !v.carries || v.misread != nil || len(v.copy.VGPUs) != len(devices) {
		return devices
	}
	known := f.known()
	copied, _ := fromCopy(v.copy)
	for i, d := range copied {
		k, ok := known[d.ID]
		if !ok || !mdev.SameType(k.Type, d.Type) {
			return devices
		}
		copied[i].Pin = k.Pin
	}
	return copied
}

// leased tells whether a virtual function is the VM's, in a boot.
func (f formerVM) leased(vf, boot string) bool {
	l, ok := f.leases[vf]
	return ok && l.VM == f.name && l.Boot == boot
}
