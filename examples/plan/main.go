// Command plan shows where vGPUs of a type would go by each policy, one after the
// other until there is no room, and why not then. It does nothing to the host:
//
//	plan --type "GRID M60-2Q"
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"

	"github.com/vgpukit/vgpukit/mdev"
	"github.com/vgpukit/vgpukit/vgpu/placement"
)

func main() {
	typ := flag.String("type", "", "vGPU type, by id or name")
	flag.Parse()
	host, err := mdev.Open(mdev.Config{})
	if err == nil {
		err = plan(context.Background(), host, *typ, os.Stdout)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func plan(ctx context.Context, host *mdev.Host, typ string, out io.Writer) error {
	inventory, err := host.Inventory(ctx)
	if err != nil {
		return err
	}
	now, err := placement.NewSnapshot(placement.HostInventory{Inventory: inventory})
	if err != nil {
		return err
	}
	for _, policy := range []placement.Policy{placement.Pack, placement.Spread} {
		fmt.Fprintf(out, "%s:\n", policy)
		// A snapshot is a value: each policy is played through from the same one.
		for snapshot, n := now, 1; ; n++ {
			where, err := snapshot.Place([]placement.Request{{Type: typ}}, placement.Options{Policy: policy})
			if err != nil {
				fmt.Fprintf(out, "  %d: %v\n", n, err)
				break
			}
			fmt.Fprintf(out, "  %d: %s\n", n, where.VGPUs[0].Parent)
			if snapshot, err = snapshot.After(where); err != nil {
				return err
			}
		}
	}
	return nil
}
