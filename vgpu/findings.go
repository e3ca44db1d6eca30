package vgpu

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/vgpukit/vgpukit/mdev"
)

// ActionKind is what Reconcile found and does about it.
type ActionKind string

const (
	ActionFinish   ActionKind = "finish"    // an operation was interrupted: finish or undo it
	ActionRelease  ActionKind = "release"   // the VM is off and its vGPU lives only while it runs: remove the vGPU
	ActionOrphan   ActionKind = "orphan"    // the VM was undefined, its vGPU is left: remove it
	ActionAdopt    ActionKind = "adopt"     // the document names vGPUs of ours and the claim is lost or old: write it
	ActionForget   ActionKind = "forget"    // the VM is gone and so are its vGPUs: drop the claim
	ActionRestore  ActionKind = "restore"   // a Reserved vGPU vanished: make it again, if asked to
	ActionSetAside ActionKind = "set-aside" // an entry of the state directory is damaged: move it away
	ActionSweep    ActionKind = "sweep"     // a temporary file of a writer that died: remove it

	ReportForeign   ActionKind = "foreign"   // a device has our id and another type: left alone
	ReportGhost     ActionKind = "ghost"     // a removal that is blocked holds an instance: gone when its VM ends
	ReportBusy      ActionKind = "busy"      // another operation is at work on the VM: left alone
	ReportElsewhere ActionKind = "elsewhere" // the VM was provisioned through another libvirt and is not known here: left alone
	ReportUnread    ActionKind = "unread"    // a domain's document, an entry or a part of the host could not be read: left alone
)

// Action is one finding and what was done about it.
type Action struct {
	Kind   ActionKind `json:"kind"`
	VM     string     `json:"vm,omitempty"`
	Object string     `json:"object,omitempty"` // a vGPU's id, an operation, a file
	Reason string     `json:"reason"`
	Done   bool       `json:"done"`            // false: only reported, in a dry run, or failed
	Error  *Error     `json:"error,omitempty"` // why it failed; nil: it did not
	Next   string     `json:"next,omitempty"`  // what to do about it

	// partial: the rest of the host was read, so that Reconcile as a whole succeeds.
	partial bool
}

// failed is the action with why it failed.
func (a Action) failed(err error) Action {
	e, ok := err.(*Error)
	if !ok {
		e = &Error{Op: opReconcile, VM: a.VM, Kind: kindOf(err), Err: err}
	}
	a.Error, a.Next = e, e.Hint()
	return a
}

// findings is what is to be done about one VM: a pure function, so that a dry
// run and a real one cannot differ.
func (v *view) findings(s *survey, opts ReconcileOptions) []Action {
	name := v.name
	if v.elsewhere != "" {
		return []Action{{
			Kind: ReportElsewhere, VM: name, Object: v.elsewhere, Reason: "the VM was provisioned through that libvirt and is not known to this one",
			Next: "reconcile with a connection to that libvirt",
		}}
	}
	if v.intent != nil {
		return []Action{{
			Kind: ActionFinish, VM: name, Object: v.intent.Operation,
			Reason: fmt.Sprintf("process %d began it at %s and did not finish", v.intent.PID, v.intent.Since.Format(time.RFC3339)),
		}}
	}
	var found []Action
	for _, id := range slices.Sorted(maps.Keys(v.foreign)) {
		found = append(found, Action{Kind: ReportForeign, VM: name, Object: id, Reason: v.foreign[id], Next: "remove it if you know whose it is, then start the VM"})
	}
	for _, d := range v.surplus() {
		found = append(found, Action{Kind: ActionRelease, VM: name, Object: d.ID, Reason: "the VM is off and its vGPU lives only while it runs"})
	}
	if v.state() == StateIncomplete {
		for _, d := range v.missing() {
			if _, foreign := v.foreign[d.ID]; foreign {
				continue
			}
			a := Action{Kind: ActionRestore, VM: name, Object: d.ID, Reason: "the vGPU does not exist; the kernel forgets vGPUs when the host reboots"}
			if !opts.Restore {
				a.Next = "start the VM, or reconcile with restore, to make it again"
			}
			found = append(found, a)
		}
	}
	claimed := v.claim != nil && (!v.ours || sameDevices(v.claim.Devices, v.devices))
	if v.claim != nil {
		for _, d := range v.claim.Devices {
			_, exists := v.found[d.ID]
			owner, named := s.namedBy[d.ID]
			if mine := v.ours && slices.ContainsFunc(v.devices, func(e device) bool { return e.ID == d.ID }); mine || owner == name {
				owner, named = name, mine // the domains were listed before, and the VM may have come or gone
			}
			if len(s.unread) > 0 && !named {
				return found // the domain that could not be read may have it
			}
			if exists && !named {
				found = append(found, Action{Kind: ActionOrphan, VM: name, Object: d.ID, Reason: "we made it for the VM, and no domain has it"})
			} else if exists && owner != name && v.defined {
				claimed = false
			}
		}
	}
	switch {
	case v.ours && !claimed:
		found = append(found, Action{Kind: ActionAdopt, VM: name, Reason: "its document names vGPUs of ours and the state directory does not"})
	case v.claim != nil && !v.ours:
		found = append(found, Action{Kind: ActionForget, VM: name, Reason: "no domain of that name has vGPUs of ours"})
	}
	return found
}

func needsWork(found []Action) bool { return slices.ContainsFunc(found, Action.toDo) }

// toDo tells whether there is something to do, and not only to report.
func (a Action) toDo() bool {
	return a.Kind != ReportForeign && a.Kind != ReportElsewhere && !(a.Kind == ActionRestore && a.Next != "")
}

// strangers lists the devices that no domain's metadata, claim or intent names.
func (s *survey) strangers() []mdev.Device {
	ours := map[string]bool{}
	for _, v := range s.views {
		for _, d := range v.everyDevice() {
			_, foreign := v.foreign[d.ID]
			_, found := v.found[d.ID]
			ours[d.ID] = ours[d.ID] || found || !foreign && !d.vf()
		}
	}
	strangers := []mdev.Device{}
	for _, id := range s.order {
		if !ours[id] && s.devices[id].State != mdev.StateGhost { // a ghost is reported as one
			strangers = append(strangers, s.devices[id])
		}
	}
	return strangers
}

// anomalies reports what belongs to no VM of ours and is worth knowing.
func (s *survey) anomalies() []Action {
	var odd []Action
	for _, id := range s.order {
		if d := s.devices[id]; d.State == mdev.StateGhost {
			odd = append(odd, Action{
				Kind: ReportGhost, VM: s.namedBy[id], Object: id, Reason: "a removal of it is blocked by the VM that holds it; it still takes an instance on " + d.Parent,
				Next: "it goes when that VM ends",
			})
		}
	}
	for _, p := range s.inventory.AllProblems() {
		if p.Err != nil {
			a := Action{Kind: ReportUnread, Object: p.Object, Reason: p.Text, partial: true}.failed(p.Err)
			a.Next = p.Next
			odd = append(odd, a)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(s.unread)) {
		odd = append(odd, Action{Kind: ReportUnread, VM: name, Reason: "the domain's document could not be read"}.failed(s.unread[name]))
	}
	return odd
}
