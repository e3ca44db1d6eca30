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
// and qemuDomainDefAddDefaultDevices). On machines with PCI bridges it is exact, as one
// more can take less room: see fits.
func (t *topology) countPending(devices, without *node) int {
	count := 0
	have := map[string]bool{}
	for dev := range deviceNodes(devices, nil) {
		have[dev.Local] = true
		if dev.Local == "controller" {
			kind, _ := dev.Attr("type")
			have["controller "+kind] = true
		}
		if dev == without || !wantsAddress(dev) || !t.onPCI(dev) {
			continue
		}
		// USB 2 controllers that share a slot get one each when libvirt counts the buses.
		if !isUSB2(dev) || !t.placedCompanion(dev) {
			count++
		}
	}
	m := t.machine
	if m.kind == machineNoPCI || m.kind == machineS390 {
		return 0 // their virtio devices have other addresses
	}
	if !have["memballoon"] && (m.kind != machineVirt || strings.HasPrefix(m.arch, "riscv")) {
		count++
	}
	if !have["controller usb"] && (m.kind == machineQ35 || m.kind == machinePSeries) {
		count++
	}
	if !have["video"] && have["graphics"] {
		count++
	}
	if t.videoPlaced {
		count-- // it has a place already
	}
	return count + t.addedControllers(devices)
}

// placedCompanion tells whether a USB 2 controller of the same index has an address, beside
// which the others are put.
func (t *topology) placedCompanion(c *node) bool {
	for _, other := range t.ordered["usb"] {
		if _, placed := writtenAddress(other); placed && isUSB2(other) && t.index[other] == t.index[c] {
			return true
		}
	}
	return false
}

// onPCI tells whether a device of the document is a PCI device of the guest.
func (t *topology) onPCI(dev *node) bool {
	model, kind := modelOf(dev), ""
	kind, _ = dev.Attr("type")
	inner, _ := dev.Child("model").Attr("type")
	switch dev.Local {
	case "controller":
		return t.controllerOnPCI(dev, kind, model)
	case "disk":
		return diskBus(dev) == "virtio"
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

func (t *topology) controllerOnPCI(dev *node, kind, model string) bool {
	first := t.isFirst(dev)
	switch kind {
	case "pci":
		return model != modelPCIRoot && model != modelPCIeRoot
	case "usb":
		piix3 := t.machine.kind == machineI440FX && first && (model == "" || model == "piix3-uhci")
		return model != "none" && !piix3
	case "ide":
		return !first
	case "sata":
		return !first || t.machine.kind != machineQ35
	case "scsi":
		return model != "ncr53c90"
	case "virtio-serial":
		return true
	}
	return false
}
