package main

import (
	"errors"
	"os"
	"strings"

	"github.com/vgpukit/vgpukit/examples/vgpuctl/simfs"
	"github.com/vgpukit/vgpukit/mdev/mdevtest"
)

// simulateCmd mounts a simulated host until it is interrupted.
type simulateCmd struct {
	Mount string   `required:"" help:"Directory to mount on, empty; made when it is missing." placeholder:"DIR"`
	Board []string `required:"" sep:"none" help:"A board, repeatable: NAME[@PCI-ADDRESS][,numa=N][,vfs=N][,vendor-vfio][,old-driver][,mixed][,mig][,instance=PROFILE][,clean-up=TIME]." placeholder:"BOARD"`
}

// Help tells what there is and how to try it.
func (c *simulateCmd) Help() string {
	return "Boards: " + strings.Join(mdevtest.Boards(), ", ") + `.

vgpuctl --root DIR then works on the mounted host, and so do a shell and other programs
(mdevctl from 1.3 on with MDEVCTL_ENV_ROOT=DIR).
Lines written to DIR/sim/control play the rest: "use ID VM PID", "release ID",
"sriov-manage -e ALL", "reboot".`
}

// Run mounts, waits, and unmounts.
func (c *simulateCmd) Run(g *globals) error {
	host := mdevtest.New()
	for _, spec := range c.Board {
		board, err := mdevtest.NewBoard(spec)
		if err == nil {
			err = host.Plug(board)
		}
		if err != nil {
			return usageError(err.Error(), "choose boards as vgpuctl simulate --help shows them")
		}
	}
	entries, err := os.ReadDir(c.Mount)
	if errors.Is(err, os.ErrNotExist) {
		err = os.MkdirAll(c.Mount, 0o755)
	}
	switch {
	case err != nil:
		return &ownError{err.Error(), "name an empty directory; umount " + c.Mount + " if a simulation was killed there", err}
	case len(entries) > 0: // a host that is in use, or somebody's files
		return usageError(c.Mount+" is not empty, and a mount would hide what is in it", "name an empty directory; umount "+c.Mount+" if a simulation is mounted there")
	}
	server, err := simfs.Mount(c.Mount, host)
	if err != nil {
		return err
	}
	mounted := map[string]any{"mount": c.Mount, "gpus": host.GPUs()}
	if err := g.line(mounted, "%s: %s; ctrl-C unmounts", c.Mount, strings.Join(host.GPUs(), ", ")); err != nil {
		return errors.Join(err, server.Close())
	}
	gone := make(chan struct{})
	go func() {
		server.Wait()
		close(gone)
	}()
	select {
	case <-g.ctx.Done():
	case <-gone:
	}
	return server.Close()
}
