package statedir

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/vgpukit/vgpukit/internal/fault"
)

// machineFile says whose the directory is.
const machineFile = "machine.json"

// home is what it says.
type home struct {
	Machine
	Network string `json:"network,omitempty"` // the network file system on which it was taken over
}

// Bind says which machine this is. A directory that is nobody's becomes this machine's.
// One that is provably another's, or on a network file system where this machine has not
// taken it over, is from now on for reading only: the error, of the kind [fault.State],
// says so, and so does whatever would change it. Nothing in it is moved or removed.
// Each lock asks again whose it is.
func (d *Dir) Bind(ctx context.Context, machine Machine) error {
	machine = machine.canonical()
	d.machine.Store(&machine)
	h, err := d.judge(machine)
	if err != nil {
		return err
	}
	if d.reading || h != nil && h.with(machine) == h.Machine {
		return nil
	}
	unlock, err := d.Lock(ctx, "state", "machine", "note whose the state directory is")
	if err != nil {
		return err
	}
	defer unlock()
	if h, err = d.judge(machine); err != nil {
		return err
	}
	if h == nil {
		h = &home{}
	}
	if err := d.writeHome(home{h.with(machine), h.Network}); !Unwritable(err) { // what frees things goes on
		return err
	}
	return nil
}

// Machine is the one whose the directory is; ok is false if that is not known.
func (d *Dir) Machine() (m Machine, ok bool, err error) {
	h, err := d.home()
	if h == nil {
		return Machine{}, false, err
	}
	return h.Machine, true, nil
}

// Foreign is what [Dir.Bind] found, at its last look: nil if the directory is this
// machine's.
func (d *Dir) Foreign() error {
	if err := d.refusal.Load(); err != nil {
		return err
	}
	return nil
}

// TakeOver makes the directory this machine's, whosever it was and whatever file system
// it is on, and removes all [Marks] in the places that are named: what they say was
// another machine's, or another time's. Entries stay. It waits until nobody has a lock,
// until ctx ends, and keeps everybody from taking one meanwhile.
func (d *Dir) TakeOver(ctx context.Context, machine Machine, places ...string) error {
	if d.reading {
		return d.Writable()
	}
	machine = machine.canonical()
	network, err := d.network()
	if err != nil {
		return d.explain(err)
	}
	if network != "" && (machine == Machine{}) {
		return &fault.Error{
			Op: "take over", Object: d.path, Kind: fault.State,
			Meaning: "it is on a network file system (" + network + "), and this machine has no id by which others could be told from it",
			Next:    "give the machine an id (`systemd-machine-id-setup`), or choose a state directory on a local file system",
		}
	}
	leave, err := d.alone(ctx)
	if err != nil {
		return err
	}
	defer leave()
	// The marks first: when this is interrupted, the directory is still another's.
	if err := d.void(places...); err != nil {
		return d.explain(err)
	}
	if err := d.writeHome(home{machine, network}); err != nil {
		return err
	}
	d.machine.Store(&machine)
	_, err = d.judge(machine)
	return err
}

// alone keeps everybody from having a lock.
func (d *Dir) alone(ctx context.Context) (leave func(), err error) {
	for {
		l, err := openLane(d.lockPath(), theGate)
		if err != nil {
			return nil, d.explain(err)
		}
		err = until(ctx, l.pass)
		gone := false
		if err == nil {
			gone, err = l.gone()
		}
		switch {
		case err == nil && !gone:
			return l.close, nil
		case err != nil && err == ctx.Err():
			err = &fault.Error{
				Op: "take over", Object: d.path, Kind: fault.Busy, Err: err, Meaning: "somebody is at work in it",
				Next: "wait until all operations are done, or stop the programs that use it, and try again",
			}
		default:
			err = d.explain(err)
		}
		l.close()
		if err != nil {
			return nil, err
		}
	}
}

// until tries until something can be had, or ctx ends.
func until(ctx context.Context, try func() (bool, error)) error {
	for {
		if ok, err := try(); err != nil || ok {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pollNext):
		}
	}
}

// judge reads whose the directory is, nil if nobody's, and refuses what is not the
// machine's.
func (d *Dir) judge(machine Machine) (*home, error) {
	d.seen.Store(nil)
	info, unseen := os.Lstat(filepath.Join(d.path, machineFile))
	h, err := d.home()
	if newer := (*fault.Error)(nil); errors.Is(err, fault.State) && errors.As(err, &newer) {
		d.refusal.Store(newer)
	}
	if err != nil {
		return nil, err
	}
	network, err := d.network()
	if err != nil {
		return nil, d.explain(err)
	}
	meaning := ""
	switch {
	case h != nil && h.Other(machine):
		meaning = "it is of another machine (" + h.Machine.String() + "), and this one has " + machine.String()
	case network != "" && (h == nil || h.Network != network || !h.surely(machine)):
		meaning = "it is on a network file system (" + network + "), where other machines may use it as well; this one has " + machine.String()
	}
	if meaning == "" {
		d.refusal.Store(nil)
		if unseen == nil && network == "" {
			d.seen.Store(&info)
		}
		return h, nil
	}
	refusal := &fault.Error{
		Op: "state directory", Object: d.path, Kind: fault.State, Meaning: meaning,
		Next: "choose a state directory of this machine's own, on a local file system; or, if no other machine uses this one any more, take the state directory over",
	}
	d.refusal.Store(refusal)
	return h, refusal
}

// still refuses the directory if it has become another machine's. That it cannot be known
// keeps nobody from freeing things.
func (d *Dir) still() error {
	machine := d.machine.Load()
	if machine == nil {
		return nil
	}
	if seen := d.seen.Load(); seen != nil {
		// It is replaced when it changes. A network file system may show an old one for long.
		if now, err := os.Lstat(filepath.Join(d.path, machineFile)); err == nil && os.SameFile(*seen, now) && (*seen).ModTime().Equal(now.ModTime()) {
			return nil
		}
	}
	if _, err := d.judge(*machine); errors.Is(err, fault.State) {
		return err
	}
	return nil
}

// home reads whose the directory is. What is damaged says nothing.
func (d *Dir) home() (*home, error) {
	h, ok, err := d.machines().Read("machine")
	if errors.As(err, new(*Damaged)) || err == nil && !ok {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	h.Machine = h.canonical()
	return &h, nil
}

// machines has the one entry that says whose the directory is.
func (d *Dir) machines() Entries[home] {
	return In(d, "", func(home) string { return "machine" })
}

func (d *Dir) writeHome(h home) error {
	data, err := seal(h)
	if err != nil {
		return err
	}
	return d.explain(d.Files.Write(filepath.Join(d.path, machineFile), data))
}

// void removes all marks in places.
func (d *Dir) void(places ...string) error {
	for _, place := range places {
		files, err := os.ReadDir(filepath.Join(d.path, place))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		var paths []string
		for _, file := range files {
			if !file.IsDir() { // not ours, and told as such
				paths = append(paths, filepath.Join(d.path, place, file.Name()))
			}
		}
		if err := d.remove(paths...); err != nil {
			return err
		}
	}
	return nil
}
