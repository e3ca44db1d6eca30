package vgpukit_test

import (
	"github.com/stretchr/testify/require"

	"github.com/vgpukit/vgpukit/domain"
	"github.com/vgpukit/vgpukit/vgpu/vgputest"
)

// scenario is a call on a host at which other things happened before.
type scenario struct {
	before func(*world)
	call   func(*world) call
	fails  bool
}

// scenarios are the calls of each verb's table in the document.
var scenarios = map[string]map[string]scenario{
	"Provision": {
		"a new VM":                              {nothing, provision, false},
		"a new VM, its vGPU only while it runs": {nothing, func(w *world) call { return w.provisionWhileRunning }, false},
		"the VM is there as asked":              {func(w *world) { w.done(w.provision) }, provision, false},
		"the first GPU refuses":                 {func(w *world) { w.refuse(firstGPU) }, provision, false},
		"libvirt refuses the document":          {func(w *world) { w.libvirt.Fail(refusal("Define")) }, provision, true},
	},
	"Start": {
		"its vGPU is there":   {func(w *world) { w.done(w.provision) }, start, false},
		"its vGPU is missing": {func(w *world) { w.done(w.provision); w.sim.Reboot() }, start, false},
		"its vGPU has to go to another GPU": {func(w *world) {
			w.done(w.provision)
			w.sim.Reboot()
			w.occupy(firstGPU)
		}, start, false},
		"its document has lost the vGPU": {func(w *world) {
			w.done(w.provision)
			w.edit(withoutHostdev)
		}, start, true},
		"it runs already": {func(w *world) { w.done(w.provision, w.start) }, start, false},
		"libvirt refuses to start it": {func(w *world) {
			w.done(w.provisionWhileRunning)
			w.libvirt.Fail(refusal("Start"))
		}, start, true},
	},
	"Stop": {
		"the guest shuts down": {func(w *world) { w.done(w.provision, w.start) }, stop, false},
		"the guest does not listen": {func(w *world) {
			w.done(w.provision, w.start)
			w.setGuest(vgputest.Guest{Deaf: true})
		}, stop, false},
		"nor does QEMU, and force is allowed": {func(w *world) {
			w.done(w.provision, w.start)
			w.setGuest(vgputest.Guest{Deaf: true, IgnoresSIGTERM: true})
			w.force = true
		}, stop, false},
		"nor does QEMU, and force is not allowed": {func(w *world) {
			w.done(w.provision, w.start)
			w.setGuest(vgputest.Guest{Deaf: true, IgnoresSIGTERM: true})
		}, stop, true},
		"its vGPU is only for while it runs": {func(w *world) { w.done(w.provisionWhileRunning, w.start) }, stop, false},
		"it is off already":                  {func(w *world) { w.done(w.provision) }, stop, false},
	},
	"Teardown": {
		"a VM that is off": {func(w *world) { w.done(w.provision) }, teardown, false},
		"a running VM":     {func(w *world) { w.done(w.provision, w.start) }, teardown, false},
		"a running VM, its vGPU only while it runs": {func(w *world) { w.done(w.provisionWhileRunning, w.start) }, teardown, false},
		"a VM that was undefined by hand": {func(w *world) {
			w.done(w.provision)
			w.undefine()
		}, teardown, false},
	},
	"Adopt": {
		"the state directory was lost": {func(w *world) {
			w.done(w.provision)
			w.loseState("")
		}, adopt, false},
		"a clone, with vGPUs of its own": {func(w *world) {
			w.done(w.provision)
			w.clone()
			w.adopting.Fresh = true
		}, adopt, false},
		"a clone, with the vGPU of the original": {func(w *world) {
			w.done(w.provision)
			w.clone()
		}, adopt, true},
		"it is in our care": {func(w *world) { w.done(w.provision) }, adopt, false},
	},
	"Forget": {
		"a VM, running or not": {func(w *world) { w.done(w.provision, w.start) }, forget, false},
	},
	"Update": {
		"a hostdev was taken out": {func(w *world) {
			w.done(w.provision)
			w.edit(withoutHostdev)
		}, update, false},
		"a hostdev was taken out, with GiveUp": {func(w *world) {
			w.done(w.provisionTwo)
			w.edit(withoutHostdev)
			w.updating.GiveUp = true
		}, update, false},
		"nothing differs": {func(w *world) { w.done(w.provision) }, update, false},
	},
	"Reconcile": {
		"all is well": {func(w *world) { w.done(w.provision) }, reconcile, false},
		"a Provision was killed before the VM was defined": {func(w *world) { w.killed(w.provision, "create") }, reconcile, false},
		"a Stop was killed": {func(w *world) {
			w.done(w.provision, w.start)
			w.killed(w.stop, "journal")
		}, reconcile, false},
		"a VM ended by itself, and its vGPU is left": {func(w *world) {
			w.done(w.provisionWhileRunning, w.start)
			require.NoError(w.t, w.libvirt.Crash(w.t.Context(), w.vm))
		}, reconcile, false},
		"a VM was undefined by hand": {func(w *world) {
			w.done(w.provision)
			w.undefine()
		}, reconcile, false},
		"a VM was undefined by hand, with Now": {func(w *world) {
			w.done(w.provision)
			w.undefine()
			w.reconciling.Now = true
		}, reconcile, false},
		"the state directory was lost": {func(w *world) {
			w.done(w.provision)
			w.loseState("")
		}, reconcile, false},
		"the owner files were lost": {func(w *world) {
			w.done(w.provision)
			w.loseState("owners")
		}, reconcile, false},
		"the document was redefined without metadata, with Repair": {func(w *world) {
			w.done(w.provision)
			w.edit((*domain.Document).WithoutMetadata)
			w.reconciling.Repair = true
		}, reconcile, false},
		"the host was rebooted, with Restore": {func(w *world) {
			w.done(w.provision)
			w.sim.Reboot()
			w.reconciling.Restore = true
		}, reconcile, false},
	},
	"Watch": {
		"a VM ends by itself": {func(w *world) { w.done(w.provisionWhileRunning, w.start) }, func(w *world) call { return w.watch }, false},
	},
	"After a killed call": {
		"Start, after a Stop": {func(w *world) {
			w.done(w.provision, w.start)
			w.killed(w.stop, "journal")
		}, start, false},
		"Stop, after a Stop": {func(w *world) {
			w.done(w.provision, w.start)
			w.killed(w.stop, "journal")
		}, stop, false},
		"Provision, after a Provision": {func(w *world) { w.killed(w.provision, "create") }, provision, false},
	},
}

func refusal(method string) vgputest.Fault {
	return vgputest.Fault{Method: method, Err: &vgputest.Error{Kind: domain.ErrUnsupported, Message: "this QEMU has no such device"}}
}

func nothing(*world) {}

func provision(w *world) call { return w.provision }
func start(w *world) call     { return w.start }
func stop(w *world) call      { return w.stop }
func teardown(w *world) call  { return w.teardown }
func reconcile(w *world) call { return w.reconcile }
func adopt(w *world) call     { return w.adopt }
func forget(w *world) call    { return w.forget }
func update(w *world) call    { return w.update }

// withoutHostdev takes the first vGPU out of a document.
func withoutHostdev(doc *domain.Document) (*domain.Document, error) {
	return doc.Remove(doc.Hostdevs()[0].ID())
}
