package mdev_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/vgpukit/vgpukit/mdev"
	"github.com/vgpukit/vgpukit/mdev/mdevtest"
)

// Each GPU on a PCI bus tells its ids, its virtual functions too; others have none, nor
// has one whose ids cannot be read.
func TestPCIID(t *testing.T) {
	sim, host := simulated(t, "tesla-m60", "a40,vfs=2", "mtty")
	got := map[string]bool{}
	for _, gpu := range inventory(t, host).GPUs {
		got[gpu.PCI.ID()] = true
		for _, p := range gpu.Parents {
			require.Equal(t, gpu.PCI.ID(), p.PCI.ID(), p.Name)
		}
	}
	require.Equal(t, map[string]bool{"10de:13f2": true, "10de:2235": true, "": true}, got)
	sim.Fail(mdevtest.Fault{Path: "device"})
	require.Empty(t, inventory(t, host).GPUs[0].PCI.ID())
}

func ExamplePCI_ID() {
	sim, err := mdevtest.NewHost("tesla-m60@0000:05:00.0")
	if err != nil {
		panic(err)
	}
	host, err := mdev.Open(mdev.Config{FS: sim})
	if err != nil {
		panic(err)
	}
	inventory, err := host.Inventory(context.Background())
	if err != nil {
		panic(err)
	}
	for _, gpu := range inventory.GPUs {
		fmt.Println(gpu.Name, gpu.PCI.ID())
	}
	// Output:
	// 0000:05:00.0 10de:13f2
	// 0000:06:00.0 10de:13f2
}
