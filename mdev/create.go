package mdev

import "github.com/google/uuid"

// CreateRequest says what to create.
type CreateRequest struct {
	// Type is the type's id ("nvidia-22") or name ("GRID M60-8Q"). Required.
	Type string
	// Parent is the parent's name. Empty: any parent that has room.
	Parent string
	// UUID is that of the new mdev. Zero: a new one is made. A virtual
	// function of the vendor-specific VFIO framework has none: a request that
	// has a UUID never uses one.
	UUID uuid.UUID
	// Params are written to the device after its creation, in order.
	Params []Param
}

// Created is a device as it was read back.
type Created struct {
	Device
	Existed bool `json:"existed"` // it was already there, as asked
}
