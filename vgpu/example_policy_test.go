package vgpu_test

import (
	"context"
	"fmt"
	"os"

	"github.com/vgpukit/vgpukit/mdev"
	"github.com/vgpukit/vgpukit/mdev/mdevtest"
	"github.com/vgpukit/vgpukit/vgpu"
	"github.com/vgpukit/vgpukit/vgpu/placement"
)

// An operator lets a GPU run two vGPUs of one type, and cordons the other.
func ExampleManager_ChangePolicy() {
	m, _, _, done := example()
	defer done()
	ctx := context.Background()
	_, err := m.ChangePolicy(ctx, "0000:05:00.0", func(p *vgpu.GPUPolicy) error {
		p.Types = []placement.TypeLimit{{Type: "GRID M60-2Q", Most: 2}}
		return nil
	})
	check(err)
	_, err = m.ChangePolicy(ctx, "0000:06:00.0", func(p *vgpu.GPUPolicy) error {
		p.Cordoned = "its fan is to be replaced"
		return nil
	})
	check(err)
	_, err = m.Plan(ctx, vgpu.ProvisionRequest{Domain: machine("desktop"), VGPUs: []vgpu.Request{{Type: "GRID M60-8Q"}}})
	fmt.Println(err)
	fmt.Println("next:", vgpu.Hint(err))
	// Output:
	// plan desktop: place vGPU 0: no GPU can take it: 0000:05:00.0 may not run GRID M60-8Q by its policy, which allows GRID M60-2Q; 0000:06:00.0 is cordoned: its fan is to be replaced
	// next: uncordon the GPU 0000:06:00.0
}

func ExampleManager_Policies() {
	m, _, _, done := example()
	defer done()
	ctx := context.Background()
	_, err := m.ChangePolicy(ctx, "0000:06:00.0", func(p *vgpu.GPUPolicy) error {
		p.Reserved = true
		return nil
	})
	check(err)
	policies, err := m.Policies(ctx)
	check(err)
	for _, p := range policies {
		fmt.Println(p.GPU, p)
	}
	// Output:
	// 0000:06:00.0 reserved
}

// A program that shows a host's GPUs, and may change nothing, reads what operators have said of them.
func ExampleReadPolicies() {
	sim, err := mdevtest.NewHost("tesla-m60")
	check(err)
	host, err := mdev.Open(mdev.Config{FS: sim})
	check(err)
	inv, err := host.Inventory(context.Background())
	check(err)
	policies, err := vgpu.ReadPolicies("/nowhere/vgpukit", inv)
	fmt.Println(len(policies), err)
	// Output: 0 <nil>
}

// A GPU is cordoned while libvirt is down.
func ExampleLedger_ChangePolicy() {
	sim, err := mdevtest.NewHost("tesla-m60@0000:05:00.0")
	check(err)
	host, err := mdev.Open(mdev.Config{FS: sim})
	check(err)
	dir, err := os.MkdirTemp("", "vgpukit-example")
	check(err)
	defer os.RemoveAll(dir)
	ledger, err := vgpu.OpenLedger(vgpu.Config{Host: host, StateDir: dir + "/state", RuntimeDir: dir + "/run"})
	check(err)
	policy, err := ledger.ChangePolicy(context.Background(), "0000:05:00.0", func(p *vgpu.GPUPolicy) error {
		p.Cordoned = "maintenance"
		return nil
	})
	check(err)
	fmt.Println(policy)
	// Output:
	// cordoned: maintenance
}
