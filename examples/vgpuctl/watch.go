package main

import (
	"context"
	"log/slog"
	"time"

	"github.com/vgpukit/vgpukit"
	"github.com/vgpukit/vgpukit/vgpu"
)

type watchCmd struct{}

// Help tells what it is for.
func (*watchCmd) Help() string {
	return `vGPUs that live only while their VM runs are given back when a VM ends by itself, crashes or is destroyed by hand.
At its start, and whenever the connection to libvirt was lost, everything is reconciled. Each thing done is a line on
stdout, with -o json an object {"time", "op", "vm", "step", "object"}; what could not be done is told on stderr, and it
goes on. It ends on ctrl-C, with exit status 0.`
}

// deed is one thing that was done, for scripts.
type deed struct {
	Time   time.Time `json:"time"`
	Op     string    `json:"op"`
	VM     string    `json:"vm,omitempty"`
	Step   string    `json:"step"`
	Object string    `json:"object,omitempty"`
}

func (*watchCmd) Run(g *globals) error {
	told := vgpu.Observer{StepEnded: func(_ context.Context, s vgpu.Step, err error) {
		if err != nil || s.Name == "lock" || s.Name == "look" {
			return
		}
		d := deed{time.Now().UTC().Truncate(time.Second), s.Op, s.VM, s.Name, s.Object}
		_ = g.line(d, "%s %s: %s %s", d.Time.Format(time.RFC3339), d.VM, d.Step, d.Object) // its readers may go
	}}
	return g.manageWith(vgpukit.Config{Observer: told, Logger: slog.New(failures{g})}, func(m *vgpu.Manager) error {
		err := m.Watch(g.ctx)
		if g.ctx.Err() != nil {
			return nil
		}
		if err == nil {
			err = &ownError{what: "libvirt sends no more events", next: "start vgpuctl watch again"}
		}
		return err
	})
}

// failures reports the errors of a log as those of any command.
type failures struct{ g *globals }

func (f failures) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelError }
func (f failures) WithAttrs([]slog.Attr) slog.Handler               { return f }
func (f failures) WithGroup(string) slog.Handler                    { return f }

func (f failures) Handle(_ context.Context, r slog.Record) error {
	r.Attrs(func(a slog.Attr) bool {
		if err, ok := a.Value.Any().(error); ok && f.g.ctx.Err() == nil {
			report(f.g.stderr, err, f.g.Output == "json")
		}
		return true
	})
	return nil
}
