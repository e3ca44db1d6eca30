package domain

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
)

// driverProperty names the kind of the device.
const driverProperty = "driver"

// properties are a QEMU device's, in order.
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
	devno, wrong := parseDevno(a)
	if wrong != "" {
		return &Error{Op: "write", Object: "ccw address", Meaning: wrong, Next: "write cssid, ssid and devno, or no address", Kind: ErrInvalid}
	}
	p.set("devno", devno)
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

// classic writes the properties as driver,key=value,… wherever the driver stands, which an
// override puts behind the others; ok is false if there is none.
func (p properties) classic() (arg string, ok bool) {
	var b strings.Builder
	for _, q := range p {
		text := ""
		switch v := q.value.(type) {
		case bool:
			text = map[bool]string{true: "on", false: "off"}[v]
		case string:
			text = strings.ReplaceAll(v, ",", ",,")
		default:
			text = fmt.Sprint(v)
		}
		if q.name == driverProperty {
			arg, ok = text, true
		} else {
			b.WriteString("," + q.name + "=" + text)
		}
	}
	return arg + b.String(), ok
}
