// Package vgpukit gives KVM virtual machines their vGPUs.
//
// The work is done by three packages; this one holds no code:
//
//		            your program
//		                 |
//		               vgpu              the Manager: VM and vGPU as one unit
//		              /    \
//		          mdev      domain       the host's vGPUs; libvirt domain documents
//		           |           |
//		           |      domain/virt    the connection to libvirt (the only cgo)
//		           |           |
//		    sysfs, VFIO     libvirtd, QEMU
//
//	  - [github.com/vgpukit/vgpukit/mdev] finds what the host's GPUs can offer and
//	    creates and removes vGPUs: VFIO mediated devices, SR-IOV virtual functions
//	    as their parents, and NVIDIA's vendor-specific VFIO framework.
//	  - [github.com/vgpukit/vgpukit/domain] puts a vGPU into a libvirt domain
//	    document at a chosen guest PCI address and changes no other byte of it.
//	  - [github.com/vgpukit/vgpukit/domain/virt] talks to libvirt.
//	  - [github.com/vgpukit/vgpukit/vgpu] brings VM and vGPU up and down in the
//	    right order, and cleans up after whatever died in between.
//
// The first two are pure Go and know nothing of each other.
package vgpukit
