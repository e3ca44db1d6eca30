package mdevtest

import (
	"fmt"
	"strings"
	"syscall"
)

var apAttributes = []string{
	"assign_adapter", "assign_domain", "assign_control_domain",
	"unassign_adapter", "unassign_domain", "unassign_control_domain",
	"matrix", "guest_matrix", "control_domains",
}

// apFiles adds the attributes of a vfio_ap mdev: 256 adapters, domains and
// control domains. A queue belongs to one mdev only: EADDRINUSE.
func (h *Host) apFiles(d *device) {
	m := &apMatrix{}
	d.ap = m
	bit := func(name string, set *[256]bool, queues bool) {
		h.attr(d.node, "assign_"+name, nil, func(data string) effect {
			id, err := parseUint(data, 16)
			switch {
			case err != nil:
				return failed(err)
			case d.vfio.holder != nil && h.before(5, 14):
				return failed(syscall.EBUSY)
			case id > 255:
				return failed(syscall.ENODEV)
			}
			before := *set
			set[id] = true
			if queues && h.queueTaken(d) {
				*set = before
				return failed(syscall.EADDRINUSE)
			}
			return effect{}
		})
		h.attr(d.node, "unassign_"+name, nil, func(data string) effect {
			id, err := parseUint(data, 16)
			switch {
			case err != nil:
				return failed(err)
			case id > 255:
				return failed(syscall.ENODEV)
			}
			set[id] = false
			return effect{}
		})
	}
	bit("adapter", &m.adapters, true)
	bit("domain", &m.domains, true)
	bit("control_domain", &m.control, false)
	show := func() (string, error) { return m.String(), nil }
	h.attr(d.node, "matrix", show, nil)
	h.attr(d.node, "guest_matrix", show, nil)
	h.attr(d.node, "control_domains", func() (string, error) {
		var b strings.Builder
		for id, on := range m.control {
			if on {
				fmt.Fprintf(&b, "%04x\n", id)
			}
		}
		return b.String(), nil
	}, nil)
}

type apMatrix struct{ adapters, domains, control [256]bool }

// String is the content of "matrix": one queue a line, or one line an adapter
// or domain when there are only such.
func (m *apMatrix) String() string {
	var queues, adapters, domains strings.Builder
	for a, on := range m.adapters {
		if on {
			fmt.Fprintf(&adapters, "%02x.\n", a)
		}
		for q, on2 := range m.domains {
			if on && on2 {
				fmt.Fprintf(&queues, "%02x.%04x\n", a, q)
			}
			if a == 0 && on2 {
				fmt.Fprintf(&domains, ".%04x\n", q)
			}
		}
	}
	if queues.Len() > 0 {
		return queues.String()
	}
	return adapters.String() + domains.String()
}

func (h *Host) queueTaken(d *device) bool {
	for _, other := range h.devices {
		if other == d || other.ap == nil {
			continue
		}
		for a := range 256 {
			for q := range 256 {
				if d.ap.adapters[a] && other.ap.adapters[a] && d.ap.domains[q] && other.ap.domains[q] {
					return true
				}
			}
		}
	}
	return false
}
