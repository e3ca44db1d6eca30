package placement_test

import (
	"context"
	"errors"
	"fmt"
	"log"

	"github.com/vgpukit/vgpukit/mdev"
	"github.com/vgpukit/vgpukit/mdev/mdevtest"
	"github.com/vgpukit/vgpukit/vgpu/placement"
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
	fleet, err := placement.NewSnapshot(
		placement.HostInventory{Host: "old", Inventory: inventory("tesla-m60")},
		placement.HostInventory{Host: "new", Inventory: inventory("a40@0000:41:00.0,vfs=8", "a40@0000:c1:00.0,vfs=8")},
	)
	if err != nil {
		log.Fatal(err)
	}
	requests := []placement.Request{{Type: "NVIDIA A40-8Q"}, {Type: "NVIDIA A40-8Q"}}
	for _, options := range []placement.Options{{}, {Policy: placement.Spread}} {
		where, err := fleet.Place(requests, options)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println("on host", where.Host)
		for _, v := range where.VGPUs {
			fmt.Println(" ", v.TypeName, "on", v.Parent, "or", v.Alternatives[0].Parent)
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
	s, err := placement.NewSnapshot(placement.HostInventory{Inventory: inventory("tesla-m60")})
	if err != nil {
		log.Fatal(err)
	}
	for n := 0; ; n++ {
		where, err := s.Place([]placement.Request{{Type: "GRID M60-4Q"}}, placement.Options{})
		if errors.Is(err, placement.ErrNoCapacity) {
			fmt.Println(n, "VMs fit")
			break
		} else if err != nil {
			log.Fatal(err)
		}
		if s, err = s.After(where); err != nil {
			log.Fatal(err)
		}
	}
	// Output: 4 VMs fit
}

// A refusal tells for each parent why not, and what to do.
func ExampleRefusal() {
	s, err := placement.NewSnapshot(placement.HostInventory{Inventory: inventory("tesla-m60@0000:05:00.0")})
	if err != nil {
		log.Fatal(err)
	}
	first, err := s.Place([]placement.Request{{Type: "GRID M60-2Q"}}, placement.Options{})
	if err != nil {
		log.Fatal(err)
	}
	if s, err = s.After(first); err != nil {
		log.Fatal(err)
	}
	_, err = s.Place([]placement.Request{{Type: "GRID M60-8Q"}, {Type: "GRID M60-8Q"}}, placement.Options{})
	fmt.Println(err)
	var refusal *placement.Refusal
	if errors.As(err, &refusal) {
		for _, reason := range refusal.Reasons() {
			fmt.Println(reason.Parents, reason.Code+":", reason.Text)
		}
		fmt.Println("next:", refusal.Hint())
	}
	// Output:
	// place: no host can take all 2 vGPUs: 0000:05:00.0 runs GRID M60-2Q, whose framebuffer is 2 GiB; GRID M60-8Q has 8 GiB; 0000:06:00.0 has room for vGPU 0, but not together with the others
	// [0000:05:00.0] other-size: 0000:05:00.0 runs GRID M60-2Q, whose framebuffer is 2 GiB; GRID M60-8Q has 8 GiB
	// [0000:06:00.0] not-jointly: 0000:06:00.0 has room for vGPU 0, but not together with the others
	// next: ask for fewer or smaller vGPUs, or free a GPU
}

func ExampleNewSnapshot() {
	_, err := placement.NewSnapshot(
		placement.HostInventory{Host: "rack1", Inventory: inventory("mtty")},
		placement.HostInventory{Host: "rack1", Inventory: inventory("mtty")},
	)
	fmt.Println(errors.Is(err, placement.ErrInvalid))
	// Output: true
}

// An operator keeps one GPU for maintenance, and lets the other run two of one type.
func ExampleGPUPolicy() {
	snapshot, err := placement.NewSnapshot(placement.HostInventory{
		Inventory: inventory("tesla-m60@0000:05:00.0"),
		Policies: map[string]placement.GPUPolicy{
			"0000:05:00.0": {Cordoned: "its fan is to be replaced"},
			"0000:06:00.0": {Types: []placement.TypeLimit{{Type: "GRID M60-2Q", Most: 2}}},
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	where, err := snapshot.Place([]placement.Request{{Type: "GRID M60-2Q"}}, placement.Options{})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(where.VGPUs[0].GPU)
	_, err = snapshot.Place([]placement.Request{{Type: "GRID M60-4Q"}}, placement.Options{})
	var refusal *placement.Refusal
	if errors.As(err, &refusal) {
		for _, r := range refusal.Reasons() {
			fmt.Println(r.Code+":", r.Text)
		}
	}
	// Output:
	// 0000:06:00.0
	// cordoned: 0000:05:00.0 is cordoned: its fan is to be replaced
	// type-not-allowed: 0000:06:00.0 may not run GRID M60-4Q by its policy, which allows GRID M60-2Q
}
