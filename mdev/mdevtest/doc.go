// Package mdevtest simulates GPU hosts: NVIDIA boards of both vGPU
// frameworks, in and out of MIG mode, Intel GVT-g, s390 ap and ccw parents, and
// the Linux kernel's sample drivers, with the rules, errnos and side effects of the
// real ones.
//
//	gpu, _ := mdevtest.NewBoard("tesla-m60")
//	sim := mdevtest.New(gpu)
//	host, err := mdev.Open(mdev.Config{FS: sim})
//
// A [Host] is an [mdev.FS]: a tree of sys/, dev/, proc/ and etc/, resolved as
// the kernel resolves it. Writing a UUID into a type's "create" makes a device
// or fails with the errno that the driver would give; a VM is played by
// [Host.Use], a reboot by [Host.Reboot], a dying GPU by [Host.Unplug]. Any
// access can be made to fail, to call back, or to be the last one before the
// process under test dies; see [Host.Fail].
//
// A GPU in MIG mode has the GPU instances that a [Board] starts with, and those that
// [Host.CreateGPUInstance] or nvidia-smi make. A MIG-backed vGPU has one for itself; on
// Blackwell vGPUs of one size share one. A Host is also an [mdev.Source].
//
// The facts are those of Linux 6.12 (drivers/vfio/mdev, samples/vfio-mdev)
// and of NVIDIA's vGPU guides and open kernel modules; boards.txt has NVIDIA's boards and
// their types. Where no source tells what the hardware does, the doc of the board or
// method says "chosen". Integration tests compare the samples with a real kernel.
package mdevtest
