package mdev

// Type is a kind of vGPU that a parent offers.
type Type struct {
	ID        string `json:"id"`         // "nvidia-22", "i915-GVTg_V5_8", "1145"
	Name      string `json:"name"`       // "GRID M60-8Q"; the id where the driver gives no name
	DeviceAPI string `json:"device_api"` // "vfio-pci", "vfio-ccw", "vfio-ap"
	// Available is the number that this parent says it can still make. For
	// what the whole GPU can hold see [Capacity].
	Available   int         `json:"available"`
	Description Description `json:"description"`
}

// Description is what the driver's description of a type says. A zero field
// was not said.
type Description struct {
	Framebuffer    uint64     `json:"framebuffer,omitempty"` // bytes
	Heads          int        `json:"heads,omitempty"`
	FrameRateLimit int        `json:"frame_rate_limit,omitempty"` // frames a second
	MaxResolution  Resolution `json:"max_resolution,omitzero"`
	MaxInstances   int        `json:"max_instances,omitempty"` // on an empty GPU
	LowGM          uint64     `json:"low_gm,omitempty"`        // bytes; GVT-g: mappable graphics memory
	HighGM         uint64     `json:"high_gm,omitempty"`       // bytes; GVT-g: the rest
	Fences         int        `json:"fences,omitempty"`        // GVT-g
	Weight         int        `json:"weight,omitempty"`        // GVT-g: share of the scheduler
	Extra          []Field    `json:"extra,omitempty"`         // unknown keys, in order
	Raw            string     `json:"raw,omitempty"`           // all of it, without the last newline
}

// Resolution is a size in pixels.
type Resolution struct {
	Width  int `json:"width"`
	Height int `json:"height"`
}

// Field is one that this package does not know, kept as it was written: of a
// type's description as text, of a [Definition] as JSON.
type Field struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}
