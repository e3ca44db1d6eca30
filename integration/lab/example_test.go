package lab_test

import (
	"context"
	"errors"
	"log"
	"os"

	"github.com/vgpukit/vgpukit/integration/lab"
)

// A test binary runs on a machine with two simulated GPUs, and its log comes back.
func Example() {
	ctx := context.Background()
	options := lab.Options{Boards: []string{"05:13f2", "41:26b9:32"}, Progress: lab.NewProgress(os.Stderr)}
	image, err := lab.Build(ctx, options)
	if err != nil {
		log.Fatal(err)
	}
	machine, err := lab.Boot(ctx, image, options)
	if err != nil {
		log.Fatal(err)
	}
	defer machine.Close()
	if err := machine.Push(ctx, "vgpu.test", ""); err != nil {
		log.Print(err)
		return
	}
	err = machine.RunThroughReboots(ctx, lab.Command{Shell: "./vgpu.test >log 2>&1"})
	var exit *lab.ExitError
	if errors.As(err, &exit) {
		log.Printf("the tests failed with status %d", exit.Status)
	}
	if err := machine.Pull(ctx, "log", "vgpu.log"); err != nil {
		log.Print(err)
	}
}
