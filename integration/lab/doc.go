// Package lab builds and boots a machine on which vGPUs can be tried without a GPU:
// a Debian with its stock kernel, libvirtd, QEMU, mdevctl and the kernel's sample
// mediated-device drivers mtty, mdpy and mbochs, and on demand simulated NVIDIA boards.
// It runs in QEMU, with KVM where that works, else in software. Its libvirt is as Debian
// has it but for /etc/libvirt/qemu.conf, which makes VMs start faster in software.
//
//	image, err := lab.Build(ctx, lab.Options{})
//	machine, err := lab.Boot(ctx, image, lab.Options{})
//	defer machine.Close()
//	err = machine.Run(ctx, lab.Command{Args: []string{"virsh", "list"}, Stdout: os.Stdout})
//
// Images are cached by a hash of what goes into them. Each machine has a disk, a directory
// and a port of its own, so any number of them runs side by side.
package lab
