package vgpu

import (
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/vgpukit/vgpukit/mdev"
	"github.com/vgpukit/vgpukit/vgpu/placement"
)

// grant is what a VM was granted. It alone permits to make, to rewrite or to remove a
// vGPU for the VM; what a document says is a copy.
type grant struct {
	VM   uuid.UUID `json:"vm"`
	Name string    `json:"name"` // the VM's, when the grant was written
	// Number counts the grants that this VM had, so that one which was restored from a
	// backup is told from the present one.
	Number    uint64            `json:"number"`
	Libvirt   string            `json:"libvirt"` // the one that has the VM
	Lifetime  Lifetime          `json:"lifetime"`
	Placement placement.Options `json:"placement,omitzero"` // where the caller wants the vGPUs
	VGPUs     []device          `json:"vgpus"`
}

func (g grant) key() string { return g.VM.String() }

// has tells whether the grant names a device.
func (g grant) has(d device) bool {
	return slices.ContainsFunc(g.VGPUs, func(other device) bool { return other.ID == d.ID })
}

// next numbers a grant that comes after another, which may be nil.
func (g grant) next(last *grant) grant {
	if last != nil {
		g.Number = last.Number
	}
	g.Number++
	return g
}

// device is one vGPU that a VM was granted.
type device struct {
	ID     string       `json:"id"` // UUID or VF address
	Type   string       `json:"type"`
	Parent string       `json:"parent"`
	GPU    string       `json:"gpu,omitempty"`
	Params []mdev.Param `json:"params,omitempty"`
	// Model is that of the hostdev, the type's device API; empty: vfio-pci.
	Model string `json:"model,omitempty"`
	// Pin is the parent or GPU that the caller asked for; empty: any will do. PinPCI is
	// what PCI device it was then: buses may be renumbered.
	Pin    string `json:"pin,omitempty"`
	PinPCI string `json:"pin_pci,omitempty"`
	// Address is where the guest has it, if the caller or the planner chose.
	Address string `json:"address,omitempty"`
}

// task is an operation that is under way, as it is stored: from before its first effect
// until after its last.
type task struct {
	VM        uuid.UUID `json:"vm"`
	Name      string    `json:"name"`
	Number    uuid.UUID `json:"number"` // of the operation; the owner files that it writes carry it
	Operation string    `json:"operation"`
	Since     time.Time `json:"since"`
	PID       int       `json:"pid"`
	Boot      string    `json:"boot"`
	Libvirt   string    `json:"libvirt"`
	// After is the number of the VM's last grant in this boot when the operation began, of one
	// that may be the VM's first.
	After uint64 `json:"after,omitempty"`
	// Run is libvirt's number of the run that the VM was in; 0: it was off.
	Run int `json:"run,omitempty"`
	// Grant is what the VM is to have: of an operation that grants.
	Grant *grant `json:"grant,omitempty"`
	// Fresh: the vGPUs of an adopted VM are made, and not found.
	Fresh bool `json:"fresh,omitempty"`
	// Was has the VM's vGPUs before some of them moved.
	Was []device `json:"was,omitempty"`
	// Stop and Teardown are the caller's wishes, so that an interrupted operation
	// can be finished as it was meant.
	Stop     *StopOptions     `json:"stop,omitempty"`
	Teardown *TeardownOptions `json:"teardown,omitempty"`
}

func (t task) key() string { return t.VM.String() }
