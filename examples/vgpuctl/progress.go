package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"golang.org/x/term"

	"github.com/vgpukit/vgpukit/vgpu"
)

// slow is from when on a step is worth a line to a person.
const slow = 200 * time.Millisecond

// progress tells a person at a terminal what takes its time; scripts are told
// nothing.
func (g *globals) progress() vgpu.Observer {
	f, ok := g.stderr.(*os.File)
	if !ok || g.Output == "json" || !term.IsTerminal(int(f.Fd())) {
		return vgpu.Observer{}
	}
	return vgpu.Observer{
		StepEnded: func(_ context.Context, s vgpu.Step, err error) {
			if err == nil && s.Took >= slow {
				fmt.Fprintf(f, "%s %s: %s %s: %s\n", s.Op, s.VM, s.Name, s.Object, s.Took.Round(time.Millisecond))
			}
		},
		StepWaits: func(_ context.Context, s vgpu.Step, what string) {
			fmt.Fprintf(f, "%s %s: waiting for %s\n", s.Op, s.VM, what)
		},
		StepUndone: func(_ context.Context, s vgpu.Step, err error) {
			if err == nil {
				fmt.Fprintf(f, "%s %s: undone: %s %s\n", s.Op, s.VM, s.Name, s.Object)
			}
		},
	}
}
