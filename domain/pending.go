package domain

import "strings"

// wantsAddress tells whether libvirt has still to find an address for a
// device: it has none, or one that says no more than type='pci'.
func wantsAddress(dev *node) bool {
	n := dev.Child("address")
	if n == nil {
		return true
	}
	if kind, _ := n.Attr("type"); kind != "pci" {
		return false
	}
	_, ok := writtenAddress(dev)
	return !ok
}

// countPending counts the devices that libvirt has still to put on a PCI bus,
// those that it adds by itself among them (its qemuDomainAssignDevicePCISlots
// and qemuDomainDefAddDefaultDevices). It counts one too many rather than one
// too few: what is counted is room that is left for them.
func countPending(m machine, devices, without *node) int {
	count := 0
	have := map[string]bool{}
	for dev := range deviceNodes(devices, nil) {
		have[dev.Local] = true
		if dev.Local == "controller" {
			kind, _ := dev.Attr("type")
			have["controller "+kind] = true
		}
		if dev != without && wantsAddress(dev) && onPCI(m, dev) {
			count++
		}
	}
	switch {
	case m.kind == machineNoPCI, m.kind == machineS390:
		return 0 // their virtio devices have other addresses
	case !have["memballoon"] && m.kind != machineVirt:
		count++
	}
	if !have["controller usb"] && (m.kind == machineQ35 || m.kind == machinePSeries) {
		count++
	}
	if !have["video"] && have["graphics"] {
		count++
	}
	if !have["controller virtio-serial"] && hasVirtioChannel(devices) {
		count++
	}
	if !have["controller scsi"] && hasSCSI(devices) {
		count++
	}
	return count
}

// onPCI tells whether a device of the document is a PCI device of the guest.
func onPCI(m machine, dev *node) bool {
	model, kind := modelOf(dev), ""
	kind, _ = dev.Attr("type")
	inner, _ := dev.Child("model").Attr("type")
	switch dev.Local {
	case "controller":
		return controllerOnPCI(m, dev, kind, model)
	case "disk":
		target := dev.Child("target")
		bus, ok := target.Attr("bus")
		name, _ := target.Attr("dev")
		return bus == "virtio" || !ok && strings.HasPrefix(name, "vd")
	case "interface":
		return inner != "usb-net"
	case "sound":
		return model != "sb16" && model != "pcspk" && model != "usb" && model != "ich7"
	case "video":
		return inner != "none" && inner != "ramfb"
	case "hostdev":
		return kind == "pci" || kind == "scsi_host" || kind == "mdev" && model == "vfio-pci"
	case "filesystem":
		driver, _ := dev.Child("driver").Attr("type")
		return driver != "mtp"
	case "memballoon":
		return model != "none" && model != "xen"
	case "watchdog":
		return model == "i6300esb"
	case "input":
		bus, _ := dev.Attr("bus")
		return bus == "virtio"
	case "serial":
		target, _ := dev.Child("target").Attr("type")
		return target == "pci-serial"
	case "iommu":
		return model == "virtio"
	case "memory":
		return strings.HasPrefix(model, "virtio-")
	case "panic":
		return model == "pvpanic"
	case "rng", "shmem", "vsock", "crypto", "pstore":
		return true
	}
	return false
}

func controllerOnPCI(m machine, dev *node, kind, model string) bool {
	index, _ := dev.Attr("index")
	first := index == "" || index == "0"
	switch kind {
	case "pci":
		return model != modelPCIRoot && model != modelPCIeRoot
	case "usb":
		piix3 := m.kind == machineI440FX && first && (model == "" || model == "piix3-uhci")
		return model != "none" && !piix3
	case "ide":
		return !first
	case "sata":
		return !first || m.kind != machineQ35
	case "scsi":
		return model != "ncr53c90"
	case "virtio-serial":
		return true
	}
	return false
}

func hasVirtioChannel(devices *node) bool {
	for _, name := range []string{"channel", "console"} {
		for c := range devices.All(name) {
			if kind, _ := c.Child("target").Attr("type"); kind == "virtio" {
				return true
			}
		}
	}
	return false
}

func hasSCSI(devices *node) bool {
	for d := range devices.All("disk") {
		if bus, _ := d.Child("target").Attr("bus"); bus == "scsi" {
			return true
		}
	}
	for h := range devices.All("hostdev") {
		if kind, _ := h.Attr("type"); kind == "scsi" {
			return true
		}
	}
	return false
}
