package vgpu_test

import (
	"context"
	"errors"
	"fmt"
	"log"

	"github.com/vgpukit/vgpukit/mdev"
	"github.com/vgpukit/vgpukit/mdev/mdevtest"
	"github.com/vgpukit/vgpukit/vgpu"
)

// inventory reads a simulated machine; a real one is mdev.Config{}.
func inventory(boards ...string) *mdev.Inventory {
	var plugged []mdevtest.Board
	for _, spec := range boards {
		board, err := mdevtest.NewBoard(spec)
		if err != nil {
			log.Fatal(err)
		}
		plugged = append(plugged, board)
	}
	host, err := mdev.Open(mdev.Config{FS: mdevtest.New(plugged...)})
	if err != nil {
		log.Fatal(err)
	}
	inv, err := host.Inventory(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	return inv
}

// A control plane asks where in its fleet a VM with two vGPUs could go.
func ExampleSnapshot_Place() {
	fleet, err := vgpu.NewSnapshot(
		vgpu.HostInventory{Host: "old", Inventory: inventory("tesla-m60")},
		vgpu.HostInventory{Host: "new", Inventory: inventory("a40@0000:41:00.0,vfs=8", "a40@0000:c1:00.0,vfs=8")},
	)
	if err != nil {
		log.Fatal(err)
	}
	requests := []vgpu.Request{{Type: "NVIDIA A40-8Q"}, {Type: "NVIDIA A40-8Q"}}
	for _, options := range []vgpu.PlacementOptions{{}, {Policy: vgpu.Spread}} {
		placement, err := fleet.Place(requests, options)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println("on host", placement.Host)
		for _, v := range placement.VGPUs {
			fmt.Println(" ", v.TypeName, "on", v.Parent, "or", v.Others[0].Parent)
		}
	}
	// Output:
	// on host new
	//   NVIDIA A40-8Q on 0000:41:00.4 or 0000:41:00.6
	//   NVIDIA A40-8Q on 0000:41:00.5 or 0000:41:00.6
	// on host new
	//   NVIDIA A40-8Q on 0000:41:00.4 or 0000:41:00.5
	//   NVIDIA A40-8Q on 0000:c1:00.4 or 0000:c1:00.5
}

// How many VMs of a kind still fit is found by playing the decisions through.
func ExampleSnapshot_After() {
	s, err := vgpu.NewSnapshot(vgpu.HostInventory{Inventory: inventory("tesla-m60")})
	if err != nil {
		log.Fatal(err)
	}
	for n := 0; ; n++ {
		placement, err := s.Place([]vgpu.Request{{Type: "GRID M60-4Q"}}, vgpu.PlacementOptions{})
		if errors.Is(err, vgpu.ErrNoCapacity) {
			fmt.Println(n, "VMs fit")
			break
		} else if err != nil {
			log.Fatal(err)
		}
		if s, err = s.After(placement); err != nil {
			log.Fatal(err)
		}
	}
	// Output: 4 VMs fit
}

// A refusal tells for each parent why not, and what to do.
func ExampleRefusal() {
	s, err := vgpu.NewSnapshot(vgpu.HostInventory{Inventory: inventory("tesla-m60@0000:05:00.0")})
	if err != nil {
		log.Fatal(err)
	}
	first, err := s.Place([]vgpu.Request{{Type: "GRID M60-2Q"}}, vgpu.PlacementOptions{})
	if err != nil {
		log.Fatal(err)
	}
	if s, err = s.After(first); err != nil {
		log.Fatal(err)
	}
	_, err = s.Place([]vgpu.Request{{Type: "GRID M60-8Q"}, {Type: "GRID M60-8Q"}}, vgpu.PlacementOptions{})
	fmt.Println(err)
	var refusal *vgpu.Refusal
	if errors.As(err, &refusal) {
		for _, reason := range refusal.Reasons() {
			fmt.Println(reason.Parents, reason.Code+":", reason.Text)
		}
		fmt.Println("next:", refusal.Hint())
	}
	// Output:
	// place: no host can take all 2 vGPUs: 0000:05:00.0 runs GRID M60-2Q, whose framebuffer is 2 GiB; GRID M60-8Q has 8 GiB; 0000:06:00.0 has room for vGPU 0, but not together with the others
	// [0000:05:00.0] other-size: 0000:05:00.0 runs GRID M60-2Q, whose framebuffer is 2 GiB; GRID M60-8Q has 8 GiB
	// [0000:06:00.0] not-together: 0000:06:00.0 has room for vGPU 0, but not together with the others
	// next: ask for fewer or smaller vGPUs, or free a GPU
}

// Explain tells the same without anything being refused.
func ExampleSnapshot_Explain() {
	s, err := vgpu.NewSnapshot(vgpu.HostInventory{Inventory: inventory("tesla-m60@0000:05:00.0", "mtty")})
	if err != nil {
		log.Fatal(err)
	}
	node := 0
	reasons, err := s.Explain([]vgpu.Request{{Type: "nvidia-22", Parent: "0000:06:00.0"}}, vgpu.PlacementOptions{Policy: vgpu.NUMA, NUMANode: &node})
	if err != nil {
		log.Fatal(err)
	}
	for _, reason := range reasons {
		fmt.Println(reason.Code+":", reason.Text)
	}
	// Output:
	// pinned-elsewhere: vGPU 0 is pinned to another parent than 0000:05:00.0
	// pinned-elsewhere: vGPU 0 is pinned to another parent than mtty
}

func ExampleNewSnapshot() {
	_, err := vgpu.NewSnapshot(
		vgpu.HostInventory{Host: "rack1", Inventory: inventory("mtty")},
		vgpu.HostInventory{Host: "rack1", Inventory: inventory("mtty")},
	)
	fmt.Println(errors.Is(err, vgpu.ErrInvalid))
	// Output: true
}
