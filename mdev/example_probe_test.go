package mdev_test

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strings"
	"syscall"

	"github.com/google/uuid"

	"github.com/vgpukit/vgpukit/mdev"
	"github.com/vgpukit/vgpukit/mdev/mdevtest"
)

func ExampleHost_Probe() {
	ctx := context.Background()
	host, _ := exampleHost("mdpy")
	made, err := host.Create(ctx, mdev.CreateRequest{Type: "mdpy-xga"})
	if err != nil {
		panic(err)
	}
	probe, err := host.Probe(ctx, made.ID)
	if err != nil {
		panic(err)
	}
	for _, region := range probe.Regions {
		fmt.Println(region.Name, region.Size, region.Map)
	}
	fmt.Println("display", probe.Display.Region, "migration", probe.Migration.Supported())
	// Output:
	// bar0 4194304 true
	// config 255 false
	// display true migration false
}

// Whether a VM can be migrated is known before it is started.
func ExampleMigration_Supported() {
	ctx := context.Background()
	host, _ := exampleHost("mtty", "mdpy")
	for _, typ := range []string{"mtty-2", "mdpy-vga"} {
		made, err := host.Create(ctx, mdev.CreateRequest{Type: typ})
		if err != nil {
			panic(err)
		}
		probe, err := host.Probe(ctx, made.ID)
		fmt.Println(typ, probe.Migration.Supported(), "several in one VM:", probe.Migration.P2P, err)
	}
	// Output:
	// mtty-2 true several in one VM: true <nil>
	// mdpy-vga false several in one VM: false <nil>
}

func ExampleError() {
	host, _ := exampleHost("tesla-m60")
	ctx := context.Background()
	var err error
	for err == nil {
		_, err = host.Create(ctx, mdev.CreateRequest{Type: "GRID M60-8Q", Parent: "0000:05:00.0"})
	}
	fmt.Println(errors.Is(err, mdev.ErrNoCapacity), errors.Is(err, syscall.EIO))
	var e *mdev.Error
	if errors.As(err, &e) {
		fmt.Println("what: ", e.Op, e.Object, "-", e.Meaning)
		fmt.Println("why:  ", e.Cause)
		fmt.Println("to do:", e.Hint())
	}
	// Output:
	// true true
	// what:  create nvidia-22 on 0000:05:00.0 - the driver refused
	// why:   GPU 0000:05:00.0 already runs 1 of "GRID M60-8Q", and has no room for the 8192 MiB of this type beside that
	// to do: remove a vGPU, or choose a type whose capacity in the inventory is not 0
}

// logged is an FS that shows what is written. Yours may as well reach a host over
// the network.
type logged struct{ *mdevtest.Host }

func (l logged) WriteAttr(name string, data []byte) error {
	fmt.Printf("%s <- %q\n", path.Base(name), strings.TrimSpace(string(data)))
	return l.Host.WriteAttr(name, data)
}

func ExampleFS() {
	ctx := context.Background()
	board, err := mdevtest.NewBoard("tesla-m60")
	if err != nil {
		panic(err)
	}
	host, err := mdev.Open(mdev.Config{FS: logged{mdevtest.New(board)}})
	if err != nil {
		panic(err)
	}
	made, err := host.Create(ctx, mdev.CreateRequest{
		Type: "GRID M60-2Q", UUID: uuid.MustParse("5b1d8c8e-0a51-4a52-9d3c-5a0c3d9d6a01"),
		Params: []mdev.Param{{Name: "vgpu_params", Value: "frame_rate_limiter=0"}},
	})
	fmt.Println(err)
	fmt.Println(host.Remove(ctx, made.ID))
	// Output:
	// create <- "5b1d8c8e-0a51-4a52-9d3c-5a0c3d9d6a01"
	// vgpu_params <- "frame_rate_limiter=0"
	// <nil>
	// remove <- "1"
	// <nil>
}
