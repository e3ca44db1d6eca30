package domain

import (
	"iter"

	"github.com/google/uuid"
	"libvirt.org/go/libvirtxml"

	"github.com/vgpukit/vgpukit/internal/devicexml"
)

// The models of a mediated device. The model must be the device API that the
// device's type shows in sysfs.
const (
	ModelPCI = "vfio-pci"
	ModelCCW = "vfio-ccw"
	ModelAP  = "vfio-ap"
)

// Switch is an attribute that is on, off, or not written.
type Switch string

// The values of a Switch. What libvirt makes of one that is not written is in
// the description of its field.
const (
	SwitchUnset Switch = ""
	SwitchOn    Switch = "on"
	SwitchOff   Switch = "off"
)

// Hostdev is a vGPU in a domain document: a mediated device, or a virtual
// function that a vendor's VFIO driver has made into a vGPU. It is a value.
type Hostdev struct {
	// UUID names a mediated device, as in /sys/bus/mdev/devices. It is zero for
	// a virtual function.
	UUID uuid.UUID `json:"uuid,omitzero"`
	// VF names a virtual function by its host PCI address: "0000:41:00.4". It
	// is written with managed='no', the only mode that leaves the vGPU alive.
	//
	// libvirt takes a PCI domain of 32 bits, such as that of 10000:41:00.4 behind
	// Intel's VMD, but writes it into QEMU's host=, which up to QEMU 10.0 takes 16
	// bits and else ends the start with "Property 'vfio-pci.host' doesn't take
	// value". Then give the device an Alias, and QEMU its path with a
	// <qemu:override> that removes host and sets sysfsdev to
	// /sys/bus/pci/devices/10000:41:00.4.
	VF string `json:"vf,omitempty"`
	// Model is the device API of a mediated device; empty means ModelPCI. A
	// virtual function has none, or ModelPCI.
	Model string `json:"model,omitempty"`
	// Display lets QEMU show the vGPU's screen. It needs a <graphics> element.
	// Not written is off. For a virtual function libvirt knows it since 10.3.
	Display Switch `json:"display,omitempty"`
	// RAMFB shows a boot screen until the guest's driver takes over. It needs
	// Display, only one vGPU of a domain may have it, and that vGPU cannot be
	// unplugged. Not written is off.
	RAMFB Switch `json:"ramfb,omitempty"`
	// Alias is the name by which to find the device in events and in QEMU. It
	// must begin with "ua-". Empty lets libvirt choose.
	Alias string `json:"alias,omitempty"`
	// BootOrder makes it bootable, from 1 on; 0 does not. Among mediated
	// devices only those of ModelCCW can be booted from.
	BootOrder uint `json:"boot_order,omitempty"`
	// Address is the place in the guest; nil lets libvirt choose.
	Address *Address `json:"address,omitempty"`
}

// ID returns what names the device: the UUID of a mediated device in lower
// case, or the virtual function's host PCI address.
func (h Hostdev) ID() string {
	if h.VF != "" {
		return h.VF
	}
	return h.UUID.String()
}

// OnPCI tells whether the guest has the device on a PCI bus, so that there is an address to
// choose: that is for ModelPCI. Devices of ModelCCW have a channel address, which libvirt
// chooses, and those of ModelAP none.
func (h Hostdev) OnPCI() bool { return h.model() == ModelPCI }

// Hostdevs returns the host devices of the document that are vGPUs or may be,
// in its order: mediated devices, and all assigned PCI devices, of which the
// caller knows which are vGPUs. An <interface type='hostdev'> assigns its device as
// a <hostdev> does. Devices that have no valid source are left out. An alias that is
// not the user's is given for running domains only.
func (d *Document) Hostdevs() []Hostdev {
	var hostdevs []Hostdev
	for n := range d.assigned() {
		if h, ok := parseHostdev(n); ok {
			hostdevs = append(hostdevs, h)
		}
	}
	return hostdevs
}

// devices yields the elements of that name that libvirt takes for devices.
func (d *Document) devices(name string) iter.Seq[*node] { return devicesOf(d.root).All(name) }

// assigned yields the elements that can give the guest a device of the host.
func (d *Document) assigned() iter.Seq[*node] {
	return func(yield func(*node) bool) {
		for n := range deviceNodes(devicesOf(d.root), nil) {
			if (n.Local == "hostdev" || n.Local == "interface") && !yield(n) {
				return
			}
		}
	}
}

// devicesOf returns <devices>, nil if there is none. Of several libvirt reads all, as
// if they were one; they have no place as such.
func devicesOf(root *node) *node {
	first := root.Child("devices")
	var all []*node
	for n := range root.All("devices") {
		all = append(all, n.Children...)
	}
	if first == nil || len(all) == len(first.Children) {
		return first
	}
	return &node{Local: "devices", Children: all, Parent: root}
}

// parseHostdev reads an element that gives the guest a device of the host; ok is false
// if that is neither a mediated nor a PCI device, or has no valid source.
func parseHostdev(n *node) (h Hostdev, ok bool) {
	source, ok := devicexml.Host(n)
	if !ok {
		return h, false
	}
	if source.Kind == devicexml.KindMdev {
		h.UUID = source.UUID
		h.Model, _ = n.Attr("model")
	} else {
		h.VF, h.Model = source.PCI.String(), ModelPCI
	}
	if n.Local == "hostdev" {
		display, _ := n.Attr("display")
		ramfb, _ := n.Attr("ramfb")
		h.Display, h.RAMFB = Switch(display), Switch(ramfb)
	}
	h.Alias = devicexml.Alias(n)
	h.BootOrder = bootOrder(n)
	if a, written := writtenAddress(n); written {
		h.Address = &a
	}
	return h, true
}

// find returns the element of the device of that UUID or host PCI address.
func (d *Document) find(id string) (*node, error) {
	want, err := ParseID(id)
	if err != nil {
		return nil, err
	}
	for n := range d.assigned() {
		if h, ok := parseHostdev(n); ok && want.is(h) {
			return n, nil
		}
	}
	return nil, &Error{
		Op: "find", Object: "device " + want.String(), Meaning: "the document has no such <hostdev>",
		Next: "list those that it has", Kind: ErrNotFound,
	}
}

// element writes the <hostdev>, one element a line, two blanks a level. What
// it writes needs no escapes: the fields have been checked.
func (h Hostdev) element() (string, error) {
	x := libvirtxml.DomainHostdev{Managed: "no"}
	if h.VF != "" {
		vf, _ := parseAddress(h.VF)
		x.SubsysPCI = &libvirtxml.DomainHostdevSubsysPCI{
			Display: string(h.Display), RamFB: string(h.RAMFB),
			Source: &libvirtxml.DomainHostdevSubsysPCISource{Address: vf.element()},
		}
	} else {
		x.SubsysMDev = &libvirtxml.DomainHostdevSubsysMDev{
			Model: h.model(), Display: string(h.Display), RamFB: string(h.RAMFB),
			Source: &libvirtxml.DomainHostdevSubsysMDevSource{
				Address: &libvirtxml.DomainAddressMDev{UUID: h.UUID.String()},
			},
		}
	}
	if h.BootOrder > 0 {
		x.Boot = &libvirtxml.DomainDeviceBoot{Order: h.BootOrder}
	}
	if h.Alias != "" {
		x.Alias = &libvirtxml.DomainAlias{Name: h.Alias}
	}
	if h.Address != nil {
		x.Address = &libvirtxml.DomainAddress{PCI: h.Address.element()}
	}
	text, err := x.Marshal()
	if err != nil {
		return "", &Error{Op: "write", Object: "device " + h.ID(), Meaning: "libvirtxml cannot write it", Kind: ErrInvalid, Err: err}
	}
	return text, nil
}

func (h Hostdev) model() string {
	if h.Model == "" {
		return ModelPCI
	}
	return h.Model
}

func (a Address) element() *libvirtxml.DomainAddressPCI {
	domain, bus, slot, function := uint(a.Domain), uint(a.Bus), uint(a.Slot), uint(a.Function)
	return &libvirtxml.DomainAddressPCI{Domain: &domain, Bus: &bus, Slot: &slot, Function: &function}
}
