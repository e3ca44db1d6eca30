package mdev

import (
	"fmt"
	"strings"

	"github.com/google/uuid"
)

// parseID returns a device's id as the kernel writes it.
func parseID(op, id string) (string, error) {
	if len(id) == 36 {
		if u, err := uuid.Parse(id); err == nil {
			return u.String(), nil
		}
	}
	if address, err := ParsePCIAddress(strings.ToLower(id)); err == nil {
		return address.String(), nil
	}
	return "", &Error{
		Op: op, Object: fmt.Sprintf("%q", id), Meaning: "neither a UUID nor a PCI address",
		Next: "name a device as the inventory does: an mdev by its UUID, a virtual function as 0000:41:00.4", Kind: ErrInvalid,
	}
}
