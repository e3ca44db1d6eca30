package statedir

import (
	"strings"
)

// Machine is what one machine is told from another by. An id that is empty, not of 32
// hexadecimal digits, or of one digit throughout is not known.
type Machine struct {
	ID  string `json:"machine_id,omitempty"` // of /etc/machine-id
	DMI string `json:"dmi_uuid,omitempty"`   // of the board's firmware
}

// Other tells whether two are provably two machines: an id is known of both and differs.
func (m Machine) Other(than Machine) bool {
	m, than = m.canonical(), than.canonical()
	differ := func(a, b string) bool { return a != "" && b != "" && a != b }
	return differ(m.ID, than.ID) || differ(m.DMI, than.DMI)
}

// surely tells whether two are provably one machine.
func (m Machine) surely(is Machine) bool {
	m, is = m.canonical(), is.canonical()
	return !m.Other(is) && (m.ID != "" && m.ID == is.ID || m.DMI != "" && m.DMI == is.DMI)
}

// with adds the ids that only another look at the machine knows.
func (m Machine) with(more Machine) Machine {
	if m.ID == "" {
		m.ID = more.ID
	}
	if m.DMI == "" {
		m.DMI = more.DMI
	}
	return m
}

func (m Machine) canonical() Machine { return Machine{canonicalID(m.ID), canonicalID(m.DMI)} }

func canonicalID(id string) string {
	id = strings.ToLower(strings.ReplaceAll(strings.TrimSpace(id), "-", ""))
	if len(id) != 32 || strings.Trim(id, "0123456789abcdef") != "" || strings.Trim(id, id[:1]) == "" {
		return ""
	}
	return id
}

// String names the machine's ids, as far as they are known.
func (m Machine) String() string {
	m = m.canonical()
	var ids []string
	if m.ID != "" {
		ids = append(ids, "machine id "+m.ID)
	}
	if m.DMI != "" {
		ids = append(ids, "DMI UUID "+m.DMI)
	}
	if len(ids) == 0 {
		return "no id that is known"
	}
	return strings.Join(ids, ", ")
}
