package domain

import (
	"strings"

	"github.com/vgpukit/vgpukit/internal/pci"
)

// addedControllers counts the PCI controllers that libvirt adds for disks and channels that
// name none which is there (its virDomainDefAddImplicitControllers).
func (t *topology) addedControllers(devices *node) int {
	wanted := map[string]map[int]bool{"scsi": {}, "sata": {}, "virtio-serial": {}}
	upTo := func(kind string, last int) {
		for i := range min(last, lastBus) + 1 {
			wanted[kind][i] = true
		}
	}
	for d := range devices.All("disk") {
		switch bus := diskBus(d); bus {
		case "scsi", "sata":
			upTo(bus, driveController(d, bus))
		}
	}
	for h := range devices.All("hostdev") {
		if kind, _ := h.Attr("type"); kind == "scsi" {
			upTo(kind, controllerOf(h, "drive"))
		}
	}
	for _, name := range []string{"channel", "console"} {
		for c := range devices.All(name) {
			if kind, _ := c.Child("target").Attr("type"); kind == "virtio" {
				wanted["virtio-serial"][controllerOf(c, "virtio-serial")] = true
			}
		}
	}
	if t.machine.kind == machineQ35 {
		delete(wanted["sata"], 0) // the chipset's
	}
	for c, i := range t.index {
		delete(wanted[kindOf(c)], i)
	}
	return len(wanted["scsi"]) + len(wanted["sata"]) + len(wanted["virtio-serial"])
}

// diskBus returns the bus of a disk, which its name tells if it is not written.
func diskBus(disk *node) string {
	target := disk.Child("target")
	if bus, written := target.Attr("bus"); written {
		return bus
	}
	name, _ := target.Attr("dev")
	for prefix, bus := range map[string]string{"vd": "virtio", "sd": "scsi", "hd": "ide", "fd": "fdc"} {
		if strings.HasPrefix(name, prefix) {
			return bus
		}
	}
	return ""
}

// driveController returns the index of the controller that a disk is on: 7 disks a SCSI
// controller, 6 a SATA controller, by the disk's name unless it has an address.
func driveController(disk *node, bus string) int {
	if kind, _ := disk.Child("address").Attr("type"); kind == "drive" {
		return controllerOf(disk, "drive")
	}
	units := map[string]int{"scsi": 7, "sata": 6}[bus]
	name, _ := disk.Child("target").Attr("dev")
	number := 0
	for _, letter := range name[min(2, len(name)):] {
		if letter < 'a' || letter > 'z' || number > 1<<16 {
			break
		}
		number = number*26 + int(letter-'a') + 1
	}
	return max(number-1, 0) / units
}

// controllerOf returns the index of the controller in a device's address of that type.
func controllerOf(dev *node, kind string) int {
	a := dev.Child("address")
	if written, _ := a.Attr("type"); written != kind {
		return 0
	}
	s, _ := a.Attr("controller")
	i, _ := pci.Decimal(s)
	return int(min(i, lastBus))
}
