package mdev

import (
	"slices"
	"strings"
)

// Problem is something about one object that could not be read or is not as
// it should be. It never hides the rest of the inventory.
type Problem struct {
	Code   ProblemCode `json:"code,omitempty"` // empty: something could not be read
	Object string      `json:"object"`         // a path below the root, or a name
	Text   string      `json:"text"`
	Next   string      `json:"next,omitempty"` // what to do about it
	Err    error       `json:"-"`
}

// ProblemCode says in one word why a GPU makes no vGPUs, or not all that it could.
type ProblemCode string

// The codes.
const (
	// ProblemVFsOff: its virtual functions are not enabled.
	ProblemVFsOff ProblemCode = "vfs-not-enabled"
	// ProblemNoTypes: virtual functions offer no types of vGPUs.
	ProblemNoTypes ProblemCode = "vfs-without-types"
	// ProblemGivenWhole: it, or virtual functions of it, are bound to vfio-pci, to be given to
	// VMs as they are.
	ProblemGivenWhole ProblemCode = "given-whole"
	// ProblemDriver: it is bound to no driver, or to one that makes no vGPUs.
	ProblemDriver ProblemCode = "other-driver"
	// ProblemNoInstance: it is in MIG mode and has no GPU instance.
	ProblemNoInstance ProblemCode = "mig-without-instances"
	// ProblemIdle: it runs nothing and offers nothing.
	ProblemIdle ProblemCode = "offers-nothing"
)

// String returns one line: the object, what is wrong with it, and what to do.
func (p Problem) String() string {
	text := p.Text
	if !strings.Contains(text, p.Object) {
		text = p.Object + ": " + text
	}
	if p.Next != "" {
		text += "; " + p.Next
	}
	return strings.ReplaceAll(text, "\n", " ")
}

// unread tells whether it is of something that is there and could not be read.
func (p Problem) unread() bool { return p.Err != nil && !absent(p.Err) }

// AllProblems returns the problems of the inventory itself, and of its GPUs,
// parents and devices, in their order.
func (inv *Inventory) AllProblems() []Problem {
	all := slices.Clone(inv.Problems)
	for i := range inv.GPUs {
		gpu := &inv.GPUs[i]
		all = append(all, gpu.Problems...)
		for j := range gpu.Parents {
			all = append(all, gpu.Parents[j].Problems...)
			for _, dev := range gpu.Parents[j].Devices {
				all = append(all, dev.Problems...)
			}
		}
	}
	return all
}
