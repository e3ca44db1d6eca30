package domain

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/vgpukit/vgpukit/internal/devicexml"
	"github.com/vgpukit/vgpukit/internal/fault"
	"github.com/vgpukit/vgpukit/internal/pci"
)

// MaxVGPUs is how many vGPUs NVIDIA's drivers support in one domain.
const MaxVGPUs = 16

// Check tells what libvirt or QEMU would refuse about the document's vGPUs:
// its mediated devices, and the virtual functions that our metadata names, whether a
// <hostdev> or an <interface> has them. It looks at them as libvirt does.
//
//   - a source or a model that is missing or not valid
//   - the same device twice
//   - more than MaxVGPUs; more than one of ModelAP
//   - Display without <graphics> (of a virtual function libvirt would take it,
//     and show it nowhere), or with another model than ModelPCI
//   - RAMFB on more than one device, or without Display
//   - BootOrder where it is not possible, or used for two devices
//   - an alias used for two devices
//   - an address in use, on a bus or slot that does not exist, or of a function
//     that the guest would not find
//   - metadata of ours that cannot be read: see [Document.Metadata]
//   - a virtual function with managed='yes': libvirt would take it from the
//     vendor's driver, and so destroy the vGPU
//
// The errors are joined; each is an *[Error] that says in libvirt's words, where
// it has some, what is wrong, and in Hint what to do.
func (d *Document) Check() error {
	ours := map[string]bool{}
	metadata, _, errs := d.readMetadata()
	for _, v := range metadata.VGPUs {
		ours[v.ID] = true
	}
	vgpus := 0
	for n := range d.assigned() {
		h, ok := parseHostdev(n)
		if devicexml.Kind(n) != devicexml.KindMdev && !ours[h.VF] {
			continue
		}
		if vgpus++; vgpus > MaxVGPUs {
			continue // that alone is an error, and each check costs a walk
		}
		if !ok {
			errs = append(errs, badSource(n))
			continue
		}
		errs = append(errs, d.checkElement(n, h)...)
	}
	if vgpus > MaxVGPUs {
		errs = append(errs, tooMany("check", "domain "+d.Name(), vgpus))
	}
	if vgpus > 0 {
		errs = append(errs, d.passedComplaints()...)
	}
	if errs = unique(errs); len(errs) > 0 {
		return &fault.Several{Errs: errs}
	}
	return nil
}

// badSource says what is wrong with the source of a mediated device.
func badSource(n *node) error {
	e := &Error{
		Op: "check", Object: "device " + describe(n), Meaning: "Cannot parse uuid attribute of element <address>",
		Next: "write <source><address uuid='…'/></source> with the device's UUID", Kind: ErrInvalid,
	}
	switch address := n.Path("source", "address"); {
	case n.Child("source") == nil:
		e.Meaning = "Missing <source> element in hostdev device"
	case address == nil:
		e.Meaning = "Missing <address> element"
	default:
		if _, written := address.Attr("uuid"); !written {
			e.Meaning = "Missing 'uuid' attribute for element <address>"
		}
	}
	return e
}

// CheckModel tells whether a mediated device whose type shows this device_api
// in sysfs can be used as h: libvirt starts no domain where the two differ.
func (h Hostdev) CheckModel(deviceAPI string) error {
	switch {
	case deviceAPI == h.model():
		return nil
	case deviceAPI == ModelPCI, deviceAPI == ModelCCW, deviceAPI == ModelAP:
		return h.invalid("check", fmt.Sprintf("invalid device API '%s' for device %s: device only supports '%s'", h.model(), h.ID(), deviceAPI),
			fmt.Sprintf("use the model %s, or another type of device", deviceAPI))
	}
	return h.invalid("check", fmt.Sprintf("device API '%s' not supported yet", clip(deviceAPI, 40)), "use another type of device")
}

// checkElement checks a vGPU that is in the document.
func (d *Document) checkElement(n *node, h Hostdev) []error {
	var errs []error
	if h.VF != "" {
		if managed, _ := n.Attr("managed"); managed == "yes" {
			errs = append(errs, h.invalid("check", "managed='yes' makes libvirt bind the virtual function to vfio-pci, which destroys the vGPU",
				"write managed='no'"))
		}
	} else if h.Model == "" {
		errs = append(errs, h.invalid("check", "Missing required attribute 'model' in element 'hostdev'", "write model='vfio-pci'"))
	}
	if _, err := h.checked("check"); err != nil {
		errs = append(errs, err)
	}
	for _, c := range append(elementComplaints(n, h), d.placeComplaints(n, h)...) {
		e := h.invalid("check", c.meaning, c.next)
		e.Kind = cmp.Or(c.kind, ErrInvalid)
		errs = append(errs, e)
	}
	errs = append(errs, d.conflicts("check", h, n)...)
	if a, written := writtenAddress(n); written {
		if err := d.checkAddressOf(n, a); err != nil {
			errs = append(errs, h.because("check", err))
		}
	}
	return errs
}

// accepts tells whether the device, which has been checked by itself, can be
// added to the document.
func (d *Document) accepts(h Hostdev) error {
	if errs := d.conflicts("add", h, nil); len(errs) > 0 {
		return errs[0]
	}
	if h.Address != nil {
		if err := d.CheckAddress(*h.Address); err != nil {
			return h.because("add", err)
		}
	}
	return nil
}

// checked returns the device with its names in their usual form, if it is
// valid by itself.
func (h Hostdev) checked(op string) (Hostdev, error) {
	none := Hostdev{}
	switch {
	case h.VF == "" && h.UUID == none.UUID:
		return none, h.invalid(op, "it has neither a UUID nor a VF", "name a mediated device by its UUID, a virtual function by its host PCI address")
	case h.VF != "" && h.UUID != none.UUID:
		return none, h.invalid(op, "it has both a UUID and a VF", "a mediated device has a UUID only, a virtual function a host PCI address only")
	}
	if h.VF != "" {
		a, ok := parseAddress(h.VF)
		if !ok {
			return none, h.invalid(op, fmt.Sprintf("VF %q is not a host PCI address", clip(h.VF, 40)), "write it as sysfs does: 0000:41:00.4")
		}
		h.VF = a.String()
	}
	for _, s := range [...]struct{ name, value string }{{"display", string(h.Display)}, {"ramfb", string(h.RAMFB)}} {
		if s.value != "" && s.value != "on" && s.value != "off" {
			return none, h.invalid(op, fmt.Sprintf("Invalid value for attribute '%s' in element 'hostdev': '%s'", s.name, clip(s.value, 20)), "write on or off, or leave it out")
		}
	}
	switch model := h.model(); {
	case model != ModelPCI && model != ModelCCW && model != ModelAP, h.VF != "" && model != ModelPCI:
		return none, h.invalid(op, fmt.Sprintf("Invalid value for attribute 'model' in element 'hostdev': '%s'", clip(model, 40)),
			"use the device_api of the device's type: vfio-pci, vfio-ccw or vfio-ap; a virtual function has vfio-pci")
	case model != ModelPCI && (h.Display != SwitchUnset || h.RAMFB == SwitchOn):
		return none, h.invalid(op, "<hostdev> attribute 'display' is only supported with model='vfio-pci'", "leave display and ramfb out")
	case model != ModelPCI && h.Address != nil:
		return none, h.invalid(op, fmt.Sprintf("Unsupported address type 'pci' with mediated device model '%s'", model), "leave the address to libvirt")
	case h.RAMFB == SwitchOn && h.Display != SwitchOn:
		return none, h.invalid(op, "ramfb=on requires display=on", "switch display on as well")
	case h.BootOrder > 0 && h.VF == "" && model != ModelCCW:
		return none, h.invalid(op, "booting from assigned devices is not supported by mediated devices of model "+model, "leave the boot order out")
	}
	if op == "add" && h.Alias != "" && !isUserAlias(h.Alias) {
		return none, h.invalid(op, fmt.Sprintf("alias %q is not one that libvirt keeps", clip(h.Alias, 60)),
			"let it begin with ua- and hold letters, digits, - and _ only")
	}
	return h, nil
}

// conflicts compares a device with the others of the document. self is its
// element, nil if it is not in the document yet.
func (d *Document) conflicts(op string, h Hostdev, self *node) []error {
	var errs []error
	report := func(kind error, meaning, next string) {
		e := h.invalid(op, meaning, next)
		e.Kind = kind
		errs = append(errs, e)
	}
	var twice, ramfb, ap, boot, alias bool
	vgpus := 0
	for n := range deviceNodes(devicesOf(d.root), self) {
		boot = boot || h.BootOrder > 0 && bootOrder(n) == h.BootOrder
		alias = alias || h.Alias != "" && devicexml.Alias(n) == h.Alias
		other, ok := parseHostdev(n)
		if !ok {
			continue
		}
		twice = twice || other.UUID == h.UUID && other.VF == h.VF
		ramfb = ramfb || other.RAMFB == SwitchOn && h.RAMFB == SwitchOn
		if other.VF == "" {
			vgpus++
			ap = ap || other.Model == ModelAP && h.Model == ModelAP
		} else if managed, _ := n.Attr("managed"); managed == "no" && n.Local == "hostdev" {
			vgpus++
		}
	}
	if twice {
		report(ErrExists, "Hostdev already exists in the domain configuration", "remove the other, or take another device")
	}
	if ramfb {
		report(ErrInvalid, "Only one vgpu device can have 'ramfb' enabled", "switch ramfb off, here or there")
	}
	if ap {
		report(ErrInvalid, "Only one hostdev of model vfio-ap is supported", "assign more adapters and domains to the one matrix device")
	}
	if m := machineOf(d.root); h.model() != ModelPCI && m.written && m.kind != machineS390 {
		report(ErrInvalid, fmt.Sprintf("%s device assignment is not supported by this version of QEMU: %s guests have none", h.model(), m.arch), "use a vGPU whose device API is vfio-pci, or a guest of s390x")
	}
	if h.Display == SwitchOn && devicesOf(d.root).Child("graphics") == nil {
		report(ErrInvalid, "graphics device is needed for attribute value 'display=on' in <hostdev>", "add <graphics type='vnc'/> to <devices>, or leave display out")
	}
	if h.BootOrder > 0 && d.root.Path("os", "boot") != nil {
		report(ErrInvalid, "per-device boot elements cannot be used together with os/boot elements", "replace <boot dev=…/> in <os> by boot orders of devices")
	}
	if boot {
		report(ErrInvalid, fmt.Sprintf("boot order '%d' used for more than one device", h.BootOrder), "choose another boot order")
	}
	if alias {
		report(ErrExists, "non unique alias detected: "+clip(h.Alias, 60), "choose another alias")
	}
	if op == "add" && vgpus >= MaxVGPUs {
		errs = append(errs, tooMany(op, "device "+h.ID(), vgpus+1))
	}
	return errs
}

func bootOrder(n *node) uint {
	s, _ := n.Child("boot").Attr("order")
	order, _ := pci.Decimal(s)
	return uint(order)
}

func tooMany(op, object string, n int) *Error {
	return &Error{
		Op: op, Object: object, Meaning: fmt.Sprintf("%d vGPUs in one domain, at most %d are supported", n, MaxVGPUs),
		Next: "use fewer, larger vGPUs", Kind: ErrInvalid,
	}
}

func (h Hostdev) invalid(op, meaning, next string) *Error {
	return &Error{Op: op, Object: "device " + h.ID(), Meaning: meaning, Next: next, Kind: ErrInvalid}
}

// because puts the device's name before an error about its address.
func (h Hostdev) because(op string, err error) error {
	e := &Error{Op: op, Object: "device " + h.ID(), Err: err}
	var cause *Error
	if errors.As(err, &cause) {
		e.Next = cause.Next
	}
	return e
}

// unique leaves out nil and what has been said already.
func unique(errs []error) []error {
	seen := map[string]bool{}
	return slices.DeleteFunc(errs, func(err error) bool {
		if err == nil || seen[err.Error()] {
			return true
		}
		seen[err.Error()] = true
		return false
	})
}
