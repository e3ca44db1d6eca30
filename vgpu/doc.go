// Package vgpu brings a VM and its vGPUs up and down as one.
//
// A [Manager] makes vGPUs on the host, writes them into the VM's libvirt
// document, starts and stops the VM, and takes everything away again, in an
// order in which nothing leaks: each effect is preceded by the operation on disk,
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
// A VM is its UUID. What it was granted is in the state directory, and that alone permits
// to make, rewrite or remove a vGPU for it:
//
//   - a grant for each VM: which vGPUs, from Provision or Adopt to Teardown or Forget;
//   - an operation, while one is under way, so that it can be finished or undone;
//   - an owner file for each device: which VM has it, in this boot of the host;
//   - a copy of the grant in the metadata of the VM's libvirt document.
//
// A copy travels with the document, and grants nothing: a clone, a restored backup or a
// forged document is told, by Status and Reconcile, and never obeyed. Where a document
// differs from the grant that is [Drift], and the grant stands. A device that no grant,
// operation or owner file names is a stranger: it is reported by Reconcile and never touched.
//
// The ways out are on request only: [Manager.Adopt] for a clone, with vGPUs of its own or
// with those that it names if they are nobody's; [Manager.AdoptAll] after the loss of the
// state directory; [Manager.Update] for a hostdev that was taken out; Reconcile's Repair for
// a copy; [Manager.Forget] to end our care; [Manager.TakeOver] for a state directory that came
// from another machine or from a backup. What was granted to a VM that was undefined by
// hand is collected by Reconcile, after [Grace].
//
// # Placement
//
// Which GPU takes which vGPU is decided by package
// [github.com/vgpukit/vgpukit/vgpu/placement] over what one host or a fleet runs, so that
// a control plane can ask without doing. Its options go into [ProvisionRequest].
package vgpu
