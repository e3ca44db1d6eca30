package domain

import (
	"strconv"

	"github.com/google/uuid"

	"github.com/vgpukit/vgpukit/internal/devicexml"
)

// ID names a vGPU: a mediated device by its UUID, or a virtual function by its host
// PCI address. It is a value that can be compared; the zero ID names nothing.
type ID struct {
	uuid uuid.UUID
	vf   Address
	kind idKind
}

type idKind uint8

const (
	idNone idKind = iota
	idMdev
	idVF
)

// ParseID reads an id in any spelling that libvirt takes for a UUID, or lspci for an
// address: upper case, without dashes, 41:00.4. An error matches [ErrInvalid].
func ParseID(s string) (ID, error) {
	if a, ok := parseAddress(s); ok {
		return ID{vf: a, kind: idVF}, nil
	}
	if id, ok := devicexml.ParseUUID(s); ok {
		return ID{uuid: id, kind: idMdev}, nil
	}
	return ID{}, &Error{
		Op: "parse", Object: "device " + strconv.Quote(clip(s, 60)), Meaning: "neither a UUID nor a PCI address",
		Next: "name a mediated device by its UUID, a virtual function as 0000:41:00.4", Kind: ErrInvalid,
	}
}

// UUID returns the UUID of a mediated device.
func (id ID) UUID() (uuid.UUID, bool) { return id.uuid, id.kind == idMdev }

// VF returns the host PCI address of a virtual function.
func (id ID) VF() (Address, bool) { return id.vf, id.kind == idVF }

// String returns the one form in which sysfs, package mdev and [Hostdev.ID] have the
// id: a UUID in lower case with dashes, an address as 0000:41:00.4. It is "" for the
// zero ID.
func (id ID) String() string {
	switch id.kind {
	case idMdev:
		return id.uuid.String()
	case idVF:
		return id.vf.String()
	}
	return ""
}

// is tells whether the id names that device.
func (id ID) is(h Hostdev) bool { return id.kind != idNone && id.String() == h.ID() }
