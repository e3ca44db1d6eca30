// Package vgpukit gives KVM virtual machines their vGPUs. [Open] is the front door:
//
//	kit, err := vgpukit.Open(ctx, vgpukit.Config{}) // this host and its libvirt
//	…
//	defer kit.Close()
//	vm, err := kit.Provision(ctx, vgpu.ProvisionRequest{…})
//	vm, err = kit.Start(ctx, vm.Name, vgpu.StartOptions{})
//
// The work is done by five packages, which can be used without this one:
//
//		            your program
//		                 |
//		              vgpukit            opens what is below
//		                 |
//		               vgpu              the Manager: VM and vGPU as one unit
//		            / |    \
//		  placement   |     \            which GPU takes which vGPU
//		            \ |      \
//		          mdev      domain       the host's vGPUs; libvirt domain documents
//		           |           |
//		           |      domain/virt    the connection to libvirt (calls C: needs cgo)
//		           |           |
//		    sysfs, VFIO     libvirtd, QEMU
//
//	  - [github.com/vgpukit/vgpukit/mdev] finds what the host's GPUs can offer and
//	    creates and removes vGPUs: VFIO mediated devices, SR-IOV virtual functions
//	    as their parents, and NVIDIA's vendor-specific VFIO framework.
//	  - [github.com/vgpukit/vgpukit/domain] puts a vGPU into a libvirt domain
//	    document at a chosen guest PCI address and changes no other byte of it.
//	  - [github.com/vgpukit/vgpukit/domain/virt] talks to libvirt.
//	  - [github.com/vgpukit/vgpukit/vgpu/placement] chooses the GPUs.
//	  - [github.com/vgpukit/vgpukit/vgpu] brings VM and vGPU up and down in the
//	    right order, and cleans up after whatever died in between.
//
// mdev and domain are pure Go and know nothing of each other. The words are explained in
// docs/concepts.md of the repository, the order of all steps in docs/architecture.md.
package vgpukit
