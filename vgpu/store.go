package vgpu

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/google/uuid"

	"github.com/vgpukit/vgpukit/internal/fault"
	"github.com/vgpukit/vgpukit/internal/statedir"
	"github.com/vgpukit/vgpukit/vgpu/placement"
)

// The state directory:
//
//	journal/<vm>.json   an operation that is not finished: written before its first effect, gone after its last
//	vms/<vm>.json       a claim: which vGPUs we made for the VM; an undefined VM's leftovers are found by it
//	vfs/<address>.json  a lease: which VM's vGPU a virtual function is; it has no UUID that would say so
//	damaged/            entries that could not be read, set aside
//	lock                all locks, as bytes of one empty file: of each VM, physical GPU and virtual function
//	locks/              who has which lock, while it is held
const (
	journalDir = "journal"
	claimsDir  = "vms"
	leasesDir  = "vfs"
)

// The kinds of locks.
const (
	lockOfVM  = "vm"
	lockOfGPU = "gpu"
	lockOfVF  = "vf"
)

// record is what is stored of one VM, as intent or as claim.
type record struct {
	VM        string    `json:"vm"`
	UUID      uuid.UUID `json:"uuid"` // the VM's, zero if the document had none
	Operation string    `json:"operation"`
	Since     time.Time `json:"since"`
	PID       int       `json:"pid"`
	Lifetime  Lifetime  `json:"lifetime"`
	Devices   []device  `json:"devices"`
	// Hypervisor is the URI of the libvirt that has the VM.
	Hypervisor string `json:"hypervisor"`
	// Placement is where the caller wants the VM's vGPUs, also when they are made
	// again.
	Placement placement.Options `json:"placement,omitzero"`
	// Makes has the ids of the devices that the operation makes, and so may
	// remove when it is undone.
	Makes []string `json:"makes,omitempty"`
	// Was has the VM's vGPUs before some of them moved, once the VM's document is
	// about to be changed for that.
	Was []device `json:"was,omitempty"`
	// Stop and Teardown are the caller's wishes, so that an interrupted operation
	// can be finished as it was meant.
	Stop     *StopOptions     `json:"stop,omitempty"`
	Teardown *TeardownOptions `json:"teardown,omitempty"`
}

func (r record) name() string { return r.VM }

// UnmarshalJSON reads also the wishes that earlier versions wrote: times as numbers, of
// which a negative one meant that the guest is not asked.
func (r *record) UnmarshalJSON(data []byte) error {
	type plain record
	type stop struct{ Guest, Terminate time.Duration }
	var old struct {
		Stop     *stop
		Teardown *struct {
			Stop     stop
			Undefine struct{ ManagedSave, KeepNVRAM, SnapshotsMetadata, CheckpointsMetadata bool }
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
		u, v := &r.Teardown.Undefine, was.Undefine
		u.ManagedSave, u.KeepNVRAM = u.ManagedSave || v.ManagedSave, u.KeepNVRAM || v.KeepNVRAM
		u.SnapshotsMetadata, u.CheckpointsMetadata = u.SnapshotsMetadata || v.SnapshotsMetadata, u.CheckpointsMetadata || v.CheckpointsMetadata
	}
	return nil
}

// store is the state directory with what this package keeps in it.
type store struct {
	dir     *statedir.Dir
	intents statedir.Entries[record]
	claims  statedir.Entries[record]
	leases  statedir.Entries[lease]
}

func openStore(path string) (store, error) {
	dir, err := statedir.Open(path, journalDir, claimsDir, leasesDir)
	if err != nil {
		return store{}, err
	}
	s := store{
		dir:     dir,
		intents: statedir.In(dir, journalDir, record.name),
		claims:  statedir.In(dir, claimsDir, record.name),
		leases:  statedir.In(dir, leasesDir, lease.name),
	}
	return s, fault.Join(s.intents.Upgrade(), s.claims.Upgrade()) // a lease's name is short
}

// promote makes the intent the VM's claim, in one rename: the devices it names are
// there to stay.
func (s store) promote(vm string) error { return s.intents.MoveTo(s.claims, vm) }

// end takes the intent away, after the last effect was seen.
func (s store) end(vm string) error { return s.intents.Remove(vm) }

// forget takes the claim away, and then the intent, if there is one.
func (s store) forget(vm string) error { return s.claims.Remove(vm, s.intents) }

// knows tells whether anything is stored of a VM.
func (s store) knows(vm string) bool { return s.intents.Has(vm) || s.claims.Has(vm) }

// lease reads whose a virtual function is. A lease that is damaged, or that a newer
// program wrote, is as good as none.
func (s store) lease(vf string) (l lease, ok bool, err error) {
	l, ok, err = s.leases.Read(vf)
	if errors.As(err, new(*statedir.Damaged)) || errors.Is(err, ErrState) {
		err = nil
	}
	return l, ok, err
}

// lockVM keeps others away from the operation's VM.
func (o *operation) lockVM(ctx context.Context) (unlock func(), err error) {
	err = o.step(ctx, "lock", "", func(ctx context.Context) error {
		unlock, err = o.m.lock(ctx, lockOfVM, o.vm, o.op+" "+o.vm)
		return err
	})
	return unlock, err
}

// lock waits for a lock as long as it is worth.
func (m *Manager) lock(ctx context.Context, kind, name, operation string) (unlock func(), err error) {
	ctx, cancel := context.WithTimeout(ctx, m.timeouts.Lock)
	defer cancel()
	return m.store.dir.Lock(ctx, kind, name, operation)
}

// lockSoon takes a lock that is free, or is given back in a moment.
func (m *Manager) lockSoon(ctx context.Context, kind, name, operation string) (unlock func(), err error) {
	ctx, cancel := context.WithTimeout(ctx, statedir.PollMost)
	defer cancel()
	return m.store.dir.Lock(ctx, kind, name, operation)
}
