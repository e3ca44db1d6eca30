package vgpu

import (
	"fmt"

	"github.com/google/uuid"

	"github.com/vgpukit/vgpukit/domain"
	"github.com/vgpukit/vgpukit/mdev"
	"github.com/vgpukit/vgpukit/vgpu/placement"
)

// State is what a VM together with its vGPUs is at.
type State string

const (
	StateAbsent     State = "absent"     // no such domain
	StateOff        State = "off"        // defined, not running; Reserved vGPUs are there
	StateRunning    State = "running"    // it has a QEMU process, paused or not, and its vGPUs
	StateIncomplete State = "incomplete" // off, and a Reserved vGPU is gone: the host was rebooted, or someone removed it
)

// The operations that change a VM.
const (
	opProvision = "provision"
	opStart     = "start"
	opStop      = "stop"
	opTeardown  = "teardown"

	opReconcile = "reconcile"
	opAdopt     = "adopt" // Reconcile writes a claim that was lost
)

// transitions says for each operation in which states it may begin and where
// it ends. What is not in it is refused. An operation that finds the VM where it
// would bring it succeeds without doing anything.
var transitions = map[string]map[State]State{
	opProvision: {StateAbsent: StateOff},
	opStart:     {StateOff: StateRunning, StateIncomplete: StateRunning, StateRunning: StateRunning},
	opStop:      {StateRunning: StateOff, StateOff: StateOff, StateIncomplete: StateIncomplete},
	opTeardown:  {StateOff: StateAbsent, StateRunning: StateAbsent, StateIncomplete: StateAbsent},
}

// legal refuses an operation that the VM's state does not allow.
func legal(op string, s State) error {
	if _, ok := transitions[op][s]; ok {
		return nil
	}
	if s == StateAbsent {
		return &Error{Kind: ErrNotFound, Err: fmt.Errorf("no domain of that name"), Next: "virsh list --all shows the domains that there are"}
	}
	return &Error{Kind: ErrExists, Err: fmt.Errorf("a domain of that name is there and is %s", s), Next: "choose another name, or tear the VM down first"}
}

// VM is a VM with its vGPUs, as observed.
type VM struct {
	Name     string       `json:"name"`
	UUID     uuid.UUID    `json:"uuid"`
	State    State        `json:"state"`
	Domain   domain.State `json:"domain"` // libvirt's word for it
	Lifetime Lifetime     `json:"lifetime"`
	VGPUs    []VGPU       `json:"vgpus"`
	// Unfinished is the operation that was interrupted, if one was. The next
	// operation on the VM, or Reconcile, finishes or undoes it.
	Unfinished string `json:"unfinished,omitempty"`
	// Existed: Provision found the VM there as asked and did nothing.
	Existed bool `json:"existed,omitempty"`
}

// VGPU is one vGPU of a VM.
type VGPU struct {
	ID        string         `json:"id"` // the mdev's UUID, or the VF's address on the host
	Type      string         `json:"type"`
	TypeName  string         `json:"type_name,omitempty"`
	Framework mdev.Framework `json:"framework,omitempty"`
	Parent    string         `json:"parent"`
	GPU       string         `json:"gpu,omitempty"`
	Address   string         `json:"address,omitempty"` // in the guest; empty until libvirt has chosen
	Present   bool           `json:"present"`           // it exists on the host
	Node      string         `json:"vfio_node,omitempty"`
	Problem   string         `json:"problem,omitempty"` // what is wrong with it, if anything
}

// view is one VM as all places know it: what operations decide upon.
type view struct {
	info    domain.Info
	defined bool
	doc     *domain.Document // nil unless defined
	claim   *record          // nil: none
	intent  *record          // nil: nothing unfinished
	devices []device         // the VM's vGPUs: by its metadata, else by claim, else by intent
	ours    bool             // the document's metadata names vGPUs
	life    Lifetime
	found   map[string]mdev.Device // those of devices that exist
	leased  map[string]bool        // virtual functions that have no vGPU and a lease of the VM
	foreign map[string]string      // ids that exist, but as something else than what we made: what
	// elsewhere is the libvirt through which the VM was provisioned, if that is not
	// this one and the VM is not known here.
	elsewhere string
}

// placement is where the caller wants the VM's vGPUs.
func (v *view) placement() placement.Options {
	for _, r := range []*record{v.claim, v.intent} {
		if r != nil {
			return r.Placement
		}
	}
	return placement.Options{}
}

// state derives the VM's state from what was observed.
func (v *view) state() State {
	switch {
	case !v.defined:
		return StateAbsent
	case v.info.State.Active():
		return StateRunning
	case v.life == Reserved && len(v.missing()) > 0:
		return StateIncomplete
	}
	return StateOff
}

// missing lists the vGPUs that do not exist on the host as ours.
func (v *view) missing() []device {
	var missing []device
	for _, d := range v.devices {
		if _, ok := v.found[d.ID]; !ok {
			missing = append(missing, d)
		}
	}
	return missing
}

// vm is the view as callers see it.
func (v *view) vm(name string) VM {
	vm := VM{Name: name, UUID: v.info.UUID, State: v.state(), Domain: v.info.State, Lifetime: v.life, VGPUs: []VGPU{}}
	if v.intent != nil {
		vm.Unfinished = v.intent.Operation
	}
	addresses := map[string]string{}
	if v.doc != nil {
		for _, h := range v.doc.Hostdevs() {
			if h.Address != nil {
				addresses[h.ID()] = h.Address.String()
			}
		}
	}
	for _, d := range v.devices {
		g := VGPU{ID: d.ID, Type: d.Type, Parent: d.Parent, Address: addresses[d.ID]}
		if found, ok := v.found[d.ID]; ok {
			g.Present, g.TypeName, g.Framework, g.GPU, g.Node = true, found.TypeName, found.Framework, found.GPU, found.VFIONode
			if len(found.Problems) > 0 {
				g.Problem = found.Problems[0].Text
			}
		} else if other, ok := v.foreign[d.ID]; ok {
			g.Problem = other
		} else if v.life == Reserved || vm.State == StateRunning {
			g.Problem = "it does not exist on the host; start the VM to make it again"
		}
		vm.VGPUs = append(vm.VGPUs, g)
	}
	return vm
}
