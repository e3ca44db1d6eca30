package vgpukit_test

import (
	"os"

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
			w.libvirt.SetGuest(w.vm, vgputest.Guest{Deaf: true})
		}, stop, false},
		"nor does QEMU, and force is allowed": {func(w *world) {
			w.done(w.provision, w.start)
			w.libvirt.SetGuest(w.vm, vgputest.Guest{Deaf: true, IgnoresSIGTERM: true})
			w.force = true
		}, stop, false},
		"nor does QEMU, and force is not allowed": {func(w *world) {
			w.done(w.provision, w.start)
			w.libvirt.SetGuest(w.vm, vgputest.Guest{Deaf: true, IgnoresSIGTERM: true})
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
		"the state directory was lost": {func(w *world) {
			w.done(w.provision)
			require.NoError(w.t, os.RemoveAll(w.dir))
		}, reconcile, false},
		"the host was rebooted": {func(w *world) {
			w.done(w.provision)
			w.sim.Reboot()
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
