package vgpu

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

// What plan says fits, Provision makes, and the one too many both refuse: in GPU instances that
// vGPUs share, in those that each has whole, and in types that two drivers spelled.
func TestProvisionFillsWhatThereIs(t *testing.T) {
	for _, c := range []struct {
		board, typ string
		fit        int
		says, next string
	}{
		{"rtx-pro-6000,vfs=8,mig=1g.24gb+gfx", "NVIDIA RTX Pro 6000 Blackwell DC-1-8Q", 3, "in its GPU instances", ""},
		{"rtx-pro-6000,vfs=8,mig=1g.24gb+gfx:2", "NVIDIA RTX Pro 6000 Blackwell DC-1-24Q", 2, "in its GPU instances", ""},
		{"rtx-pro-6000,vfs=8,mig", "NVIDIA RTX Pro 6000 Blackwell DC-1-24Q", 0, "is in MIG mode without GPU instances", "nvidia-smi mig -i 0000:41:00.0 -cgi 1g.24gb+gfx; or disable MIG mode"},
		{"a100-mig,vendor-vfio", "NVIDIA A100-3-20C", 1, "in its GPU instances", ""},
		{"a40,vfs=4,vfio-pci-types=3", "vfio-pci-575", 2, "0000:41:00.0 is full", "remove a vGPU"},
	} {
		t.Run(c.board+" "+c.typ, func(t *testing.T) {
			r := newRig(t, c.board)
			for i := range c.fit {
				vm := fmt.Sprintf("vm%d", i)
				plan, err := r.m.Plan(t.Context(), request(vm, c.typ, 1))
				require.NoError(t, err)
				made, err := r.m.Provision(t.Context(), request(vm, c.typ, 1))
				require.NoError(t, err)
				require.Equal(t, plan.VGPUs[0].Parent, made.VGPUs[0].Parent)
			}
			_, planned := r.m.Plan(t.Context(), request("more", c.typ, 1))
			_, made := r.m.Provision(t.Context(), request("more", c.typ, 1))
			for _, err := range []error{planned, made} {
				require.ErrorIs(t, err, ErrNoCapacity)
				require.ErrorContains(t, err, c.says)
				require.Contains(t, Hint(err), c.next)
				if c.fit == 0 {
					require.NotContains(t, Hint(err), "stop a VM")
				}
			}
			r.settled()
			for i := range c.fit {
				require.NoError(t, r.m.Teardown(t.Context(), fmt.Sprintf("vm%d", i), TeardownOptions{}))
			}
			require.Empty(t, r.sim.Devices())
		})
	}
}
