package mdev

// Framework is the kernel interface through which a parent makes vGPUs. It
// is discovered, never configured.
type Framework string

// The frameworks.
const (
	// FrameworkMdev is the kernel's mediated devices: Linux
	// Documentation/driver-api/vfio-mediated-device.rst.
	FrameworkMdev Framework = "mdev"
	// FrameworkVendorVFIO is NVIDIA's vendor-specific VFIO framework on
	// SR-IOV virtual functions, for kernels without mediated devices.
	FrameworkVendorVFIO Framework = "vendor-vfio"
)

// Inventory is one host's offer at one moment. It is plain data that belongs
// to the caller; its lists are never nil.
type Inventory struct {
	GPUs     []GPU     `json:"gpus"`     // sorted by name
	Problems []Problem `json:"problems"` // what belongs to no GPU
}

// GPU is one physical GPU, or a virtual parent such as mtty, together with
// what it can really still hold.
type GPU struct {
	Name     string     `json:"name"` // "0000:41:00.0", "mtty"
	PCI      *PCI       `json:"pci,omitempty"`
	NUMANode *int       `json:"numa_node,omitempty"` // nil: the kernel knows of none
	Driver   string     `json:"driver,omitempty"`
	SRIOV    *SRIOV     `json:"sriov,omitempty"` // nil: it has no such capability
	MIG      *MIG       `json:"mig,omitempty"`   // nil: not known
	Parents  []Parent   `json:"parents"`         // sorted by name; none while its VFs are not enabled
	Capacity []Capacity `json:"capacity"`        // sorted by type
	Problems []Problem  `json:"problems"`
}

// Capacity says how many more devices of one type a GPU can hold.
//
// A sum over its parents says too much where the parents are virtual
// functions: each of 32 VFs offers one instance of a type of which the GPU
// can hold four. So the number is the smallest of
//
//   - the instances that the parents offer together;
//   - the type's instances at most, less the devices on the GPU that have
//     the same framebuffer size (they share one division of the memory), or
//     of a MIG-backed type the devices of that type;
//   - the framebuffer that the devices on the GPU leave, divided by the
//     type's.
//
// It stays an upper bound where the kernel does not tell more: for MIG-backed
// types whose GPU instances are partly taken, and for mixed-size placement,
// where the free memory may be in pieces.
type Capacity struct {
	Type      string `json:"type"` // the type's id
	Name      string `json:"name"`
	Available int    `json:"available"`
	Max       int    `json:"max"` // on an empty GPU; 0: not known
}

// SRIOV is the state of a physical function's virtual functions.
type SRIOV struct {
	Total   int      `json:"total"`   // that it could have
	Enabled int      `json:"enabled"` // that it has
	VFs     []string `json:"vfs"`     // their PCI addresses, in order of their number
}

// MIG is the state of multi-instance GPU mode, as far as NVIDIA's driver
// shows it under /proc/driver/nvidia.
type MIG struct {
	Enabled   bool `json:"enabled"`
	Instances int  `json:"instances"` // GPU instances that exist
}

// Problem is something about one object that could not be read or is not as
// it should be. It never hides the rest of the inventory.
type Problem struct {
	Object string `json:"object"` // a path below the root, or a name
	Text   string `json:"text"`
	Next   string `json:"next,omitempty"` // what to do about it
	Err    error  `json:"-"`
}
