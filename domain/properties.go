package domain

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/vgpukit/vgpukit/internal/pci"
)

// properties are a QEMU device's, in order; the first is its driver.
type properties []property

type property struct {
	name  string
	value any // string, bool, int64 or uint64
}

// set appends a property whose value is not "".
func (p *properties) set(name string, value any) {
	if value != "" {
		*p = append(*p, property{name, value})
	}
}

// setDevno sets the place of a channel device: fe.0.0001.
func (p *properties) setDevno(a *node) error {
	var v [3]uint32
	for i, name := range [...]string{"cssid", "ssid", "devno"} {
		s, _ := a.Attr(name)
		var ok bool
		if v[i], ok = pci.Number(s); !ok {
			return &Error{
				Op: "write", Object: "ccw address", Meaning: fmt.Sprintf("%s='%s' is not valid", name, clip(s, 20)),
				Next: "write cssid, ssid and devno, or no address", Kind: ErrInvalid,
			}
		}
	}
	p.set("devno", fmt.Sprintf("%x.%x.%04x", v[0], v[1], v[2]))
	return nil
}

// setROM follows qemuBuildRomProps.
func (p *properties) setROM(n *node) {
	if n == nil {
		return
	}
	if enabled, _ := n.Attr("enabled"); enabled == "no" {
		*p = append(*p, property{"romfile", ""})
		return
	}
	switch bar, _ := n.Attr("bar"); bar {
	case "on":
		p.set("rombar", uint64(1))
	case "off":
		p.set("rombar", uint64(0))
	}
	file, _ := n.Attr("file")
	p.set("romfile", file)
}

// json writes the properties as libvirt does, in order.
func (p properties) json() string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	separator := byte('{')
	write := func(v any, behind byte) {
		_ = e.Encode(v) // strings, numbers and booleans have no errors
		b.Truncate(b.Len() - len("\n"))
		b.WriteByte(behind)
	}
	for _, q := range p {
		b.WriteByte(separator)
		separator = ','
		write(q.name, ':')
		write(q.value, ' ')
		b.Truncate(b.Len() - 1)
	}
	return b.String() + "}"
}

// classic writes the properties as driver,key=value,…
func (p properties) classic() string {
	var b strings.Builder
	for i, q := range p {
		if i > 0 {
			b.WriteString("," + q.name + "=")
		}
		switch v := q.value.(type) {
		case bool:
			b.WriteString(map[bool]string{true: "on", false: "off"}[v])
		case string:
			b.WriteString(strings.ReplaceAll(v, ",", ",,"))
		default:
			fmt.Fprint(&b, v)
		}
	}
	return b.String()
}
