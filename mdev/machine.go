package mdev

import (
	"context"
	"strings"

	"github.com/google/uuid"
)

const (
	machineFile = "etc/machine-id"
	dmiFile     = "sys/class/dmi/id/product_uuid"
)

// Machine is what tells one machine from another. An id that could not be read, or that
// makers and images leave alike on many machines, is "": not known.
type Machine struct {
	ID  string `json:"machine_id,omitempty"` // /etc/machine-id: 32 hexadecimal digits in lower case
	DMI string `json:"dmi_uuid,omitempty"`   // the firmware's product UUID, in lower case
}

// Machine returns the ids of this machine. The firmware's is readable by root only. The
// error is that of a context that has ended.
func (h *Host) Machine(ctx context.Context) (Machine, error) {
	ctx, cancel := bounded(ctx, readTimeout)
	defer cancel()
	return look(ctx, h, "read the machine's ids", "", func(s *scan) (Machine, error) {
		id, _ := s.fs.ReadFile(machineFile)
		dmi, _ := s.fs.ReadFile(dmiFile)
		return Machine{ID: strings.ReplaceAll(machineUUID(id, 32), "-", ""), DMI: machineUUID(dmi, 36)}, nil
	})
}

// Other tells whether o is known to be another machine: an id that both have differs.
// One that either lacks says nothing.
func (m Machine) Other(o Machine) bool {
	differ := func(a, b string) bool { return a != "" && b != "" && a != b }
	return differ(m.ID, o.ID) || differ(m.DMI, o.DMI)
}

// machineUUID reads an id that is written with so many characters; "" if it is none, or
// all its digits are equal, as of firmware that was never given one.
func machineUUID(data []byte, length int) string {
	text := strings.TrimSpace(string(data))
	if len(text) != length {
		return ""
	}
	id, err := uuid.Parse(text)
	if err != nil {
		return ""
	}
	digits := strings.ReplaceAll(id.String(), "-", "")
	if strings.Count(digits, digits[:1]) == len(digits) {
		return ""
	}
	return id.String()
}
