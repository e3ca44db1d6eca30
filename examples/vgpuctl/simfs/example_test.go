package simfs_test

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/vgpukit/vgpukit/examples/vgpuctl/simfs"
	"github.com/vgpukit/vgpukit/mdev/mdevtest"
)

func ExampleMount() {
	dir, err := os.MkdirTemp("", "simulated-")
	if err != nil {
		panic(err)
	}
	defer os.Remove(dir)
	board, err := mdevtest.NewBoard("tesla-m60")
	if err != nil {
		panic(err)
	}
	server, err := simfs.Mount(dir, mdevtest.New(board), nil)
	if err != nil {
		panic(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "sys/class/mdev_bus/0000:05:00.0/mdev_supported_types/nvidia-22/name"))
	fmt.Print(string(text))
	fmt.Println(err, server.Close())
	// Output:
	// GRID M60-8Q
	// <nil> <nil>
}
