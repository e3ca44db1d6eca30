package vgpu

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/vgpukit/vgpukit/mdev"
	"github.com/vgpukit/vgpukit/mdev/mdevtest"
	"github.com/vgpukit/vgpukit/vgpu/vgputest"
)

// BenchmarkReconcile reconciles hosts with many VMs where nothing is to be done;
// the cost grows with their number.
func BenchmarkReconcile(b *testing.B) {
	for _, vms := range []int{125, 250, 500, 1000} {
		b.Run(fmt.Sprint(vms), func(b *testing.B) {
			sim := mdevtest.New()
			for range (vms + 31) / 32 {
				board, err := mdevtest.NewBoard("a40,vfs=32")
				require.NoError(b, err)
				require.NoError(b, sim.Plug(board))
			}
			host, err := mdev.Open(mdev.Config{FS: sim})
			require.NoError(b, err)
			hyper, dir := vgputest.New(sim), b.TempDir()
			inv, err := host.Inventory(b.Context())
			require.NoError(b, err)
			quick := oneGPU{Host: host}
			m, err := New(Config{Host: &quick, Hypervisor: hyper, StateDir: dir})
			require.NoError(b, err)
			n := 0
			for _, gpu := range inv.GPUs {
				quick.gpu = gpu
				for _, parent := range gpu.Parents {
					if n == vms {
						break
					}
					_, err := m.Provision(b.Context(), ProvisionRequest{
						Domain: document(fmt.Sprintf("vm-%d", n)), VGPUs: []Request{{Type: "NVIDIA A40-1Q", Parent: parent.Name}},
					})
					require.NoError(b, err)
					n++
				}
			}
			require.Equal(b, vms, n)
			m, err = New(Config{Host: host, Hypervisor: hyper, StateDir: dir})
			require.NoError(b, err)
			b.ReportAllocs()
			for b.Loop() {
				report, err := m.Reconcile(b.Context(), ReconcileOptions{})
				if err != nil || len(report.Actions) != 0 || len(report.Strangers) != 0 {
					b.Fatalf("%d actions, %d strangers, %v", len(report.Actions), len(report.Strangers), err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/float64(vms), "µs/VM")
		})
	}
}

// oneGPU shows only one GPU, as it was when empty, so that many VMs are quickly
// made.
type oneGPU struct {
	*mdev.Host
	gpu mdev.GPU
}

func (h *oneGPU) Inventory(context.Context) (*mdev.Inventory, error) {
	return &mdev.Inventory{GPUs: []mdev.GPU{h.gpu}}, nil
}
