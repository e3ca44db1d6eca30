package mdev

// DeviceState tells whether a device can be used.
type DeviceState string

// The states of a device.
const (
	// StateReady: it has its type, its driver and its VFIO node.
	StateReady DeviceState = "ready"
	// StateHalfMade: it is being made or removed at this moment, or has no
	// driver.
	StateHalfMade DeviceState = "half-made"
	// StateGhost: someone's write to its "remove" is blocked by the VM that
	// has it open. It has left the bus and cannot be removed again, but holds
	// its instance until the VM lets go.
	StateGhost DeviceState = "ghost"
)

// Device is one vGPU: an mdev, or a virtual function that has a vGPU type.
type Device struct {
	ID         string      `json:"id"` // the UUID in lower case, or the VF's PCI address
	Framework  Framework   `json:"framework"`
	Parent     string      `json:"parent"`
	GPU        string      `json:"gpu"`
	Type       string      `json:"type"` // the type's id; "" when it cannot be known
	TypeName   string      `json:"type_name"`
	DeviceAPI  string      `json:"device_api"`
	IOMMUGroup string      `json:"iommu_group,omitempty"` // "12"
	VFIONode   string      `json:"vfio_node,omitempty"`   // "/dev/vfio/12"
	VFIOCdev   string      `json:"vfio_cdev,omitempty"`   // "/dev/vfio/devices/vfio3", where the kernel has it
	Driver     string      `json:"driver,omitempty"`
	Path       string      `json:"path"` // below the root: "sys/devices/…"
	State      DeviceState `json:"state"`
	Holder     *Holder     `json:"holder,omitempty"` // nil: nobody, or not known without root
	Problems   []Problem   `json:"problems"`
}

// Holder is the process that has a device open. A field that is not known is
// zero.
type Holder struct {
	PID     int    `json:"pid,omitempty"`
	Command string `json:"command,omitempty"` // "qemu-system-x86"
	VM      string `json:"vm,omitempty"`      // the libvirt domain's name
}

// Param is one attribute that is written to a device after it was created.
type Param struct {
	Name  string `json:"name"` // "vgpu_params", "placement_id", "assign_adapter"…
	Value string `json:"value"`
}
