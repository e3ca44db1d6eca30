package vgpu

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/vgpukit/vgpukit/mdev"
)

// ActionKind is what Reconcile found and does about it.
type ActionKind string

const (
	ActionFinish   ActionKind = "finish"    // an operation was interrupted: finish or undo it
	ActionRelease  ActionKind = "release"   // the VM is off and its vGPU lives only while it runs: remove the vGPU
	ActionOrphan   ActionKind = "orphan"    // the VM is gone for good, its vGPU is left: remove it
	ActionForget   ActionKind = "forget"    // the VM is gone for good: end its grant
	ActionOwn      ActionKind = "own"       // a vGPU is as granted, and no file says whose it is: write it
	ActionDisown   ActionKind = "disown"    // a file says whose a device is that does not exist: remove it
	ActionRestore  ActionKind = "restore"   // a Reserved vGPU vanished: make it again, if asked to
	ActionRepair   ActionKind = "repair"    // the document's copy differs from the grant: write it again, if asked to
	ActionSetAside ActionKind = "set-aside" // an entry of the state directory is damaged: move it away
	ActionSweep    ActionKind = "sweep"     // a temporary file of a writer that died: remove it

	ReportForeign   ActionKind = "foreign"   // a device has our id and is not as granted: left alone
	ReportGhost     ActionKind = "ghost"     // a removal that is blocked holds an instance: gone when its VM ends
	ReportBusy      ActionKind = "busy"      // another operation is at work on the VM: left alone
	ReportElsewhere ActionKind = "elsewhere" // the vGPUs were granted to a VM of another libvirt: left alone
	ReportUnread    ActionKind = "unread"    // a domain's document, an entry or a part of the host could not be read: left alone
	ReportCopy      ActionKind = "copy"      // a domain was granted nothing and its metadata names vGPUs: a clone, or a lost state directory
	ReportDrift     ActionKind = "drift"     // a document differs from the grant: the grant stands
	ReportOutdated  ActionKind = "outdated"  // a grant came from a backup: left alone
	ReportHeld      ActionKind = "held"      // another VM, or process, has a VM's vGPU open
	ReportAbsent    ActionKind = "absent"    // a VM runs and its vGPU is gone
	ReportGone      ActionKind = "gone"      // the VM is not there; if it stays so, its vGPUs are collected
	ReportPolicy    ActionKind = "policy"    // a GPU's policy was made for another device: it does not apply
	ReportUnowned   ActionKind = "unowned"   // a device has an owner without a grant: left alone
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
	a.Error = asError(opReconcile, a.VM, err)
	a.Next = a.Error.Hint()
	return a
}

// asError is an error of an operation on a VM, if it is none already.
func asError(op, vm string, err error) *Error {
	if e, ok := err.(*Error); ok {
		return e
	}
	return &Error{Op: op, VM: vm, Kind: kindOf(err), Err: err}
}

// findings is what is to be done about one VM: a pure function, so that a dry
// run and a real one cannot differ.
func (v *view) findings(s *survey, gone goneness, opts ReconcileOptions) []Action {
	name := v.name
	switch {
	case v.elsewhere != "":
		return []Action{{
			Kind: ReportElsewhere, VM: name, Object: v.elsewhere, Reason: "the vGPUs were granted to a VM of that libvirt",
			Next: "reconcile with a connection to that libvirt",
		}}
	case v.outdated != nil:
		return v.told(ReportOutdated)
	case v.task != nil:
		return []Action{{
			Kind: ActionFinish, VM: name, Object: v.task.Operation,
			Reason: fmt.Sprintf("process %d began it at %s and did not finish", v.task.PID, v.task.Since.Format(time.RFC3339)),
		}}
	case v.grant == nil:
		return v.told(ReportCopy)
	case !v.defined:
		return v.collection(s, gone)
	}
	var found []Action
	for _, id := range slices.Sorted(maps.Keys(v.unowned)) {
		found = append(found, Action{Kind: ActionOwn, VM: name, Object: id, Reason: "the vGPU is as it was granted, and no file says whose it is"})
	}
	for _, id := range slices.Sorted(maps.Keys(v.foreign)) {
		if d, ok := v.device(id); ok && v.movesOn(d) {
			continue // another VM has the virtual function by now
		}
		found = append(found, Action{Kind: ReportForeign, VM: name, Object: id, Reason: v.foreign[id], Next: "remove it if you know whose it is, then start the VM"})
	}
	for _, d := range v.existing() {
		if h := v.found[d.ID].Holder; h != nil && h.VM != v.name {
			found = append(found, Action{Kind: ReportHeld, VM: name, Object: d.ID, Reason: fmt.Sprintf("process %d (%s %s) holds it", h.PID, h.Command, h.VM), Next: "stop that VM or process"})
		}
	}
	for _, d := range v.surplus() {
		found = append(found, Action{Kind: ActionRelease, VM: name, Object: d.ID, Reason: "the VM is off and its vGPU lives only while it runs"})
	}
	for _, d := range v.missing() {
		_, foreign := v.foreign[d.ID]
		switch {
		case foreign && !d.vf():
		case v.state() == StateRunning:
			found = append(found, Action{Kind: ReportAbsent, VM: name, Object: d.ID, Reason: "the VM runs, and its vGPU does not exist", Next: "stop the VM, and start it to make the vGPU again"})
		case v.state() == StateIncomplete:
			a := Action{Kind: ActionRestore, VM: name, Object: d.ID, Reason: "the vGPU does not exist; the kernel forgets vGPUs when the host reboots"}
			if !opts.Restore {
				a.Next = "start the VM, or reconcile with restore, to make it again"
			}
			found = append(found, a)
		}
	}
	if opts.Repair && slices.ContainsFunc(v.drift(), func(d Drift) bool { return d.copyOnly }) {
		found = append(found, Action{Kind: ActionRepair, VM: name, Reason: "the document's metadata differs from the grant"})
	}
	for _, a := range v.told(ReportDrift) {
		if !opts.Repair || a.Object != "" {
			found = append(found, a)
		}
	}
	return found
}

// told reports how a document differs.
func (v *view) told(kind ActionKind) []Action {
	var told []Action
	for _, d := range v.drift() {
		told = append(told, Action{Kind: kind, VM: v.name, Object: d.Object, Reason: d.Text, Next: d.Next})
	}
	return told
}

// collection is what is to be done about a VM that is not there.
func (v *view) collection(s *survey, gone goneness) []Action {
	for _, d := range v.devices {
		if other, ok := s.mayBeNamed(d.ID, v.id); ok {
			return []Action{{
				Kind: ReportGone, VM: v.name, Object: d.ID, Reason: fmt.Sprintf("the VM is not there, and the document of %s names its vGPU, or may do so", other),
				Next: "adopt that VM with vGPUs of its own (fresh), or take the hostdev out of it; or tear this one down",
			}}
		}
	}
	if !gone.forGood {
		return []Action{{
			Kind: ReportGone, VM: v.name, Reason: "libvirt does not have the VM any more" + gone.text,
			Next: "reconcile again after that, or with now; or tear it down",
		}}
	}
	var found []Action
	for _, d := range v.existing() {
		found = append(found, Action{Kind: ActionOrphan, VM: v.name, Object: d.ID, Reason: "it was made for the VM, and no domain has it"})
	}
	return append(found, Action{Kind: ActionForget, VM: v.name, Reason: "libvirt does not have the VM any more"})
}

func needsWork(found []Action) bool { return slices.ContainsFunc(found, Action.toDo) }

// toDo tells whether there is something to do, and not only to report.
func (a Action) toDo() bool {
	switch a.Kind {
	case ActionFinish, ActionRelease, ActionOrphan, ActionForget, ActionOwn, ActionDisown, ActionRepair, ActionSetAside, ActionSweep:
		return true
	case ActionRestore:
		return a.Next == ""
	}
	return false
}

// strangers lists the devices that belong to no VM by grant or owner.
func (s *survey) strangers(boot string) []mdev.Device {
	ours := map[string]bool{}
	for id, w := range s.owners {
		ours[id] = w.Boot == boot
	}
	for _, v := range s.views {
		for id := range v.unowned {
			ours[id] = true
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
				Kind: ReportGhost, VM: s.holderName(id), Object: id, Reason: "a removal of it is blocked by the VM that holds it; it still takes an instance on " + d.Parent,
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
	for _, id := range slices.SortedFunc(maps.Keys(s.unread), func(a, b uuid.UUID) int { return strings.Compare(s.names[a], s.names[b]) }) {
		u := s.unread[id]
		a := Action{Kind: ReportUnread, VM: s.names[id], Reason: "the domain's document could not be read"}
		if u.former {
			a.Reason, a.partial = "what an earlier version noted of it cannot be carried over yet", true
		}
		odd = append(odd, a.failed(u.err))
	}
	return odd
}

// holderName is a VM whose document names a device.
func (s *survey) holderName(id string) string {
	for _, vm := range s.namedBy[id] {
		return s.names[vm]
	}
	return ""
}
