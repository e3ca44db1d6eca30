// Command reconcile is what a service does when it starts: finish or undo what
// was interrupted, make again what a reboot took, and from then on give back what
// a VM that ends by itself leaves. It runs until it is interrupted.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"

	"github.com/vgpukit/vgpukit"
	"github.com/vgpukit/vgpukit/vgpu"
)

func main() {
	connect := flag.String("connect", "", "libvirt URI")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := serve(ctx, *connect); err != nil && !errors.Is(err, context.Canceled) {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func serve(ctx context.Context, connect string) error {
	kit, err := vgpukit.Open(ctx, vgpukit.Config{URI: connect, Logger: slog.New(slog.NewTextHandler(os.Stderr, nil))})
	if err != nil {
		return err
	}
	defer kit.Close()
	if err := settle(ctx, kit.Manager, os.Stdout); err != nil {
		return err
	}
	return kit.Watch(ctx)
}

// settle reconciles and says what was found. What could not be done is no reason
// not to serve the other VMs.
func settle(ctx context.Context, manager *vgpu.Manager, out io.Writer) error {
	report, err := manager.Reconcile(ctx, vgpu.ReconcileOptions{Restore: true})
	for _, a := range report.Actions {
		fmt.Fprintf(out, "%s %s %s: %s (done: %v)\n", a.Kind, a.VM, a.Object, a.Reason, a.Done)
		if a.Next != "" {
			fmt.Fprintf(out, "  to do: %s\n", a.Next)
		}
	}
	for _, d := range report.Strangers {
		fmt.Fprintf(out, "not ours: %s, %s of %s\n", d.ID, d.Type, d.Parent)
	}
	if err != nil && len(report.Actions) == 0 {
		return err // nothing could be looked at
	}
	return nil
}
