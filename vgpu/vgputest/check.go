package vgputest

import (
	"encoding/xml"
	"regexp"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/vgpukit/vgpukit/domain"
)

// skeleton is what libvirt checks of a document when it is defined, as far as it is
// simulated.
type skeleton struct {
	Type   string   `xml:"type,attr"`
	UUID   *string  `xml:"uuid"`
	Memory *string  `xml:"memory"`
	Cells  []string `xml:"cpu>numa>cell"`
	OS     struct {
		Type *struct {
			Arch string `xml:"arch,attr"`
		} `xml:"type"`
	} `xml:"os"`
	Graphics []struct{} `xml:"devices>graphics"`
	Hostdevs []struct {
		Mode    *string `xml:"mode,attr"`
		Type    string  `xml:"type,attr"`
		Model   *string `xml:"model,attr"`
		Display string  `xml:"display,attr"`
		Source  *struct {
			Address *struct {
				UUID *string `xml:"uuid,attr"`
			} `xml:"address"`
		} `xml:"source"`
	} `xml:"devices>hostdev"`
}

var machines = regexp.MustCompile(`^$|^(q35|pc|microvm|isapc|none|virt|s390-ccw-virtio|pseries)(-.*)?$`)

func xmlError(format string, args ...any) error {
	return refuse(codeXML, domain.ErrInvalid, "XML error: "+format, args...)
}

func unsupported(format string, args ...any) error {
	return refuse(codeConfigUnsupported, domain.ErrUnsupported, "unsupported configuration: "+format, args...)
}

// parse reads a document as Define takes it, with libvirt's refusals in its order.
func parse(doc string) (*domain.Document, error) {
	if doc == "" {
		return nil, refuse(0, domain.ErrInvalid, "the document is empty")
	}
	var s skeleton
	d, err := domain.Parse([]byte(doc))
	if err == nil {
		err = xml.Unmarshal([]byte(doc), &s)
	}
	var root struct{ XMLName xml.Name }
	switch wellFormed := xml.Unmarshal([]byte(doc), &root) == nil; {
	case err == nil:
		return d, s.check(d)
	case wellFormed && root.XMLName.Local != "domain":
		return nil, xmlError("expecting root element of 'domain', not '%s'", root.XMLName.Local)
	case wellFormed:
		return nil, xmlError("%v", err)
	}
	return nil, refuse(codeXMLDetail, domain.ErrInvalid, "(domain_definition): %v", err)
}

func (s skeleton) check(d *domain.Document) error {
	switch {
	case s.Type != "kvm" && s.Type != "qemu":
		return unsupported("invalid domain type %s", s.Type)
	case d.Name() == "":
		return refuse(codeNoName, domain.ErrInvalid, "missing name information")
	case s.UUID != nil && !hasUUID(d):
		return refuse(codeInternal, domain.ErrInvalid, "internal error: malformed uuid element")
	case strings.Contains(d.Name(), "/"):
		return xmlError("name %s cannot contain '/'", d.Name())
	case s.OS.Type == nil:
		return xmlError("an os <type> must be specified")
	case s.Memory == nil && len(s.Cells) == 0:
		return xmlError("Memory size must be specified via <memory> or in the <numa> configuration")
	}
	if err := s.checkHostdevs(); err != nil {
		return err
	}
	if err := twice(d); err != nil {
		return err
	}
	if !machines.MatchString(d.Machine()) {
		return unsupported("Emulator '/usr/bin/qemu-system-x86_64' does not support machine type '%s'", d.Machine())
	}
	for _, h := range s.Hostdevs {
		if h.Type != "mdev" || s.OS.Type.Arch == "s390x" {
			continue
		}
		switch *h.Model {
		case domain.ModelCCW:
			return unsupported("VFIO CCW device assignment is not supported by this version of QEMU")
		case domain.ModelAP:
			return unsupported("VFIO AP device assignment is not supported by this version of QEMU")
		}
		if h.Display == "on" && len(s.Graphics) == 0 {
			return refuse(codeConfigUnsupported, domain.ErrInvalid, "unsupported configuration: graphics device is needed for attribute value 'display=on' in <hostdev>")
		}
	}
	return nil
}

func hasUUID(d *domain.Document) bool {
	_, ok := d.UUID()
	return ok
}

func (s skeleton) checkHostdevs() error {
	for _, h := range s.Hostdevs {
		switch {
		case h.Mode != nil && *h.Mode == "capabilities":
			return unsupported("hostdev mode 'capabilities' is not supported in QEMU")
		case h.Mode != nil && *h.Mode != "subsystem":
			return xmlError("Invalid value for attribute 'mode' in element 'hostdev': '%s'.", *h.Mode)
		case h.Type == "":
			return xmlError("Missing required attribute 'type' in element 'hostdev'")
		case !slices.Contains([]string{"usb", "pci", "scsi", "scsi_host", "mdev"}, h.Type):
			return xmlError("Invalid value for attribute 'type' in element 'hostdev': '%s'.", h.Type)
		}
		if h.Type != "mdev" {
			continue
		}
		if err := checkMdev(h.Model, h.Source != nil, h.Source != nil && h.Source.Address != nil); err != nil {
			return err
		}
		switch id := h.Source.Address.UUID; {
		case id == nil:
			return xmlError("Missing 'uuid' attribute for element <address>")
		case uuid.Validate(*id) != nil:
			return refuse(codeInternal, domain.ErrInvalid, "internal error: Cannot parse uuid attribute of element <address>")
		}
	}
	return nil
}

func checkMdev(model *string, source, address bool) error {
	switch {
	case model == nil:
		return xmlError("Missing required attribute 'model' in element 'hostdev'")
	case *model != domain.ModelPCI && *model != domain.ModelCCW && *model != domain.ModelAP:
		return xmlError("Invalid value for attribute 'model' in element 'hostdev': '%s'.", *model)
	case !source:
		return xmlError("Missing <source> element in hostdev device")
	case !address:
		return xmlError("Missing <address> element")
	}
	return nil
}

// twice finds a device, or a guest address, that a document gives twice.
func twice(d *domain.Document) error {
	devices := map[string]bool{}
	for _, h := range d.Hostdevs() {
		if devices[h.ID()] {
			return xmlError("Hostdev already exists in the domain configuration")
		}
		devices[h.ID()] = true
	}
	return sameAddress(d)
}

func sameAddress(d *domain.Document) error {
	used := map[domain.Address]bool{}
	for _, u := range d.Used() {
		if u.Implicit {
			continue
		}
		if used[u.Address] {
			return refuse(codeXML, domain.ErrInUse, "XML error: Attempted double use of PCI Address %s", u.Address)
		}
		used[u.Address] = true
	}
	return nil
}
