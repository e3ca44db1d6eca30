// Package vgpu brings a VM and its vGPUs up and down as one.
//
// A [Manager] makes vGPUs on the host, writes them into the VM's libvirt
// document, starts and stops the VM, and takes everything away again, in an
// order in which nothing leaks: each effect is preceded by an intent on disk,
// each failure undoes what was done, last first, and whatever was killed half
// way is finished or undone by [Manager.Reconcile] or by the next operation on
// the same VM. The steps of each operation, and what a crash after each leaves,
// are in docs/architecture.md of the repository.
//
// The Manager is pure Go. It reaches the host through the interface [Host],
// which *mdev.Host satisfies, and libvirt through [Hypervisor], which
// *virt.Conn satisfies; a program may bring others.
//
// # Ownership
//
// Three places say which vGPUs are ours and can be compared: the state
// directory (a journal of unfinished work, and a claim for each VM that has
// vGPUs), the metadata in the VM's libvirt document, and the device itself by
// its UUID and type, or, since a virtual function has no UUID, by a lease in the
// state directory. What is observed outranks what is stored. A device or a
// domain that none of these names as ours is a stranger: it is reported by
// Reconcile and never touched.
//
// # Placement
//
// Which GPU takes which vGPU is decided by pure functions over a [Snapshot] of
// one host or of a fleet, so that a control plane can ask without doing.
package vgpu
