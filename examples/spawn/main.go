// Command spawn makes a VM with vGPUs and starts it, on a host with a vGPU driver:
//
//	spawn --type "GRID M60-2Q" --count 2 --address 0000:00:08.0 --memory 4096 web1
//	spawn web1           starts it again
//	spawn --stop web1
//	spawn --delete web1
//	spawn --recover      after a reboot of the host, or when a run was killed
//	spawn                shows all VMs with vGPUs
//
// Exit status: 0 done, 1 failed, 2 wrong use, 3 no such VM or type, 4 no GPU has room,
// 5 in use, and 6 no answer from libvirt or the host: perhaps later.
//
// docs/howto/test-your-program.md tells how it is tested.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/vgpukit/vgpukit"
	"github.com/vgpukit/vgpukit/vgpu"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	var kit vgpukit.Config
	flags := flag.NewFlagSet("spawn", flag.ExitOnError)
	flags.StringVar(&kit.URI, "connect", "", "libvirt URI")
	flags.StringVar(&kit.Root, "root", "/", "directory with sys/, dev/ and proc/")
	flags.StringVar(&kit.StateDir, "state", vgpu.DefaultStateDir, "directory of the library's state")
	o, err := parse(flags, os.Args[1:])
	if err == nil {
		err = open(ctx, kit, o)
	}
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "spawn:", err)
		if next := vgpu.Hint(err); next != "" {
			fmt.Fprintln(os.Stderr, "what to do:", next)
		}
	}
	os.Exit(status(err))
}

func open(ctx context.Context, cfg vgpukit.Config, o order) error {
	kit, err := vgpukit.Open(ctx, cfg)
	if err != nil {
		return err
	}
	defer kit.Close()
	return o.run(ctx, kit.Manager, os.Stdout)
}
