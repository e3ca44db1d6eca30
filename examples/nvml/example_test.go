package nvml_test

import (
	"context"
	"fmt"

	lib "github.com/NVIDIA/go-nvml/pkg/nvml"
	"github.com/NVIDIA/go-nvml/pkg/nvml/mock/dgxa100"
	"github.com/NVIDIA/go-nvml/pkg/nvml/mock/server"

	"github.com/vgpukit/vgpukit/examples/nvml"
)

// What NVML tells of a GPU. Here the library is a mock; a program calls nvml.Open, and gives the
// source to mdev.Open in its Config.
func Example() {
	library := dgxa100.New()
	gpu := library.Devices[0].(*server.Device)
	gpu.GetEccModeFunc = func() (lib.EnableState, lib.EnableState, lib.Return) {
		return lib.FEATURE_ENABLED, lib.FEATURE_ENABLED, lib.SUCCESS
	}
	gpu.SetMigMode(lib.DEVICE_MIG_ENABLE)
	profile, _ := gpu.GetGpuInstanceProfileInfo(lib.GPU_INSTANCE_PROFILE_3_SLICE)
	gpu.CreateGpuInstance(&profile)

	source, err := nvml.New(library)
	if err != nil {
		panic(err)
	}
	defer source.Close()
	facts, err := source.Facts(context.Background(), gpu.PciBusID)
	if err != nil {
		panic(err)
	}
	fmt.Println(facts.Driver, facts.Memory>>30, "GiB, MIG mode:", *facts.MIG)
	for _, instance := range facts.Instances {
		fmt.Println("GPU instance", instance.ID, instance.Profile)
	}
	// Output:
	// 550.54.15 40 GiB, MIG mode: true
	// GPU instance 0 3g.20gb
}
