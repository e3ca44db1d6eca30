package main

import (
	"cmp"
	"context"
	"os"
	"path/filepath"
	"time"

	"github.com/vgpukit/vgpukit/vgpu"
)

// stateDir is where the host's grants are: each host has its own.
func (g *globals) stateDir() string {
	return cmp.Or(g.State, filepath.Join(g.Root, vgpu.DefaultStateDir))
}

// runtimeDir is below the host's own run/, if it is not this one and has one; empty: the library
// chooses.
func (g *globals) runtimeDir() string {
	dir := filepath.Join(g.Root, "run/vgpukit")
	if filepath.Clean(g.Root) == "/" || os.MkdirAll(dir, 0o700) != nil {
		return ""
	}
	return dir
}

type stateCmd struct {
	TakeOver takeOverCmd `cmd:"" name:"take-over" help:"Make the state directory this machine's, as it is now."`
}

type takeOverCmd struct {
	Wait patience `default:"30s" help:"How long those at work in it may take."`
}

// Help tells when it is right.
func (*takeOverCmd) Help() string {
	return `For a state directory that was copied from another machine, that is on a network file system, or that was restored
from a backup: until then it is for reading only. Grants stay; which VM has which vGPU is found anew. See first that no
other machine uses the directory any more, and that VMs and vGPUs are as vgpuctl status shows them.`
}

func (c *takeOverCmd) Run(g *globals) error {
	if c.Wait == 0 {
		return usageError("--wait leaves no time to take anything over", "give it some, such as --wait 30s")
	}
	return g.manage(func(m *vgpu.Manager) error {
		ctx, cancel := context.WithTimeout(g.ctx, time.Duration(c.Wait))
		defer cancel()
		if err := m.TakeOver(ctx); err != nil {
			return err
		}
		return g.say(map[string]string{"taken_over": g.stateDir()}, "%s is this machine's.", g.stateDir())
	})
}
