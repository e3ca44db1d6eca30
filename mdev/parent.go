package mdev

// Parent is what can make vGPUs: a GPU, an SR-IOV virtual function of one,
// or a virtual device.
type Parent struct {
	Name      string    `json:"name"` // as sysfs names it: "0000:05:00.0", "mtty"
	Path      string    `json:"path"` // below the root: "sys/devices/…"
	GPU       string    `json:"gpu"`  // the physical GPU's name; its own when it is one
	Framework Framework `json:"framework"`
	PCI       *PCI      `json:"pci,omitempty"`       // nil: not on a PCI bus
	NUMANode  *int      `json:"numa_node,omitempty"` // nil: the kernel knows of none
	Driver    string    `json:"driver,omitempty"`
	PF        string    `json:"pf,omitempty"` // the physical function's PCI address, of a virtual one
	Types     []Type    `json:"types"`        // sorted by id, numbers by value
	Devices   []Device  `json:"devices"`      // sorted by id
	Problems  []Problem `json:"problems"`
}

// PCI identifies a PCI function. The ids are lower-case hexadecimal, without
// "0x".
type PCI struct {
	Address string `json:"address"` // "0000:41:00.4"
	Vendor  string `json:"vendor"`  // "10de"
	Device  string `json:"device"`  // "2235"
	Class   string `json:"class"`   // "030200"
}

// ID returns the vendor's and device's ids as lspci -n writes them: "10de:2235". It is
// "" for what is on no PCI bus, such as mtty, and where one could not be read. An address
// that has another ID than before is another device: the buses were renumbered.
func (p *PCI) ID() string {
	if p == nil || p.Vendor == "" || p.Device == "" {
		return ""
	}
	return p.Vendor + ":" + p.Device
}

// device is the PCI device's id, "" where that is not known.
func (p *PCI) device() string {
	if p == nil {
		return ""
	}
	return p.Device
}
