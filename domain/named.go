package domain

import (
	"regexp"

	"github.com/google/uuid"
)

// What reads as the UUID of an mdev or the host address of a PCI device, in what is passed to
// QEMU unseen.
var (
	uuidText    = regexp.MustCompile(`[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}`)
	addressText = regexp.MustCompile(`(?:[0-9a-fA-F]{4,8}:)?[0-9a-fA-F]{2}:[0-9a-fA-F]{2}\.[0-7]`)
)

// Named returns the ids of the host's devices that the document names, each once: in its
// hostdevs and interfaces, and in what <qemu:override> and <qemu:commandline> pass to QEMU, where
// whatever reads as a UUID or a PCI address counts.
func (d *Document) Named() []string {
	var ids []string
	seen := map[string]bool{}
	add := func(id string) {
		if id != "" && !seen[id] {
			seen[id] = true
			ids = append(ids, id)
		}
	}
	for _, h := range d.Hostdevs() {
		add(h.ID())
	}
	passed := func(text string) {
		for _, found := range uuidText.FindAllString(text, -1) {
			if id, err := uuid.Parse(found); err == nil {
				add(id.String())
			}
		}
		for _, found := range addressText.FindAllString(text, -1) {
			if a, ok := parseAddress(found); ok {
				add(a.String())
			}
		}
	}
	for n := range d.root.In(qemuSpace, "override", "device", "frontend", "property") {
		text, _ := n.Attr("value")
		passed(text)
	}
	for n := range d.root.In(qemuSpace, "commandline", "arg") {
		text, _ := n.Attr("value")
		passed(text)
	}
	return ids
}
