package vgpu

import (
	"context"

	"github.com/vgpukit/vgpukit/internal/statedir"
)

// The state directory:
//
//	vms/<uuid>.json     a grant: what a VM was granted, from Provision to Teardown
//	vms/<uuid>.op       an operation that is not finished: written before its first effect, gone after its last
//	owners/<device>     which VM has a device in this boot
//	gpus/<gpu>.json     what an operator lets be placed on a GPU, and which of its parents have failed
//	damaged/            entries that could not be read, set aside
//	machine.json        the machine whose directory it is
//	record.log          who removed or moved what
//	former/             what earlier versions wrote, until it is carried over
//	lock                all locks, as bytes of one empty file
//	locks/              who has which lock, while it is held
//
// Below /run (see [runtimeDirs]), for this boot: numbers/<uuid>, the number of a VM's grant, and looks/<uuid>, when
// a VM was first seen to be gone.
const (
	vmsDir     = "vms"
	ownersDir  = "owners"
	gpusDir    = "gpus"
	numbersDir = "numbers"
	looksDir   = "looks"
)

// The kinds of locks, in the order in which they are taken.
const (
	lockOfName   = "name"
	lockOfVM     = "vm" // by UUID
	lockOfGPU    = "gpu"
	lockOfDevice = "device"
)

// store is the state directory with what this package keeps in it.
type store struct {
	dir    *statedir.Dir
	grants statedir.Entries[grant]
	tasks  statedir.Entries[task]
	owners statedir.Marks[owner]
	// what operators let be placed on GPUs
	policies statedir.Entries[GPUPolicy]
	// What this boot has seen, which no backup brings back.
	notes   *statedir.Dir
	numbers statedir.Marks[numbered]
	looks   statedir.Marks[look]
	former  *former
}

// openStore opens the state directory, and the notes of this boot below runtime.
func openStore(path, runtime string) (store, error) {
	dir, err := statedir.Open(path, vmsDir, ownersDir, gpusDir)
	if err != nil {
		return store{}, err
	}
	notes, err := openNotes(runtime, path)
	if err != nil {
		return store{}, err
	}
	return store{
		dir:      dir,
		grants:   statedir.In(dir, vmsDir, grant.key).Beside(".json", ".op"),
		tasks:    statedir.In(dir, vmsDir, task.key).Beside(".op", ".json"),
		owners:   statedir.MarksIn(dir, ownersDir, owner.key),
		policies: statedir.In(dir, gpusDir, GPUPolicy.key),
		notes:    notes,
		numbers:  statedir.MarksIn(notes, numbersDir, numbered.key),
		looks:    statedir.MarksIn(notes, looksDir, look.key),
		former:   formerIn(dir),
	}, nil
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
