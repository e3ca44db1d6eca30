package vgpu

import (
	"errors"
	"fmt"

	"github.com/google/uuid"

	"github.com/vgpukit/vgpukit/domain"
	"github.com/vgpukit/vgpukit/mdev"
)

// State is what a VM together with its vGPUs is at.
type State string

// The states of a VM.
const (
	StateAbsent     State = "absent"     // no such domain
	StateOff        State = "off"        // defined, not running; Reserved vGPUs are there
	StateRunning    State = "running"    // it has a QEMU process, paused or not, and its vGPUs
	StateIncomplete State = "incomplete" // off, and a Reserved vGPU is gone: the host was rebooted, or someone removed it
)

// The Manager's operations, as in errors, steps and the state directory.
const (
	opProvision = "provision"
	opStart     = "start"
	opStop      = "stop"
	opTeardown  = "teardown"
	opReconcile = "reconcile"
	opPlan      = "plan"
	opStatus    = "status"
	opList      = "list"
	opWatch     = "watch"
	opAdopt     = "adopt"
	opForget    = "forget"
	opUpdate    = "update"
	opTakeOver  = "state take-over"
)

// transitions says for each operation in which states it may begin and where
// it ends. What is not in it is refused. An operation that finds the VM where it
// would bring it succeeds without doing anything.
var transitions = map[string]map[State]State{
	opProvision: {StateAbsent: StateOff},
	opStart:     {StateOff: StateRunning, StateIncomplete: StateRunning, StateRunning: StateRunning},
	opStop:      {StateRunning: StateOff, StateOff: StateOff, StateIncomplete: StateIncomplete},
	opTeardown:  {StateOff: StateAbsent, StateRunning: StateAbsent, StateIncomplete: StateAbsent},
	opAdopt:     {StateOff: StateOff, StateRunning: StateRunning, StateIncomplete: StateIncomplete},
	opForget:    {StateOff: StateOff, StateRunning: StateRunning, StateIncomplete: StateIncomplete},
	opUpdate:    {StateOff: StateOff, StateIncomplete: StateIncomplete},
}

// legal refuses an operation that the VM's state does not allow.
func legal(op string, s State) error {
	if _, ok := transitions[op][s]; ok {
		return nil
	}
	switch {
	case op == opUpdate && s == StateRunning:
		return &Error{Kind: ErrState, Err: errors.New("the VM is running, and its vGPUs can only be changed while it is off"), Next: "stop it, update it, and start it again"}
	case s == StateAbsent:
		return &Error{Kind: ErrNotFound, Err: errors.New("no domain of that name"), Next: "virsh list --all shows the domains that there are"}
	}
	return &Error{Kind: ErrExists, Err: fmt.Errorf("a domain of that name is there and is %s", s), Next: "choose another name, or tear the VM down first"}
}

// VM is a VM with its vGPUs, as observed.
type VM struct {
	Name  string    `json:"name"`
	UUID  uuid.UUID `json:"uuid"`
	State State     `json:"state"`
	// DomainState is libvirt's word for it.
	DomainState domain.State `json:"domain_state"`
	Lifetime    Lifetime     `json:"lifetime"`
	VGPUs       []VGPU       `json:"vgpus"`
	// Unfinished is the operation that was interrupted, if one was. The next
	// operation on the VM, or Reconcile, finishes or undoes it.
	Unfinished string `json:"unfinished,omitempty"`
	// Drift is how the VM's document differs from what the VM was granted.
	Drift []Drift `json:"drift,omitempty"`
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
