package main

import (
	"context"
	"errors"
	"fmt"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/google/uuid"

	"github.com/vgpukit/vgpukit/mdev"
	"github.com/vgpukit/vgpukit/vgpu"
)

// host opens the host that --root names.
func (g *globals) host() (*mdev.Host, error) {
	return mdev.Open(mdev.Config{Root: g.Root, Source: g.source()})
}

// mdevUUID is an mdev's UUID on the command line.
type mdevUUID uuid.UUID

func (u *mdevUUID) UnmarshalText(text []byte) error {
	id, err := uuid.Parse(string(text))
	switch {
	case err != nil:
		return usageError(fmt.Sprintf("%q is not a UUID", text), "write one as 98d19132-f8f0-4d19-8743-9efa23e6c493; uuidgen makes others")
	case id == uuid.Nil:
		return usageError("the UUID of all zeros names no vGPU", "give one of its own, such as uuidgen makes, or leave it out")
	}
	*u = mdevUUID(id)
	return nil
}

type createCmd struct {
	Type   string   `required:"" help:"vGPU type, by id or name." placeholder:"T"`
	Parent string   `help:"Parent; left out: any that has room." placeholder:"P"`
	UUID   mdevUUID `name:"uuid" help:"UUID of the mdev; left out: a new one." placeholder:"U"`
	Param  []param  `help:"Attribute to write after creation, in order." placeholder:"NAME=VALUE" sep:"none"`
}

func (c *createCmd) Run(g *globals) error {
	host, err := g.host()
	if err != nil {
		return err
	}
	if err := c.checkGranted(g, host); err != nil {
		return err
	}
	unwritten := c.unwritten(g, host)
	signal.Ignore(syscall.SIGPIPE) // else a reader that has gone ends us before the vGPU is taken back
	made, err := host.Create(g.ctx, mdev.CreateRequest{Type: c.Type, Parent: c.Parent, UUID: uuid.UUID(c.UUID), Params: params(c.Param)})
	if errors.Is(err, mdev.ErrExists) {
		// A ghost keeps its UUID only until its VM lets go.
		if there, found := host.Find(g.ctx, uuid.UUID(c.UUID).String()); found == nil && there.State == mdev.StateGhost {
			return &mdev.Error{Kind: mdev.ErrInUse, Err: err}
		}
	}
	if err != nil {
		return err
	}
	answer := struct {
		mdev.Created
		Unwritten []mdev.Definition `json:"definitions_not_applied,omitempty"`
	}{made, unwritten}
	if err := g.say(answer, "%s", made.ID); err != nil {
		return takeBack(g.ctx, host, made, err)
	}
	return nil
}

// unwritten tells of definitions of mdevctl's for that UUID whose attributes are not asked
// for: create writes its own only.
func (c *createCmd) unwritten(g *globals, host *mdev.Host) []mdev.Definition {
	if c.UUID == (mdevUUID{}) || len(c.Param) > 0 {
		return nil
	}
	defined, _ := host.DefinitionsOf(g.ctx, uuid.UUID(c.UUID)) // what cannot be read is mdevctl's to tell
	defined = slices.DeleteFunc(defined, func(d mdev.Definition) bool { return len(d.Params) == 0 })
	for _, d := range defined {
		if g.Output == "json" {
			break
		}
		flags := ""
		for _, p := range d.Params {
			flags += " --param " + quote(p.Name+"="+p.Value)
		}
		fmt.Fprintf(g.stderr, "vgpuctl: a definition of this UUID, on %s, has attributes that are not written\nwhat to do: create it with%s, or by mdevctl start --uuid %s\n", d.Parent, flags, d.UUID)
	}
	return defined
}

// checkGranted refuses a UUID, or a virtual function, that was granted to a VM.
func (c *createCmd) checkGranted(g *globals, host *mdev.Host) error {
	var ids []string
	if c.UUID != (mdevUUID{}) {
		ids = append(ids, uuid.UUID(c.UUID).String())
	}
	if _, err := mdev.ParsePCIAddress(c.Parent); err == nil {
		ids = append(ids, c.Parent)
	}
	if len(ids) == 0 {
		return nil
	}
	ledger, err := g.ledger(host)
	for _, id := range ids {
		if err == nil {
			err = ledger.Free(g.ctx, id)
		}
	}
	return err
}

// ledger knows whose vGPUs are, without libvirt.
func (g *globals) ledger(host *mdev.Host) (*vgpu.Ledger, error) {
	return vgpu.OpenLedger(vgpu.Config{Host: host, StateDir: g.stateDir(), RuntimeDir: g.runtimeDir()})
}

// takeBack removes a vGPU whose id could not be told: nobody would know of it.
func takeBack(ctx context.Context, host *mdev.Host, made mdev.Created, untold error) error {
	if made.Existed {
		return &ownError{fmt.Sprintf("vGPU %s was there already, as asked, but %v", made.ID, untold), "vgpuctl inventory shows it", untold}
	}
	if err := host.Remove(context.WithoutCancel(ctx), made.ID); err != nil {
		return &ownError{
			fmt.Sprintf("%v; vGPU %s was made and could not be removed again: %v", untold, made.ID, err),
			"keep its id, or remove it: vgpuctl remove " + made.ID, errors.Join(untold, err),
		}
	}
	return &ownError{fmt.Sprintf("%v; the vGPU has been removed again", untold), "repeat the command with an output that takes the answer", untold}
}

type removeCmd struct {
	ID    string   `arg:"" help:"UUID or VF address."`
	Wait  patience `default:"10s" help:"How long the driver may take to let go."`
	Force bool     `help:"Remove it although it was granted to a VM; one in use is never removed."`
}

func (c *removeCmd) Run(g *globals) error {
	if c.Wait == 0 {
		return usageError("--wait leaves no time to remove anything", "give it some, such as --wait 10s")
	}
	host, err := g.host()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(g.ctx, time.Duration(c.Wait))
	defer cancel()
	ledger, err := g.ledger(host)
	if err != nil {
		return err
	}
	err = ledger.RemoveDevice(ctx, c.ID, vgpu.RemoveOptions{Force: c.Force})
	if errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, vgpu.ErrBusy) {
		return &mdev.Error{Kind: mdev.ErrInUse, Err: err} // by a VM, or by a driver that still cleans up
	}
	if err != nil {
		return err
	}
	if g.Output == "json" {
		return g.json(map[string]string{"removed": canonical(c.ID)})
	}
	return nil
}

// canonical writes a vGPU's id as the inventory does.
func canonical(id string) string {
	if u, err := uuid.Parse(id); err == nil {
		return u.String()
	}
	return strings.ToLower(id)
}
