package main

import (
	"cmp"
	"regexp"
	"slices"
	"strings"

	"github.com/vgpukit/vgpukit/vgpu"
)

// inFlags has the library's hints, or their parts, that name what a program calls, and the same
// in the words of whoever types commands; {vm} and {id} are those that the hint is about. Of two
// that begin alike the longer comes first.
var inFlags = strings.NewReplacer(
	// of a copy
	"adopt it, with vGPUs of its own (fresh) or with those that it names if they are free",
	"vgpuctl adopt {vm} --fresh gives it vGPUs of its own; vgpuctl adopt {vm} takes those that it names, if they are free",
	"adopt the VM with vGPUs of its own (fresh)", "vgpuctl adopt {vm} --fresh gives it vGPUs of its own",
	"adopt that VM with vGPUs of its own (fresh), or take the hostdev out of it; or tear this one down",
	"vgpuctl adopt --fresh gives that VM vGPUs of its own; or take the hostdev out of it; or vgpuctl teardown {vm}",
	"shut it down with virsh first", "shut it down first: virsh shutdown {vm}",
	"define it again, tear it down, or forget it", "define it again, vgpuctl teardown {vm}, or vgpuctl forget {vm}",
	// of drift
	"reconcile with repair", "vgpuctl reconcile --repair",
	"update puts it back; update with give-up ends", "vgpuctl update {vm} puts it back; vgpuctl update {vm} --give-up ends",
	"stop it, update it, and start it again", "vgpuctl stop {vm}, vgpuctl update {vm}, then vgpuctl start {vm}",
	// of what is gone
	"start the VM, or reconcile with restore, to make it again", "vgpuctl start {vm}, or vgpuctl reconcile --restore, makes it again",
	"stop the VM, and start it to make", "vgpuctl stop {vm}, then vgpuctl start {vm} to make",
	"reconcile again after that, or with now; or tear it down", "vgpuctl reconcile after that, or with --now; or vgpuctl teardown {vm}",
	"reconcile again", "vgpuctl reconcile",
	"reconcile, which sets", "vgpuctl reconcile, which sets",
	// of what is another's
	"reconcile with a connection to that libvirt", "vgpuctl reconcile --connect with the URI of that libvirt",
	"connect to that libvirt", "connect to that libvirt (--connect)",
	"remove it if you know whose it is, then start the VM again", "vgpuctl remove {id}, if you know whose it is, then vgpuctl start {vm}",
	"remove it if you know whose it is, then start the VM", "vgpuctl remove {id}, if you know whose it is, then vgpuctl start {vm}",
	"remove it by force if it is not needed", "vgpuctl remove {id} --force, if it is not needed",
	"remove the vGPU by force", "vgpuctl remove {id} --force",
	"take the state directory over", "vgpuctl state take-over",
	// of a VM
	"tear that VM down", "tear that VM down (vgpuctl teardown)",
	"tear the VM down, or forget it", "vgpuctl teardown {vm}, or vgpuctl forget {vm}",
	"see what reconcile says", "see what vgpuctl reconcile --dry-run says",
	"tear the VM down", "vgpuctl teardown {vm}",
	"tear it down, which removes", "vgpuctl teardown {vm}, which removes",
	"give it more time, or allow force", "give it more time (--timeout), or allow SIGKILL (--force)",
	"undefine it with NVRAM (remove them) or KeepNVRAM", "vgpuctl teardown {vm} --nvram removes them",
	"undefine it with ManagedSave", "vgpuctl teardown {vm} --managed-save",
	"undefine it with SnapshotsMetadata", "vgpuctl teardown {vm} --snapshots",
	// of what an operator lets be placed on a GPU
	"uncordon the GPU ", "vgpuctl uncordon ",
	"release the quarantine of ", "vgpuctl quarantine --release ",
	"change the policy of ", "vgpuctl policy set ",
	"clear the policy of ", "vgpuctl policy clear ",
	"pin the vGPU to the GPU ", "pin it with --vgpu …,parent=",
	// of an operation
	"run reconcile, or repeat the operation", "vgpuctl reconcile, or repeat the command",
	"repeat the operation", "repeat the command",
)

// granted is a hint that names the VM itself: it is about a vGPU.
var granted = regexp.MustCompile(`^tear the VM (.+) down, or forget it`)

// hint is what to do in the words of flags. vm and id are what it is about; they may be empty.
func hint(next, vm, id string) string {
	if named := granted.FindStringSubmatch(next); named != nil {
		vm, next = named[1], granted.ReplaceAllString(next, "tear the VM down, or forget it")
	}
	return strings.NewReplacer("{vm}", quotedOr(vm, "VM"), "{id}", quotedOr(id, "ID")).Replace(inFlags.Replace(next))
}

func quotedOr(name, none string) string {
	if name == "" {
		return none
	}
	return quoted(name)
}

// hintedVMs have the hints of their drift in the words of flags.
func hintedVMs(list []vgpu.VM) []vgpu.VM {
	list = slices.Clone(list)
	for i := range list {
		list[i].Drift = slices.Clone(list[i].Drift)
		for j, d := range list[i].Drift {
			list[i].Drift[j].Next = hint(d.Next, list[i].Name, d.Object)
		}
	}
	return list
}

// hintedAction has the hints of an action and of its failure in the words of flags.
func hintedAction(a vgpu.Action) vgpu.Action {
	a.Next = hint(a.Next, a.VM, a.Object)
	a.Error = hintedError(a.Error, a.VM, a.Object)
	return a
}

// hintedError is an error whose hint is in the words of flags.
func hintedError(e *vgpu.Error, vm, id string) *vgpu.Error {
	if e == nil {
		return nil
	}
	told := *e
	told.Next = hint(e.Hint(), cmp.Or(vm, e.VM), cmp.Or(e.Object, id))
	return &told
}
