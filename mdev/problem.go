package mdev

import (
	"slices"
	"strings"
)

// Problem is something about one object that could not be read or is not as
// it should be. It never hides the rest of the inventory.
type Problem struct {
	Object string `json:"object"` // a path below the root, or a name
	Text   string `json:"text"`
	Next   string `json:"next,omitempty"` // what to do about it
	Err    error  `json:"-"`
}

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
