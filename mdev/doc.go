// Package mdev finds, creates and removes a Linux host's vGPUs: VFIO mediated
// devices of any driver, SR-IOV virtual functions as their parents, and
// NVIDIA's vendor-specific VFIO framework on kernels without mediated devices.
//
//	host, err := mdev.Open(mdev.Config{})
//	inventory, err := host.Inventory(ctx)
//	made, err := host.Create(ctx, mdev.CreateRequest{Type: "GRID M60-8Q"})
//	err = host.Remove(ctx, made.ID)
//
// A parent is what can make vGPUs: a GPU or one of its virtual functions. A
// type is a kind of vGPU that it offers, by id (nvidia-22) or by name (GRID
// M60-8Q). A device is one vGPU: an mdev by its UUID, or a virtual function by
// its PCI address.
//
// The kernel is the only truth: between calls nothing is kept but names of types
// and sizes of boards, no program is needed, and no file. Nothing here hangs:
// every wait ends with its context or sooner, and a device in use is refused at
// once, with the VM's name. Every error tells what to do; see [Error].
//
// The facts about the kernel are from Documentation/ABI/testing/
// sysfs-bus-vfio-mdev and drivers/vfio/mdev of Linux, those about NVIDIA from
// its vGPU user guides and open kernel modules.
package mdev
