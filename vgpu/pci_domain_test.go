package vgpu

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vgpukit/vgpukit/domain"
	"github.com/vgpukit/vgpukit/mdev"
)

// vmdVF is a virtual function of a board behind Intel's VMD, whose PCI domain
// needs more than 16 bits.
const vmdVF = "10000:41:00.4"

// TestVFBehindVMD: a vGPU in a PCI domain above 0xffff lives as any other, and the
// document, our metadata there, the claim, the lease and Status have its whole
// address.
func TestVFBehindVMD(t *testing.T) {
	for _, life := range []Lifetime{Reserved, WhileRunning} {
		t.Run(string(life), func(t *testing.T) {
			r := newRig(t, "l40s@10000:41:00.0,vfs=4,vendor-vfio")
			ctx := t.Context()
			before := r.world()
			req := request("vm", "NVIDIA L40S-4Q", 1)
			req.Lifetime, req.VGPUs[0].Parent = life, vmdVF

			vm, err := r.m.Provision(ctx, req)
			require.NoError(t, err)
			r.hasVF(vm, vmdVF, life == Reserved)
			again, err := r.m.Provision(ctx, req)
			require.NoError(t, err)
			assert.True(t, again.Existed)

			vm, err = r.m.Start(ctx, "vm", StartOptions{})
			require.NoError(t, err)
			assert.Equal(t, StateRunning, vm.State)
			r.hasVF(vm, vmdVF, true)
			assert.Equal(t, "10000:41:00.0", vm.VGPUs[0].GPU)
			report, err := r.m.Reconcile(ctx, ReconcileOptions{})
			require.NoError(t, err)
			assert.Empty(t, report.Actions)
			assert.Empty(t, report.Strangers)

			vm, err = r.m.Stop(ctx, "vm", quickStop)
			require.NoError(t, err)
			r.hasVF(vm, vmdVF, life == Reserved)
			require.NoError(t, r.m.Teardown(ctx, "vm", TeardownOptions{Stop: quickStop}))
			assert.Equal(t, before, r.world(), "nothing is left")
			assert.False(t, r.m.store.owners.Has(vmdVF), "it is nobody's")
		})
	}
}

// TestVFMovesOutOfALargePCIDomain: a vGPU whose place another took meanwhile
// starts on a function in another PCI domain.
func TestVFMovesOutOfALargePCIDomain(t *testing.T) {
	r := newRig(t, "l40s@10000:41:00.0,vfs=1,vendor-vfio", "l40s@0000:41:00.0,vfs=1,vendor-vfio")
	ctx := t.Context()
	take := func(vf string) {
		_, err := r.host.Create(ctx, mdev.CreateRequest{Type: "NVIDIA L40S-4Q", Parent: vf})
		require.NoError(t, err)
	}
	take("0000:41:00.4")
	vm := r.provisionVM("NVIDIA L40S-4Q", WhileRunning)
	r.hasVF(vm, vmdVF, false)

	require.NoError(t, r.host.Remove(ctx, "0000:41:00.4"))
	take(vmdVF)
	vm, err := r.m.Start(ctx, "vm", StartOptions{})
	require.NoError(t, err)
	r.hasVF(vm, "0000:41:00.4", true)
}

// hasVF checks that every place names the virtual function as the VM's vGPU.
func (r *rig) hasVF(vm VM, vf string, present bool) {
	r.t.Helper()
	require.Len(r.t, vm.VGPUs, 1)
	assert.Equal(r.t, []string{vf, vf}, []string{vm.VGPUs[0].ID, vm.VGPUs[0].Parent})
	assert.Equal(r.t, present, vm.VGPUs[0].Present)
	assert.Empty(r.t, vm.VGPUs[0].Problem)
	status, err := r.m.Status(r.t.Context(), vm.Name)
	require.NoError(r.t, err)
	assert.Equal(r.t, vm.VGPUs, status.VGPUs)

	xml, err := r.xml(vm.Name)
	require.NoError(r.t, err)
	doc, err := domain.Parse([]byte(xml))
	require.NoError(r.t, err)
	require.Len(r.t, doc.Hostdevs(), 1)
	assert.Equal(r.t, vf, doc.Hostdevs()[0].ID())
	metadata, ok, err := doc.Metadata()
	require.NoError(r.t, err)
	require.True(r.t, ok)
	require.Len(r.t, metadata.VGPUs, 1)
	assert.Equal(r.t, []string{vf, vf}, []string{metadata.VGPUs[0].ID, metadata.VGPUs[0].Parent})

	g, ok, err := r.m.store.grants.Read(vm.UUID.String())
	require.NoError(r.t, err)
	require.True(r.t, ok)
	require.Len(r.t, g.VGPUs, 1)
	assert.Equal(r.t, []string{vf, vf}, []string{g.VGPUs[0].ID, g.VGPUs[0].Parent})
	if present {
		w, owned, err := r.m.ownerOf(vf)
		require.NoError(r.t, err)
		require.True(r.t, owned)
		assert.Equal(r.t, vm.UUID, w.VM)
	}
}
