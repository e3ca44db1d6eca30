// Package vgputest is a hypervisor for tests: libvirt with QEMU, as it behaves towards
// the vGPUs of a simulated host of package mdevtest. Whoever writes a program on
// package vgpu tests it without libvirt, QEMU or a GPU.
//
//	sim, _ := mdevtest.NewHost("tesla-m60")
//	host, _ := mdev.Open(mdev.Config{FS: sim})
//	libvirt := vgputest.New(sim)
//	manager, _ := vgpu.New(vgpu.Config{Host: host, Hypervisor: libvirt, StateDir: dir})
//
// A VM that starts opens its vGPUs: they are in use then, their removal is refused, and
// a start whose vGPU is missing, held or refused by the driver fails with libvirt's
// words. A reboot of the simulated host ends all VMs. Domains are persistent or
// transient, with a live and a saved document, a managed save, snapshots, autostart;
// events come as libvirt sends them. A parity test compares states, events and errors
// with those of a real libvirt and QEMU, row by row.
//
// [Hypervisor.Fail] makes calls fail, wait or hang. [Hypervisor.Virsh] is somebody
// else's hand at the same libvirt, which no fault strikes. [Hypervisor.Serve] lets other
// processes reach it by libvirt's own protocol: virsh, domain/virt, any libvirt client; it
// counts their messages and does as much at a time as a libvirtd, see [Limits].
//
// What is simulated is what concerns vGPUs. A document is kept as it was given, with a
// UUID if it had none and without the marks of a VM that runs: libvirt would also write
// down its defaults. No guest runs: by default it powers off when asked and lets go of a
// device at once, see [Guest].
package vgputest
