package mdev

import "context"

// Source tells of a GPU what sysfs does not show and NVIDIA's management library (NVML)
// does. [Config] takes one; without it these facts are not known, and what depends on them
// says so. Implementations are safe for concurrent use.
type Source interface {
	// Facts returns what is known of the GPU at a PCI address, "0000:41:00.0". An error
	// becomes a problem of that GPU; it hides nothing else. Only GPUs that NVIDIA's driver
	// has are asked about.
	Facts(ctx context.Context, address string) (Facts, error)
}

// Facts is what a [Source] knows of one GPU. A zero field is not known.
type Facts struct {
	Driver    string     `json:"driver,omitempty"`    // the host driver's version: "550.144.02"
	Memory    uint64     `json:"memory,omitempty"`    // bytes, of the whole GPU
	ECC       *bool      `json:"ecc,omitempty"`       // error correction is on
	MIG       *bool      `json:"mig,omitempty"`       // multi-instance GPU mode is on; nil: the board has none
	Instances []Instance `json:"instances,omitempty"` // in MIG mode: the GPU instances, by id
}

// Instance is a GPU instance: a part of a GPU in MIG mode, with memory of its own.
type Instance struct {
	ID      int    `json:"id"`
	Profile string `json:"profile"` // as nvidia-smi names it: "2g.24gb", "1g.24gb+gfx"
	Slices  int    `json:"slices"`  // compute slices, 1 to 7
	Memory  uint64 `json:"memory"`  // bytes
}
