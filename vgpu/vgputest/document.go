package vgputest

import (
	"encoding/xml"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/google/uuid"

	"github.com/vgpukit/vgpukit/domain"
	"github.com/vgpukit/vgpukit/internal/devicexml"
	"github.com/vgpukit/vgpukit/internal/xmldoc"
)

// span is where an element stands in a document: its tags and what is between them.
type span struct{ start, inner, innerEnd, end int }

// tree reads what is a document, or one element of it; nil, which has nothing in it, if
// it is none.
func tree(doc string) *xmldoc.Node {
	trees.Lock()
	defer trees.Unlock()
	root, read := trees.of[doc]
	if !read {
		root, _ = xmldoc.ParseLoose(doc)
		if len(trees.of) == mostTrees {
			clear(trees.of)
		}
		trees.of[doc] = root
	}
	return root
}

// trees are those of the last documents: each is looked into some times. Nobody changes one.
var trees = struct {
	sync.Mutex
	of map[string]*xmldoc.Node
}{of: map[string]*xmldoc.Node{}}

const mostTrees = 256

// locate finds the first element at a path such as "domain/name".
func locate(doc, path string) (s span, found bool) {
	root := tree(doc)
	names := strings.Split(path, "/")
	if root == nil || root.Local != names[0] {
		return s, false
	}
	n := root.Path(names[1:]...)
	if n == nil {
		return s, false
	}
	return span{n.Start, n.StartEnd, n.EndStart, n.End}, true
}

// put replaces a part of a document.
func put(doc string, from, to int, text string) string { return doc[:from] + text + doc[to:] }

// within puts text before the end tag of the element at a path, which it opens if it is
// written as one tag.
func within(doc, path, text string) string {
	s, ok := locate(doc, path)
	switch {
	case !ok:
		return doc
	case s.inner == s.end: // <devices/>
		tag := strings.TrimRight(strings.TrimSuffix(doc[s.start:s.end], "/>"), " \t\r\n")
		return put(doc, s.start, s.end, tag+">"+text+"</"+strings.Fields(tag[1:])[0]+">")
	}
	return put(doc, s.innerEnd, s.innerEnd, text)
}

// withUUID writes the UUID into a document.
func withUUID(doc string, id uuid.UUID) string {
	if s, ok := locate(doc, "domain/uuid"); ok {
		return put(doc, s.start, s.end, "<uuid>"+id.String()+"</uuid>")
	}
	s, _ := locate(doc, "domain/name")
	indent := doc[strings.LastIndexByte(doc[:s.start], '>')+1 : s.start]
	return put(doc, s.end, s.end, indent+"<uuid>"+id.String()+"</uuid>")
}

func withName(doc, name string) string {
	s, ok := locate(doc, "domain/name")
	if !ok {
		return doc
	}
	var escaped strings.Builder
	_ = xml.EscapeText(&escaped, []byte(name))
	return put(doc, s.start, s.end, "<name>"+escaped.String()+"</name>")
}

var domainID = regexp.MustCompile(`\s+id\s*=\s*('[^']*'|"[^"]*")`)

// root is where the start tag of <domain> stands.
func root(doc string) (start, end int) {
	s, _ := locate(doc, "domain")
	return s.start, s.inner
}

// running is a document as libvirt shows it of a VM that runs: with its number, and an
// alias for each host device.
func running(doc string, id int) (string, error) {
	doc = inactive(doc)
	devices, err := hostDevices(doc)
	if err != nil {
		return "", err
	}
	for i, d := range slices.Backward(devices) {
		if d.Alias == "" {
			doc = put(doc, d.Offset, d.Offset+len(d.Element), within(d.Element, d.Kind, fmt.Sprintf("<alias name='hostdev%d'/>", i)))
		}
	}
	start, _ := root(doc)
	return put(doc, start+len("<domain"), start+len("<domain"), fmt.Sprintf(" id='%d'", id)), nil
}

var madeAlias = regexp.MustCompile(`<alias\s+name\s*=\s*('hostdev\d+'|"hostdev\d+")\s*/>`)

// inactive is a document without what libvirt writes into that of a VM that runs.
func inactive(doc string) string {
	start, end := root(doc)
	doc = put(doc, start, end, domainID.ReplaceAllString(doc[start:end], ""))
	return madeAlias.ReplaceAllString(doc, "")
}

// hostDevices are the devices of the host that a document names, mdevs and PCI.
func hostDevices(doc string) ([]devicexml.Device, error) {
	devices, err := devicexml.Find(doc, 2)
	if err != nil {
		return nil, refuse(codeXML, domain.ErrInvalid, "XML error: %v", err)
	}
	return slices.DeleteFunc(devices, func(d devicexml.Device) bool {
		return d.Nameless() || d.Kind != "hostdev" && d.Kind != "interface"
	}), nil
}

// hostID names a device as the simulated host does.
func hostID(d devicexml.Device) string {
	if d.UUID != "" {
		return d.UUID
	}
	return d.PCI
}

// deviceKinds are libvirt's elements in <devices>.
var deviceKinds = strings.Fields("disk lease filesystem interface input sound audio video hostdev watchdog controller graphics hub redirdev smartcard chr " +
	"serial parallel console channel memballoon nvram rng shmem tpm panic memory iommu vsock crypto")

// oneDevice reads the element of one device.
func oneDevice(element string) (devicexml.Device, error) {
	found, err := devicexml.Find(element, 0)
	switch {
	case err != nil || len(found) != 1:
		return devicexml.Device{}, refuse(codeXMLDetail, domain.ErrInvalid, "(device_definition): the device is not one element: %v", err)
	case !slices.Contains(deviceKinds, found[0].Kind):
		return devicexml.Device{}, unsupported("unknown device type '%s'", found[0].Kind)
	}
	var s skeleton
	if err := xml.Unmarshal([]byte("<domain><devices>"+found[0].Element+"</devices></domain>"), &s); err != nil {
		return devicexml.Device{}, xmlError("%v", err)
	}
	return found[0], s.checkHostdevs()
}

var secret = regexp.MustCompile(`\s+passwd\s*=\s*("[^"]*"|'[^']*')`)

func withoutSecrets(doc string) string { return secret.ReplaceAllString(doc, "") }

// hasElement tells whether a document has an element at a path.
func hasElement(doc, path string) bool {
	_, ok := locate(doc, path)
	return ok
}

// qemuSpace is the namespace of what libvirt passes to QEMU unseen.
const qemuSpace = "http://libvirt.org/schemas/domain/qemu/1.0"

// properties are those that <qemu:override> sets on the device of an alias.
func properties(doc, alias string) map[string]string {
	set := map[string]string{}
	for device := range tree(doc).In(qemuSpace, "override", "device") {
		if name, _ := device.Attr("alias"); name != alias {
			continue
		}
		for p := range device.In(qemuSpace, "frontend", "property") {
			name, _ := p.Attr("name")
			set[name], _ = p.Attr("value")
		}
	}
	return set
}
