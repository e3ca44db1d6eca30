package domain

import (
	"fmt"
	"slices"
	"strings"

	"github.com/vgpukit/vgpukit/internal/pci"
)

// complaint is one thing that libvirt refuses, in its words, and what to do.
type complaint struct {
	meaning, next string
	kind          error // ErrInvalid if it is nil
}

// complaints gathers them.
type complaints []complaint

func (c *complaints) say(next, format string, args ...any) {
	*c = append(*c, complaint{meaning: fmt.Sprintf(format, args...), next: next})
}

// elementComplaints says what libvirt refuses of what is written inside a vGPU's <hostdev>
// or <interface>, beside its address and its source (virDomainHostdevDefParseXMLSubsys,
// virDomainDeviceInfoParseXML, virDomainHostdevDefValidate and qemuValidateDomainDeviceInfo).
func elementComplaints(n *node, h Hostdev) (c complaints) {
	c.boot(n.Child("boot"))
	c.rom(n.Child("rom"))
	ccw := kindOf(n.Child("address")) == "ccw"
	if n.Child("rom") != nil && ccw {
		c.say("take <rom> out", "ROM tuning is only supported for PCI devices")
	}
	if s, written := n.Child("acpi").Attr("index"); written {
		if i, ok := pci.Decimal(s); !ok || i == 0 {
			c.say("write a number from 1 on, or take <acpi> out", "Invalid value for attribute 'index' in element 'acpi': '%s'", clip(s, 20))
		} else if ccw {
			c.say("take <acpi> out", "ACPI index is only supported for PCI devices")
		}
	}
	if n.Local != "hostdev" {
		return c
	}
	if _, written := n.PathAttr("startupPolicy", "source"); written {
		c.say("take startupPolicy out", "Setting startupPolicy is only allowed for USB devices")
	}
	for _, name := range []string{"sgio", "rawio"} {
		if _, written := n.Attr(name); written {
			c.say("take "+name+" out", "%s is only supported for scsi host device", name)
		}
	}
	if h.VF != "" {
		c.pciOnly(n)
	}
	c.teaming(n, h)
	return c
}

// pciOnly is about attributes that a PCI device's element cannot have.
func (c *complaints) pciOnly(n *node) {
	if _, written := n.Attr("model"); written {
		c.say("take model out: a virtual function has none", "'model' attribute in <hostdev> is only supported when type='pci'")
	}
	if _, written := n.Child("source").Attr("writeFiltering"); written {
		c.say("take writeFiltering out", "Write filtering of PCI device configuration space is not supported by qemu")
	}
}

func (c *complaints) boot(n *node) {
	if n == nil {
		return
	}
	order, written := n.Attr("order")
	if !written {
		c.say("write order='1', or take <boot> out", "Missing required attribute 'order' in element 'boot'")
	} else if i, ok := pci.Decimal(order); !ok || i == 0 {
		c.say("write a number from 1 on, or take <boot> out", "Invalid value for attribute 'order' in element 'boot': '%s'", clip(order, 20))
	}
	param, written := n.Attr("loadparm")
	if !written {
		return
	}
	if param == "" || len(param) > 8 {
		c.say("shorten it", "loadparm value '%s' must be between 1 and 8 characters", clip(param, 20))
	} else if strings.ContainsFunc(param, func(r rune) bool {
		return (r|0x20 < 'a' || r|0x20 > 'z') && (r < '0' || r > '9') && r != '.' && r != ' '
	}) {
		c.say("correct it", "invalid loadparm value '%s', expecting chars in set of [a-zA-Z0-9.] and blank spaces", param)
	}
}

func (c *complaints) rom(n *node) {
	if n == nil {
		return
	}
	enabled := c.oneOf(n, "enabled", "yes", "no")
	bar := c.oneOf(n, "bar", "on", "off")
	if _, file := n.Attr("file"); enabled == "no" && (bar != "" || file) {
		c.say("take bar and file out, or enabled='no'", "ROM tuning is not supported when ROM is disabled")
	}
}

// oneOf returns an attribute that has only some values, "" if it is not written.
func (c *complaints) oneOf(n *node, name string, values ...string) string {
	s, written := n.Attr(name)
	if written && !slices.Contains(values, s) {
		c.say("write "+strings.Join(values, " or ")+", or leave it out", "Invalid value for attribute '%s' in element '%s': '%s'", name, n.Local, clip(s, 20))
	}
	return s
}

func (c *complaints) teaming(n *node, h Hostdev) {
	kind, _ := n.PathAttr("type", "teaming")
	persistent, _ := n.PathAttr("persistent", "teaming")
	const next = "write <teaming type='transient' persistent='ua-…'/> with the alias of the other interface, or take it out"
	switch {
	case kind == "" && persistent == "":
	case kind != "transient" && kind != "persistent":
		c.say(next, "unknown teaming type '%s'", clip(kind, 20))
	case kind != "transient":
		c.say(next, "teaming hostdev devices must have type='transient'")
	case persistent == "":
		c.say(next, "missing required persistent attribute in hostdev teaming element")
	case h.VF == "":
		c.say("take <teaming> out", "teaming is only supported for pci hostdev devices")
	}
}
