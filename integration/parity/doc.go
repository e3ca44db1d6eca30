package parity

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/google/uuid"
)

// Document is a VM's document in the table.
type Document struct {
	name, id, title string
	vgpus           []string
	ports           int
	deaf, nvram     bool
	disk            bool
	text            string // instead of all else
	extra           string
	replace         []string
	said            []string // what is special about it
}

// Doc is a small q35 VM without an operating system.
func Doc(name string) Document { return Document{name: name, id: vmID(name).String()} }

// NVRAM lets its firmware have variables in the file nvram.fd.
func (d Document) NVRAM() Document { d.nvram = true; return d.saying("NVRAM") }

// Disk has a disk, without which there are no snapshots.
func (d Document) Disk() Document { d.disk = true; return d.saying("disk") }

// Deaf has a guest that does not hear the power button.
func (d Document) Deaf() Document { d.deaf = true; return d.saying("deaf") }

// vmID is a VM's UUID, if the table does not say another.
func vmID(name string) uuid.UUID {
	var id uuid.UUID
	copy(id[:], []byte{6: 0x40, 8: 0x80})
	if len(name) == 1 && name >= "a" && name <= "f" {
		id[15] = name[0] - 'a' + 10
	} else {
		copy(id[10:], name)
	}
	return id
}

// deviceID is a device's UUID.
func deviceID(n string) string { return fmt.Sprintf("00000000-0000-4000-9000-%012s", n) }

func (d Document) saying(format string, args ...any) Document {
	d.said = append(d.said[:len(d.said):len(d.said)], fmt.Sprintf(format, args...))
	return d
}

// UUID gives it another VM's UUID; "" none.
func (d Document) UUID(of string) Document {
	if of == "" {
		d.id = ""
		return d.saying("no uuid")
	}
	d.id = vmID(of).String()
	return d.saying("uuid of %s", of)
}

// Title is how one document of a VM is told from another.
func (d Document) Title(title string) Document { d.title = title; return d.saying("title %s", title) }

// VGPU puts one in.
func (d Document) VGPU(n string) Document {
	d.vgpus = append(d.vgpus[:len(d.vgpus):len(d.vgpus)], vgpuXML(n, ""))
	return d.saying("vGPU %s", n)
}

// Hostdev puts any in.
func (d Document) Hostdev(said, xml string) Document {
	d.vgpus = append(d.vgpus[:len(d.vgpus):len(d.vgpus)], xml)
	return d.saying("%s", said)
}

// VF puts a virtual function in.
func (d Document) VF(address string) Document { return d.Hostdev("VF "+address, vfXML(address)) }

// MovableVF puts a virtual function in whose state may be saved.
func (d Document) MovableVF(address string) Document {
	d = d.Hostdev("movable VF "+address, strings.Replace(vfXML(address), "</hostdev>", "<alias name='ua-vgpu'/></hostdev>", 1))
	d.extra = override("<qemu:property name='enable-migration' type='string' value='on'/>")
	return d
}

func override(properties string) string {
	return "<qemu:override xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'><qemu:device alias='ua-vgpu'><qemu:frontend>" +
		properties + "</qemu:frontend></qemu:device></qemu:override>"
}

// Movable puts a vGPU in whose state may be saved.
func (d Document) Movable(n string) Document {
	d.vgpus = append(d.vgpus[:len(d.vgpus):len(d.vgpus)], vgpuXML(n, "<alias name='ua-vgpu'/>"))
	d.extra = override("<qemu:property name='enable-migration' type='string' value='on'/>" +
		"<qemu:property name='x-device-dirty-page-tracking' type='string' value='off'/>")
	return d.saying("movable vGPU %s", n)
}

// Ports gives it root ports for what comes later.
func (d Document) Ports(n int) Document { d.ports = n; return d.saying("%d ports", n) }

// Replace changes the text.
func (d Document) Replace(said, old, with string) Document {
	d.replace = append(d.replace[:len(d.replace):len(d.replace)], old, with)
	return d.saying("%s", said)
}

// Text is not a VM's document.
func Text(said, text string) Document { return Document{text: text, said: []string{said}} }

func vgpuXML(n, inside string) string {
	return fmt.Sprintf(`<hostdev mode='subsystem' type='mdev' managed='no' model='vfio-pci'><source><address uuid='%s'/></source>%s</hostdev>`, deviceID(n), inside)
}

func (d Document) String() string {
	if len(d.said) == 0 {
		return d.name
	}
	return strings.TrimSpace(d.name + " (" + strings.Join(d.said, ", ") + ")")
}

// xml is the document; the guest is in dir.
func (d Document) xml(dir string) string {
	if d.text != "" {
		return d.text
	}
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("<domain type='qemu'>")
	if d.name != "" {
		line("  <name>%s</name>", d.name)
	}
	if d.id != "" {
		line("  <uuid>%s</uuid>", d.id)
	}
	if d.title != "" {
		line("  <title>%s</title>", d.title)
	}
	line("  <memory unit='MiB'>64</memory>")
	loader, nvram := fmt.Sprintf("<loader type='rom'>%s</loader>", guestROM(dir, d.deaf)), ""
	if d.nvram {
		loader = fmt.Sprintf("<loader readonly='yes' type='pflash'>%s</loader>", guestROM(dir, false))
		nvram = fmt.Sprintf("<nvram template='%s'>%s</nvram>", guestROM(dir, true), filepath.Join(dir, "nvram.fd"))
	}
	line("  <os><type arch='x86_64' machine='q35'>hvm</type>%s%s</os>", loader, nvram)
	line("  <features><acpi/></features>")
	line("  <devices>")
	line("    <controller type='usb' model='none'/>")
	line("    <controller type='pci' index='0' model='pcie-root'/>")
	for i := range d.ports {
		line("    <controller type='pci' index='%d' model='pcie-root-port'/>", i+1)
	}
	if d.disk {
		line("    <disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='%s'/><target dev='sda' bus='sata'/></disk>", filepath.Join(dir, "disk.qcow2"))
	}
	for _, v := range d.vgpus {
		line("    %s", v)
	}
	line("    <memballoon model='none'/>")
	line("  </devices>")
	if d.extra != "" {
		line("  %s", d.extra)
	}
	line("</domain>")
	return strings.NewReplacer(d.replace...).Replace(b.String())
}
